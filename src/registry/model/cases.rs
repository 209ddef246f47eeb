//! All scenarios, with the number of their states, and all planted faults.

use super::faults::Fault;
use super::scenario::Scenario;
use super::{blobs, manifests, uploads};

type Make = fn() -> Scenario;

pub(super) struct Case {
    pub make: Make,
    pub states: usize,
    /// Searched only when `WHARFINGER_MODEL_FULL` is set.
    pub is_large: bool,
}

const fn small(make: Make, states: usize) -> Case {
    Case {
        make,
        states,
        is_large: false,
    }
}

const fn large(make: Make, states: usize) -> Case {
    Case {
        make,
        states,
        is_large: true,
    }
}

pub(super) const CASES: &[Case] = &[
    small(blobs::two_uploads, 14_444),
    small(blobs::push_of_an_old_link, 2_613),
    small(blobs::upload_of_an_old_blob, 11_447),
    small(blobs::mount_of_an_old_blob, 4_075),
    small(blobs::two_uploads_of_an_unlinked_blob, 41_547),
    small(blobs::upload_and_mount_of_a_dying_blob, 8_595),
    small(blobs::deletion_and_push_of_a_manifest, 4_557),
    small(blobs::two_pushes_of_one_manifest, 3_052),
    small(blobs::deletion_of_a_manifest_and_upload, 7_611),
    small(blobs::late_duplicate, 11_702),
    small(blobs::deletion_of_a_blob, 276),
    small(blobs::five_actors, 101_321),
    large(blobs::six_actors, 2_053_862),
    large(blobs::refreshed_manifest_with_a_blob, 277_302),
    small(blobs::damage_and_push, 67_022),
    small(blobs::damage_and_mount, 181_634),
    small(blobs::damage_and_recheck, 3_320),
    small(blobs::mark_of_good_bytes, 27_358),
    small(blobs::damage_of_an_unlinked_blob, 192_871),
    large(blobs::damage_and_two_collectors, 3_645_110),
    small(manifests::push_of_an_index, 39_300),
    large(manifests::push_of_an_index_and_a_hasty_collector, 301_248),
    small(manifests::two_indexes_of_one_child, 113_143),
    small(manifests::deletion_of_an_index_and_its_child, 111_203),
    small(manifests::push_of_a_tagged_index, 61_964),
    small(manifests::tag_away_and_back, 74_013),
    small(manifests::deletion_cut_off, 2_808),
    small(manifests::deletion_cut_off_and_push, 6_882),
    large(manifests::deletion_and_push_and_a_hasty_collector, 618_809),
    small(manifests::deletion_in_batches_and_push, 7_569),
    large(manifests::two_deletions_and_push, 126_279),
    large(manifests::deletion_in_batches_cut_off_and_two_pushes, 516_933),
    small(manifests::deletion_and_a_moving_tag, 82_970),
    small(manifests::deletion_of_a_tag, 30_152),
    large(manifests::listing_beside_a_deletion, 174_010),
    small(manifests::listing_beside_a_move, 5_846),
    small(manifests::refreshed_manifest, 15_941),
    small(manifests::manifest_relied_on, 72_166),
    large(manifests::refreshed_tag, 952_534),
    small(manifests::history_of_two_movers, 31_144),
    large(manifests::history_of_a_deleted_manifest, 339_265),
    small(uploads::two_appends_and_a_close, 576),
    small(uploads::two_appends_and_two_closes, 3_730),
    large(uploads::three_appends_and_two_closes, 134_373),
    small(uploads::expiry_and_a_close, 5_465),
    large(uploads::expiry_and_a_close_in_two_steps, 99_759),
    large(uploads::two_expiries_and_a_close, 568_646),
];

