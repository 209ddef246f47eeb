//! Faults that a scenario can be run with. Each must be found.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A push looks whether the blob is linked and then writes the manifest, with nothing announced before.
    CheckThenWrite,
    /// An upload takes condemned bytes as they are.
    NoRescue,
    /// A push takes a condemned link as it is.
    LinkNotRescued,
    /// An index's push takes a condemned child as it is.
    ChildNotRescued,
    /// A collector or a deletion looks and decides without condemning first.
    NoCondemning,
    /// An upload publishes its bytes a second time.
    GenerationReused,
    /// Deleting a blob takes the link without a look at the manifests.
    BlindBlobDeletion,
    /// A deleted record leaves a tombstone that is equal to all others.
    PlainTombstones,

    /// An index's push writes its marks before it announces itself, and not after.
    MarkBeforePend,
    /// An index's push writes its marks after it has checked its children.
    MarkAfterCheck,
    /// Who deletes a child looks at committed indexes only.
    PendingDoesNotCount,
    /// A push that finds its index committed, and a child gone, leaves the marks that it wrote.
    RefusalLeavesMarks,
    /// The deletion of an index takes its marks without a look.
    BlindParentClearing,

    /// The old tag's back reference is taken without a look.
    BlindBackClearing,
    /// The back reference is not written again after the tag.
    BackNotMarkedAgain,
    /// A push that finds its tag there and fresh does not write it again.
    TagNotRewritten,
    /// The tags are deleted before the manifest is hidden.
    TagsBeforeHiding,
    /// A batch reads the manifest before its tags.
    ManifestReadBeforeTags,
    /// A push on top of a dying manifest leaves the tags of the deletion.
    NoHelp,
    /// The record is removed although it was written again.
    BlindRemoval,
    /// The marker is written before the record is dying.
    MarkerBeforeDying,
    MarkerNotCleared,
    /// A push that fails does not look for a marker: it may have been pushed on top of a deletion.
    FailureLeavesMarker,
    /// The marker is taken without a look at the manifest.
    BlindMarkerClearing,
    /// A listing leaves out what a marker names without a look at the manifest.
    ListingTrustsMarker,

    /// A push leaves what it finds as it is, however old.
    NoRefresh,
    /// A push writes what it finds without a condition.
    BlindRefresh,

    /// An upload with bytes of its own takes those that are here without a look at what they hold.
    PushDoesNotCompare,
    PushIgnoresSuspect,
    MountIgnoresSuspect,
    HeadIgnoresSuspect,
    /// Who restores a condemned blob forgets that its bytes are suspect.
    SuspectForgotten,
    /// What was found of some bytes is written down of whatever bytes the digest has by then.
    ScrubberTrustsTheDigest,
    /// A mark is cleared without a look at the bytes.
    MarkClearedUnseen,

    /// The record before is archived after the tag is written.
    ArchivedAfterSwap,
    NotArchived,
    /// A push that finds its tag there changes what will be archived.
    RefreshChangesEvent,
    /// A deleted tag's record is removed, and its sequence begins anew.
    TagRecordRemoved,

    /// Parts are named by their place alone.
    PartsWithoutNonce,
    /// Who takes a claim over goes on under its nonce.
    ClaimKeepsNonce,
    /// A request that lost its claim puts its part in all the same.
    LostClaimSwapsAgain,
    /// The parts are put together before their list is fixed.
    CompletedBeforeClosed,
    /// A closing request publishes without a look whether its upload still stands.
    PublishedUnseen,
    /// An upload that was closed and not published when its time was up: its bytes are removed.
    ExpiryRemovesTheBytes,
}
