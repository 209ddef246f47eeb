//! Scenarios of blobs: uploads, mounts and pushes concurrent with the collectors of links and blobs; and
//! damaged bytes.

use super::actors::collect::{CollectBlob, CollectLink, CollectManifest, EmptyTrash, LateDuplicate};
use super::actors::delete::{DeleteBlob, DeleteManifest};
use super::actors::push::Push;
use super::actors::scrub::{Head, Recheck, Scrub};
use super::actors::upload::Upload;
use super::invariants;
use super::scenario::Scenario;
use super::values::{Blob, Key, Link, Manifest};
use super::world::Bytes;

/// An upload with bytes of its own, then the push of a manifest that needs the blob.
const fn upload(repository: u8, own: u8) -> Upload {
    Upload {
        repository,
        own: Some(own),
        then: Some(push(repository)),
    }
}

const fn mount(repository: u8) -> Upload {
    Upload {
        repository,
        own: None,
        then: Some(push(repository)),
    }
}

/// Relies on an existing link that a HEAD has found.
const fn push(repository: u8) -> Push {
    Push::of(repository).with_blob(repository)
}

fn empty(name: &'static str) -> Scenario {
    invariants::scenario(name).needs(&[1, 2])
}

/// A blob, and a link of repository 1 to it.
fn linked(name: &'static str) -> Scenario {
    unlinked(name).record(Key::Link(1), Link::live(0))
}

fn unlinked(name: &'static str) -> Scenario {
    empty(name).bytes(0, Bytes::Good).record(Key::Blob, Blob::live(0))
}

pub(super) fn two_uploads() -> Scenario {
    empty("two-uploads")
        .actor(upload(1, 1))
        .actor(upload(2, 2))
        .actor(CollectBlob)
        .actor(CollectLink(1))
}

pub(super) fn push_of_an_old_link() -> Scenario {
    linked("push-of-an-old-link")
        .actor(push(1))
        .actor(CollectLink(1))
        .actor(CollectBlob)
        .actor(CollectBlob)
}

pub(super) fn upload_of_an_old_blob() -> Scenario {
    linked("upload-of-an-old-blob")
        .actor(upload(1, 1))
        .actor(CollectLink(1))
        .actor(CollectLink(1))
        .actor(CollectBlob)
}

pub(super) fn mount_of_an_old_blob() -> Scenario {
    linked("mount-of-an-old-blob")
        .actor(mount(2))
        .actor(CollectLink(1))
        .actor(CollectLink(2))
        .actor(CollectBlob)
}

pub(super) fn two_uploads_of_an_unlinked_blob() -> Scenario {
    unlinked("two-uploads-of-an-unlinked-blob")
        .actor(upload(1, 1))
        .actor(upload(2, 2))
        .actor(CollectBlob)
        .actor(CollectBlob)
}

pub(super) fn upload_and_mount_of_a_dying_blob() -> Scenario {
    empty("upload-and-mount-of-a-dying-blob")
        .bytes(0, Bytes::Good)
        .record(Key::Blob, Blob::live(0).dying())
        .actor(upload(1, 1))
        .actor(mount(2))
        .actor(CollectBlob)
        .actor(CollectBlob)
}

pub(super) fn deletion_and_push_of_a_manifest() -> Scenario {
    linked("deletion-and-push-of-a-manifest")
        .record(Key::Manifest(1), Manifest::Com)
        .actor(DeleteManifest(1))
        .actor(push(1))
        .actor(CollectLink(1))
        .actor(CollectBlob)
}

pub(super) fn two_pushes_of_one_manifest() -> Scenario {
    linked("two-pushes-of-one-manifest")
        .actor(push(1))
        .actor(push(1))
        .actor(CollectLink(1))
        .actor(CollectBlob)
}

pub(super) fn deletion_of_a_manifest_and_upload() -> Scenario {
    linked("deletion-of-a-manifest-and-upload")
        .record(Key::Manifest(1), Manifest::Com)
        .actor(DeleteManifest(1))
        .actor(upload(1, 1))
        .actor(CollectLink(1))
        .actor(CollectBlob)
}

