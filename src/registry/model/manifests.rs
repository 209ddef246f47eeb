//! Scenarios of manifests: indexes and their children, tags and their deletion, history, and refreshes.

use super::actors::collect::{CollectManifest, CollectRemains};
use super::actors::delete::{DeleteManifest, Finish};
use super::actors::push::Push;
use super::actors::scrub::HeadManifest;
use super::actors::tags::{DeleteTag, ListTags};
use super::invariants;
use super::linear::is_linear;
use super::scenario::Scenario;
use super::values::{Key, Manifest, Mark, Tag};

/// Manifest 2 is an index of 0 and 1; 3 of 0 alone.
const ONE_INDEX: &[(u8, &[u8])] = &[(2, &[0, 1])];
const TWO_INDEXES: &[(u8, &[u8])] = &[(2, &[0, 1]), (3, &[0])];
const SMALL_INDEX: &[(u8, &[u8])] = &[(2, &[0])];

fn children(name: &'static str, indexes: &'static [(u8, &'static [u8])]) -> Scenario {
    invariants::scenario(name)
        .children(indexes)
        .ordered()
        .record(Key::Manifest(0), Manifest::Com)
        .record(Key::Manifest(1), Manifest::Com)
        .always(invariants::indexes_have_their_children)
        .at_end(is_linear)
}

pub(super) fn push_of_an_index() -> Scenario {
    children("push-of-an-index", ONE_INDEX)
        .crashing()
        .actor(Push::of(2))
        .actor(DeleteManifest(0))
        .actor(CollectManifest {
            manifest: 1,
            grace: 0,
        })
        .actor(Finish { manifests: 3 })
        .at_end(invariants::nothing_is_left)
}

/// The collector treats an index that is being pushed as the remains of an interrupted push.
pub(super) fn push_of_an_index_and_a_hasty_collector() -> Scenario {
    children("push-of-an-index-and-a-hasty-collector", SMALL_INDEX)
        .actor(Push::of(2))
        .actor(CollectRemains(2))
        .actor(CollectRemains(2))
        .actor(DeleteManifest(0))
        .at_end(invariants::nothing_is_left)
}

pub(super) fn two_indexes_of_one_child() -> Scenario {
    children("two-indexes-of-one-child", TWO_INDEXES)
        .actor(Push::of(2))
        .actor(Push::of(3))
        .actor(DeleteManifest(0))
        .actor(DeleteManifest(1))
}

pub(super) fn deletion_of_an_index_and_its_child() -> Scenario {
    children("deletion-of-an-index-and-its-child", SMALL_INDEX)
        .record(Key::Manifest(2), Manifest::Com)
        .record(Key::Parent(0, 2), Mark::Live)
        .actor(DeleteManifest(2))
        .actor(Push::of(2))
        .actor(DeleteManifest(0))
        .actor(Push::of(0))
        .at_end(invariants::nothing_is_left)
}

/// An index with a tag is deleted and pushed again, and its child is deleted.
pub(super) fn push_of_a_tagged_index() -> Scenario {
    tagged("push-of-a-tagged-index", 0)
        .children(SMALL_INDEX)
        .record(Key::Manifest(2), Manifest::Com)
        .record(Key::Parent(0, 2), Mark::Live)
        .record(Key::Tag(0), Tag::first(2, 99))
        .record(Key::Back(2, 0), Mark::Live)
        .actor(DeleteManifest(2))
        .actor(Push::of(2).tagged(0, 1))
        .actor(DeleteManifest(0))
        .always(invariants::indexes_have_their_children)
        .at_end(invariants::nothing_is_left)
}

/// Manifest 0 with the first tags, and manifest 1 without.
fn tagged(name: &'static str, tags: u8) -> Scenario {
    let scenario = invariants::scenario(name)
        .tags()
        .ordered()
        .record(Key::Manifest(0), Manifest::Com)
        .record(Key::Manifest(1), Manifest::Com)
        .always(invariants::pushed_tags_stay)
        .always(invariants::deleted_tags_are_gone)
        .always(invariants::dying_manifests_are_marked)
        .at_end(is_linear)
        .at_end(invariants::no_tag_leads_nowhere);
    (0..tags).fold(scenario, |scenario, tag| {
        scenario
            .record(Key::Tag(tag), Tag::first(0, 99))
            .record(Key::Back(0, tag), Mark::Live)
    })
}

/// A push that moves a tag from manifest 0 to 1, one that moves it back, and a collector of 0.
pub(super) fn tag_away_and_back() -> Scenario {
    tagged("tag-away-and-back", 1)
        .actor(Push::of(1).tagged(0, 1))
        .actor(Push::of(0).tagged(0, 2))
        .actor(CollectManifest {
            manifest: 0,
            grace: 0,
        })
}

pub(super) fn deletion_cut_off() -> Scenario {
    tagged("deletion-cut-off", 2)
        .crashing()
        .batch(1)
        .actor(DeleteManifest(0))
        .actor(DeleteManifest(0))
        .actor(Finish { manifests: 2 })
        .at_end(invariants::nothing_is_left)
}

pub(super) fn deletion_cut_off_and_push() -> Scenario {
    tagged("deletion-cut-off-and-push", 2)
        .crashing()
        .actor(DeleteManifest(0))
        .actor(Push::of(0).tagged(0, 1))
        .actor(Finish { manifests: 2 })
        .at_end(invariants::nothing_is_left)
}

/// The collector treats a running deletion as an interrupted one.
pub(super) fn deletion_and_push_and_a_hasty_collector() -> Scenario {
    tagged("deletion-and-push-and-a-hasty-collector", 2)
        .actor(DeleteManifest(0))
        .actor(Push::of(0).tagged(0, 1))
        .actor(CollectRemains(0))
        .at_end(invariants::nothing_is_left)
}

pub(super) fn deletion_in_batches_cut_off_and_two_pushes() -> Scenario {
    tagged("deletion-in-batches-cut-off-and-two-pushes", 3)
        .crashing()
        .actor(DeleteManifest(0))
        .actor(Push::of(0).tagged(0, 1))
        .actor(Push::of(1).tagged(2, 2))
        .actor(Finish { manifests: 2 })
        .at_end(invariants::nothing_is_left)
}

pub(super) fn deletion_in_batches_and_push() -> Scenario {
    tagged("deletion-in-batches-and-push", 3)
        .actor(DeleteManifest(0))
        .actor(Push::of(0).tagged(1, 1))
        .at_end(invariants::nothing_is_left)
}

pub(super) fn two_deletions_and_push() -> Scenario {
    tagged("two-deletions-and-push", 1)
        .actor(DeleteManifest(0))
        .actor(DeleteManifest(0))
        .actor(Push::of(0).tagged(0, 1))
        .at_end(invariants::nothing_is_left)
}

pub(super) fn deletion_and_a_moving_tag() -> Scenario {
    tagged("deletion-and-a-moving-tag", 1)
        .actor(DeleteManifest(0))
        .actor(Push::of(1).tagged(0, 1))
        .actor(Push::of(0).tagged(0, 2))
        .at_end(invariants::nothing_is_left)
}

pub(super) fn deletion_of_a_tag() -> Scenario {
    tagged("deletion-of-a-tag", 1)
        .actor(DeleteTag {
            tag: 0,
            event: 3,
            grace: 0,
        })
        .actor(Push::of(0).tagged(0, 1))
        .actor(CollectManifest {
            manifest: 0,
            grace: 0,
        })
}

pub(super) fn listing_beside_a_deletion() -> Scenario {
    tagged("listing-beside-a-deletion", 2)
        .actor(DeleteManifest(0))
        .actor(Push::of(0).tagged(0, 1))
        .actor(ListTags { manifests: 1 })
}

pub(super) fn listing_beside_a_move() -> Scenario {
    tagged("listing-beside-a-move", 1)
        .actor(DeleteManifest(0))
        .actor(Push::of(1).tagged(0, 1))
        .actor(ListTags { manifests: 1 })
}

/// Times of the store's clock: 0 is the start, 1 is half of the grace period, 2 all of it.
pub(super) fn refreshed_manifest() -> Scenario {
    children("refreshed-manifest", SMALL_INDEX)
        .ticking(3)
        .actor(Push::of(0))
        .actor(CollectManifest {
            manifest: 0,
            grace: 2,
        })
        .actor(CollectManifest {
            manifest: 0,
            grace: 2,
        })
        .always(invariants::acknowledged_is_not_old)
}

pub(super) fn manifest_relied_on() -> Scenario {
    children("manifest-relied-on", SMALL_INDEX)
        .ticking(3)
        .actor(HeadManifest(0))
        .actor(Push::of(2))
        .actor(CollectManifest {
            manifest: 0,
            grace: 2,
        })
        .always(invariants::acknowledged_is_not_old)
}

pub(super) fn refreshed_tag() -> Scenario {
    tagged("refreshed-tag", 1)
        .ticking(3)
        .actor(Push::of(0).tagged(0, 1))
        .actor(DeleteTag {
            tag: 0,
            event: 3,
            grace: 2,
        })
        .actor(CollectManifest {
            manifest: 0,
            grace: 2,
        })
        .always(invariants::acknowledged_is_not_old)
}

fn with_history(name: &'static str) -> Scenario {
    invariants::scenario(name)
        .tags()
        .history()
        .ordered()
        .crashing()
        .record(Key::Manifest(0), Manifest::Com)
        .record(Key::Manifest(1), Manifest::Com)
        .record(Key::Tag(0), Tag::first(0, 99))
        .record(Key::Back(0, 0), Mark::Live)
        .always(invariants::history_is_a_chain)
        .always(invariants::pushed_tags_stay)
        .at_end(is_linear)
}

pub(super) fn history_of_two_movers() -> Scenario {
    with_history("history-of-two-movers")
        .actor(Push::of(1).tagged(0, 1))
        .actor(Push::of(0).tagged(0, 2))
        .actor(DeleteTag {
            tag: 0,
            event: 3,
            grace: 0,
        })
}

pub(super) fn history_of_a_deleted_manifest() -> Scenario {
    with_history("history-of-a-deleted-manifest")
        .actor(DeleteManifest(0))
        .actor(Push::of(1).tagged(0, 1))
        .actor(Push::of(0).tagged(0, 2))
        .actor(Finish { manifests: 2 })
}