pub(super) const FAULTS: &[(Fault, Make)] = &[
    (Fault::CheckThenWrite, blobs::push_of_an_old_link),
    (Fault::NoRescue, blobs::mount_of_an_old_blob),
    (Fault::LinkNotRescued, blobs::push_of_an_old_link),
    (Fault::NoCondemning, blobs::mount_of_an_old_blob),
    (Fault::GenerationReused, blobs::two_uploads),
    (Fault::BlindBlobDeletion, blobs::deletion_of_a_blob),
    (Fault::PlainTombstones, blobs::late_duplicate),
    (Fault::PushDoesNotCompare, blobs::damage_and_push),
    (Fault::PushDoesNotCompare, blobs::damage_of_an_unlinked_blob),
    (Fault::PushIgnoresSuspect, blobs::damage_and_push),
    (Fault::MountIgnoresSuspect, blobs::damage_and_mount),
    (Fault::HeadIgnoresSuspect, blobs::damage_and_push),
    (Fault::SuspectForgotten, blobs::damage_and_mount),
    (Fault::ScrubberTrustsTheDigest, blobs::damage_and_mount),
    (Fault::MarkClearedUnchecked, blobs::damage_and_recheck),
    (Fault::ChildNotRescued, manifests::push_of_an_index),
    (Fault::NoCondemning, manifests::push_of_an_index),
    (
        Fault::MarkBeforePend,
        manifests::deletion_of_an_index_and_its_child,
    ),
    (Fault::MarkAfterCheck, manifests::push_of_an_index),
    (Fault::PendingIgnored, manifests::push_of_an_index),
    (
        Fault::RefusalLeavesMarks,
        manifests::deletion_of_an_index_and_its_child,
    ),
    (
        Fault::BlindParentClearing,
        manifests::deletion_of_an_index_and_its_child,
    ),
    (Fault::BlindBackClearing, manifests::tag_away_and_back),
    (Fault::BackNotMarkedAgain, manifests::tag_away_and_back),
    (Fault::TagNotRewritten, manifests::two_deletions_and_push),
    (Fault::TagsBeforeHiding, manifests::deletion_in_batches_and_push),
    (
        Fault::ManifestReadBeforeTags,
        manifests::deletion_in_batches_and_push,
    ),
    (Fault::NoHelp, manifests::deletion_in_batches_and_push),
    (Fault::BlindRemoval, manifests::two_deletions_and_push),
    (Fault::MarkerBeforeDying, manifests::two_deletions_and_push),
    (Fault::MarkerNotCleared, manifests::deletion_cut_off),
    (Fault::FailureLeavesMarker, manifests::push_of_a_tagged_index),
    (Fault::BlindMarkerClearing, manifests::two_deletions_and_push),
    (Fault::ListingTrustsMarker, manifests::listing_beside_a_deletion),
    (Fault::NoRefresh, manifests::refreshed_manifest),
    (Fault::NoRefresh, manifests::manifest_relied_on),
    (Fault::NoRefresh, manifests::refreshed_tag),
    (Fault::BlindRefresh, blobs::refreshed_manifest_with_a_blob),
    (Fault::ArchivedAfterSwap, manifests::history_of_two_movers),
    (Fault::NotArchived, manifests::history_of_two_movers),
    (Fault::RefreshChangesEvent, manifests::history_of_two_movers),
    (Fault::TagRecordRemoved, manifests::history_of_a_deleted_manifest),
    (Fault::PartsWithoutNonce, uploads::two_appends_and_a_close),
    (Fault::ClaimKeepsNonce, uploads::two_appends_and_a_close),
    (Fault::LostClaimSwapsAgain, uploads::two_appends_and_a_close),
    (Fault::CompletedBeforeClosed, uploads::two_appends_and_two_closes),
    (Fault::PublishedUnchecked, uploads::expiry_and_a_close),
    (
        Fault::PublishedUnchecked,
        uploads::expiry_and_a_close_in_two_steps,
    ),
    (Fault::GenerationReused, uploads::expiry_and_a_close_in_two_steps),
    (Fault::ExpiryRemovesTheBytes, uploads::expiry_and_a_close),
    (Fault::PlainTombstones, uploads::expiry_and_a_close),
];