pub(super) fn late_duplicate() -> Scenario {
    empty("late-duplicate")
        .tombstone(Key::Blob)
        .actor(Upload {
            repository: 1,
            own: Some(1),
            then: None,
        })
        .actor(LateDuplicate(1))
        .actor(CollectLink(1))
        .actor(CollectBlob)
        .actor(Upload {
            repository: 2,
            own: Some(2),
            then: None,
        })
}

pub(super) fn deletion_of_a_blob() -> Scenario {
    linked("deletion-of-a-blob")
        .actor(push(1))
        .actor(DeleteBlob(1))
        .actor(CollectBlob)
}

pub(super) fn five_actors() -> Scenario {
    linked("five-actors")
        .actor(upload(1, 1))
        .actor(mount(2))
        .actor(CollectLink(1))
        .actor(CollectBlob)
        .actor(CollectBlob)
}

pub(super) fn six_actors() -> Scenario {
    five_actors().named("six-actors").actor(DeleteBlob(1))
}

/// An old manifest is pushed again while a collector runs. Times of the store's clock: 1 is half of the grace
/// period, 2 all of it.
pub(super) fn refreshed_manifest_with_a_blob() -> Scenario {
    linked("refreshed-manifest-with-a-blob")
        .ticking(2)
        .record(Key::Manifest(1), Manifest::Com)
        .actor(push(1))
        .actor(CollectManifest {
            manifest: 1,
            grace: 2,
        })
        .actor(CollectLink(1))
        .actor(CollectBlob)
        .always(invariants::acknowledged_is_not_old)
}

/// Wrong bytes of the right size, and the actors that find them.
fn damaged(name: &'static str) -> Scenario {
    empty(name)
        .damages()
        .bytes(0, Bytes::Damaged)
        .record(Key::Blob, Blob::live(0))
        .record(Key::Link(1), Link::live(0))
        .always(invariants::damage_is_not_passed_on)
        .always(invariants::pushed_bytes_are_good)
        .always(invariants::good_bytes_are_not_suspect)
}

pub(super) fn damage_and_push() -> Scenario {
    damaged("damage-and-push")
        .actor(Scrub)
        .actor(Upload {
            repository: 1,
            own: Some(1),
            then: Some(push(1)),
        })
        .actor(Head(1))
        .actor(EmptyTrash)
        .actor(CollectBlob)
}

pub(super) fn damage_and_mount() -> Scenario {
    damaged("damage-and-mount")
        .actor(Scrub)
        .actor(Scrub)
        .actor(Upload {
            repository: 1,
            own: Some(1),
            then: None,
        })
        .actor(Upload {
            repository: 2,
            own: None,
            then: None,
        })
        .actor(CollectBlob)
}

pub(super) fn damage_and_recheck() -> Scenario {
    damaged("damage-and-recheck")
        .actor(Scrub)
        .actor(Recheck)
        .actor(Upload {
            repository: 1,
            own: Some(1),
            then: None,
        })
        .actor(Upload {
            repository: 2,
            own: None,
            then: None,
        })
}

/// The bytes could not be reached when an actor read them.
pub(super) fn mark_of_good_bytes() -> Scenario {
    empty("mark-of-good-bytes")
        .damages()
        .bytes(0, Bytes::Good)
        .record(
            Key::Blob,
            Blob {
                suspect: true,
                ..Blob::live(0)
            },
        )
        .record(Key::Link(1), Link::live(0))
        .always(invariants::pushed_bytes_are_good)
        .actor(Recheck)
        .actor(Upload {
            repository: 1,
            own: Some(1),
            then: Some(push(1)),
        })
        .actor(Upload {
            repository: 2,
            own: None,
            then: None,
        })
        .actor(EmptyTrash)
        .actor(CollectBlob)
}

pub(super) fn damage_of_an_unlinked_blob() -> Scenario {
    damaged("damage-of-an-unlinked-blob")
        .actor(Scrub)
        .actor(CollectLink(1))
        .actor(CollectBlob)
        .actor(Upload {
            repository: 2,
            own: Some(2),
            then: None,
        })
        .actor(Upload {
            repository: 1,
            own: None,
            then: None,
        })
}

pub(super) fn damage_and_two_collectors() -> Scenario {
    damage_of_an_unlinked_blob()
        .named("damage-and-two-collectors")
        .actor(CollectBlob)
}
