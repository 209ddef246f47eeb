//! Planted faults, with which a scenario can be run. The search must find each of them.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A push checks whether the blob is linked and then writes the manifest, without announcing anything
    /// first.
    CheckThenWrite,
    /// An upload uses condemned bytes as they are.
    NoRescue,
    /// A push uses a condemned link as it is.
    LinkNotRescued,
    /// An index's push uses a condemned child as it is.
    ChildNotRescued,
    /// A collector or a deletion checks and decides without condemning first.
    NoCondemning,
    /// An upload publishes its bytes a second time.
    GenerationReused,
    /// The deletion of a blob deletes the link without checking the manifests.
    BlindBlobDeletion,
    /// A deleted record leaves a tombstone that is equal to all others.
    PlainTombstones,

    /// An index's push writes its marks before it announces itself, and not after.
    MarkBeforePend,
    /// An index's push writes its marks after it has checked its children.
    MarkAfterCheck,
    /// The deletion of a child checks only committed indexes.
    PendingIgnored,
    /// A push that finds its index committed but a child missing leaves the marks that it wrote.
    RefusalLeavesMarks,
    /// The deletion of an index deletes its entries without checking them.
    BlindParentClearing,

    /// The old tag's back reference is deleted without a check.
    BlindBackClearing,
    /// The back reference is not written again after the tag.
    BackNotMarkedAgain,
    /// A push that finds its tag up to date does not write it again.
    TagNotRewritten,
    /// The tags are deleted before the manifest is hidden.
    TagsBeforeHiding,
    /// A batch reads the manifest before its tags.
    ManifestReadBeforeTags,
    /// A push on top of a dying manifest does not finish the deletion of the old tags.
    NoHelp,
    /// The record is removed although it was written again.
    BlindRemoval,
    /// The marker is written before the record is dying.
    MarkerBeforeDying,
    MarkerNotCleared,
    /// A push that fails does not clear a marker, although it may have started on top of a deletion that left
    /// one.
    FailureLeavesMarker,
    /// The marker is deleted without checking the manifest.
    BlindMarkerClearing,
    /// A listing omits the tags of a marked manifest without checking the manifest.
    ListingTrustsMarker,

    /// A push does not refresh the records that it finds, however old they are.
    NoRefresh,
    /// A push refreshes the records that it finds without a condition.
    BlindRefresh,

    /// An upload with its own bytes uses the stored ones without comparing them.
    PushDoesNotCompare,
    PushIgnoresSuspect,
    MountIgnoresSuspect,
    HeadIgnoresSuspect,
    /// An actor that rescues a condemned blob forgets that its bytes are suspect.
    SuspectForgotten,
    /// Damage that was found in old bytes is recorded for the newer bytes of the same digest.
    ScrubberTrustsTheDigest,
    /// A mark is cleared without checking the bytes.
    MarkClearedUnchecked,

    /// The previous record is archived after the tag is written, not before.
    ArchivedAfterSwap,
    NotArchived,
    /// A refresh of the tag changes the record that will be archived.
    RefreshChangesEvent,
    /// A deleted tag's record is removed, and its sequence starts again at 1.
    TagRecordRemoved,

    /// Parts are named only by their position in the upload.
    PartsWithoutNonce,
    /// An actor that takes over a claim continues with its nonce.
    ClaimKeepsNonce,
    /// A request that lost its claim still adds its part.
    LostClaimSwapsAgain,
    /// The parts are assembled before their list is fixed.
    CompletedBeforeClosed,
    /// A closing request publishes without checking whether its upload still exists.
    PublishedUnchecked,
    /// Expiry removes the bytes of an upload that was closed but not yet published.
    ExpiryRemovesTheBytes,
}
