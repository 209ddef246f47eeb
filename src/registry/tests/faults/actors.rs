//! The actors that work on the store at the same time, and the content that they share.

use super::super::*;
use super::scheduler::Random;
use crate::oci::{RepositoryName, Tag};
use std::sync::LazyLock;

pub(super) const REPOSITORIES: [&str; 2] = ["one", "two"];
pub(super) const TAGS: [&str; 3] = ["v1", "v2", "v3"];
pub(super) const CONTENT: &[u8] = b"layer";
/// The number of different manifests.
pub(super) const MANIFESTS: u32 = 5;
/// An ordinary image, which the index lists.
pub(super) const LISTED: u32 = 1;
/// An image whose subject is the first one.
const REFERRER: u32 = 3;
/// An index of one of the others. It needs no blob.
pub(super) const LISTS: u32 = 4;
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The work of one client or collector. Numbers choose one of the constants above.
#[derive(Clone, Copy, Debug)]
pub(super) enum Actor {
    /// Uploads the blob and pushes a manifest with it.
    Push {
        repository: usize,
        manifest: u32,
        tag: usize,
    },
    /// Mounts the blob from the other repository, or uploads it if that does not work.
    Mount {
        repository: usize,
        manifest: u32,
        tag: usize,
    },
    /// Relies on the existence of the blob.
    PushAlone {
        repository: usize,
        manifest: u32,
        tag: usize,
    },
    /// Looks for the blob, and uploads it only if it does not exist.
    HeadThenPush {
        repository: usize,
        manifest: u32,
        tag: usize,
    },
    /// Moves a tag to another manifest and back.
    MoveAndBack {
        repository: usize,
        manifest: u32,
        tag: usize,
    },
    /// Pushes an image without a tag, and then the index that lists it.
    PushChildThenIndex {
        repository: usize,
        tag: usize,
    },
    DeleteManifest {
        repository: usize,
        manifest: u32,
    },
    DeleteTag {
        repository: usize,
        tag: usize,
    },
    DeleteBlob {
        repository: usize,
    },
    /// Reads the list of tags, and then each tag.
    Look {
        repository: usize,
    },
    CollectLinks {
        repository: usize,
    },
    CollectBlobs,
    CollectManifests {
        repository: usize,
    },
    /// Collects garbage in the whole store.
    CollectEverything,
    /// Replaces the blob's bytes by other bytes.
    Damage,
    /// Reads the blob's bytes, and marks the blob if they are damaged.
    Scrub,
    /// Advances the store's clock.
    Wait,
}

impl Actor {
    pub(super) fn random(dice: &mut Random) -> Self {
        let mut index = |below: usize| dice.roll(u32::try_from(below).unwrap()) as usize;
        let repository = index(REPOSITORIES.len());
        let tag = index(TAGS.len() - 1);
        let manifest = dice.roll(MANIFESTS);
        match dice.roll(16) {
            0..3 => Self::Push {
                repository,
                manifest,
                tag,
            },
            3 | 4 => Self::Mount {
                repository,
                manifest,
                tag,
            },
            5 | 6 => Self::PushAlone {
                repository,
                manifest,
                tag,
            },
            7 => Self::DeleteManifest { repository, manifest },
            8 => Self::DeleteTag { repository, tag },
            9 => Self::DeleteBlob { repository },
            10 | 11 => Self::CollectLinks { repository },
            12 => Self::CollectBlobs,
            13 => Self::HeadThenPush {
                repository,
                manifest,
                tag,
            },
            14 => Self::MoveAndBack {
                repository,
                manifest,
                tag,
            },
            _ => Self::CollectManifests { repository },
        }
    }

    /// An actor of a crowd around one index and its child, which is tagged for a moment only.
    pub(super) fn listing(dice: &mut Random) -> Self {
        let repository = 0;
        let tag = dice.roll(2) as usize;
        match dice.roll(11) {
            0..2 => Self::Push {
                repository,
                manifest: LISTED,
                tag,
            },
            2..5 => Self::PushAlone {
                repository,
                manifest: LISTS,
                tag,
            },
            5 => Self::DeleteTag { repository, tag },
            6 | 7 => Self::DeleteManifest {
                repository,
                manifest: LISTED,
            },
            8 => Self::DeleteManifest {
                repository,
                manifest: LISTS,
            },
            _ => Self::CollectManifests { repository },
        }
    }

    /// An actor of a crowd in which each collector walks through the whole store.
    pub(super) fn walking(dice: &mut Random) -> Self {
        match Self::random(dice) {
            Self::CollectLinks { .. } | Self::CollectBlobs | Self::CollectManifests { .. } => {
                Self::CollectEverything
            }
            other => other,
        }
    }

    /// An actor of a crowd around one tag that moves, and the collectors of its manifests.
    pub(super) fn moving(dice: &mut Random) -> Self {
        let repository = 0;
        match dice.roll(3) {
            0 | 1 => Self::MoveAndBack {
                repository,
                manifest: dice.roll(3),
                tag: 0,
            },
            _ => Self::CollectManifests { repository },
        }
    }

    /// An actor of a crowd around one blob and its collectors.
    pub(super) fn needing(dice: &mut Random) -> Self {
        let repository = 0;
        let manifest = 0;
        let tag = dice.roll(2) as usize;
        match dice.roll(3) {
            0 => Self::PushAlone {
                repository,
                manifest,
                tag,
            },
            1 => Self::Push {
                repository,
                manifest,
                tag,
            },
            _ => Self::CollectLinks { repository },
        }
    }

    /// An actor of a crowd around one blob that is pushed and collected again and again.
    pub(super) fn taking(dice: &mut Random) -> Self {
        let repository = 0;
        match dice.roll(3) {
            0 => Self::Push {
                repository,
                manifest: 0,
                tag: 0,
            },
            1 => Self::CollectLinks { repository },
            _ => Self::CollectBlobs,
        }
    }

    /// An actor of a crowd around an index and the collectors of its child.
    pub(super) fn collecting(dice: &mut Random) -> Self {
        let repository = 0;
        let tag = dice.roll(2) as usize;
        match dice.roll(3) {
            0 => Self::PushAlone {
                repository,
                manifest: LISTS,
                tag,
            },
            _ => Self::CollectManifests { repository },
        }
    }

    /// An actor of a crowd in which no client deletes a blob.
    pub(super) fn relying(dice: &mut Random) -> Self {
        match Self::random(dice) {
            Self::DeleteBlob { repository } | Self::PushAlone { repository, .. } => {
                Self::CollectLinks { repository }
            }
            Self::Push {
                repository,
                manifest,
                tag,
            } => Self::HeadThenPush {
                repository,
                manifest,
                tag,
            },
            other => other,
        }
    }

    /// An actor of a crowd in which time moves, and no client deletes the index's child.
    pub(super) fn refreshing(dice: &mut Random) -> Self {
        let repository = 0;
        let tag = dice.roll(2) as usize;
        match dice.roll(10) {
            0..3 => Self::PushChildThenIndex { repository, tag },
            3 => Self::HeadThenPush {
                repository,
                manifest: 0,
                tag,
            },
            4 => Self::CollectLinks { repository },
            5..8 => Self::CollectManifests { repository },
            _ => Self::Wait,
        }
    }

    /// An actor of a crowd around one manifest with several tags, which is deleted.
    pub(super) fn deleting(dice: &mut Random) -> Self {
        let repository = 0;
        let manifest = LISTED;
        let tag = dice.roll(3) as usize;
        match dice.roll(9) {
            0..3 => Self::DeleteManifest { repository, manifest },
            3 | 4 => Self::PushAlone {
                repository,
                manifest,
                tag,
            },
            5 => Self::MoveAndBack {
                repository,
                manifest: dice.roll(2),
                tag,
            },
            6 => Self::DeleteTag { repository, tag },
            _ => Self::Look { repository },
        }
    }

    /// An actor of a crowd around one manifest that is deleted and pushed again and again.
    pub(super) fn hiding(dice: &mut Random) -> Self {
        let repository = 0;
        let manifest = LISTED;
        match dice.roll(2) {
            0 => Self::DeleteManifest { repository, manifest },
            _ => Self::PushAlone {
                repository,
                manifest,
                tag: 0,
            },
        }
    }

    /// An actor of a crowd around an immutable tag that many want to create.
    pub(super) fn pinning(dice: &mut Random) -> Self {
        let repository = 0;
        let manifest = dice.roll(2);
        let tag = 0;
        match dice.roll(10) {
            0..4 => Self::PushAlone {
                repository,
                manifest,
                tag,
            },
            4..6 => Self::DeleteManifest { repository, manifest },
            6 => Self::DeleteTag { repository, tag },
            7 => Self::CollectManifests { repository },
            _ => Self::Look { repository },
        }
    }

    /// An actor of a crowd around bytes that are damaged, found to be damaged, and replaced.
    pub(super) fn scrubbing(dice: &mut Random) -> Self {
        let repository = dice.roll(2) as usize;
        let manifest = 0;
        let tag = 0;
        match dice.roll(10) {
            0 | 1 => Self::Damage,
            2 | 3 => Self::Scrub,
            4 | 5 => Self::Push {
                repository,
                manifest,
                tag,
            },
            6 => Self::HeadThenPush {
                repository,
                manifest,
                tag,
            },
            7 => Self::CollectBlobs,
            8 => Self::CollectLinks { repository },
            _ => Self::Mount {
                repository,
                manifest,
                tag,
            },
        }
    }
}

pub(super) fn content_digest() -> Digest {
    static DIGEST: LazyLock<Digest> = LazyLock::new(|| sha256(CONTENT));
    DIGEST.clone()
}

pub(super) fn manifest(number: u32) -> Bytes {
    static MADE: LazyLock<Vec<Bytes>> = LazyLock::new(|| (0..MANIFESTS).map(make).collect());
    MADE[number as usize].clone()
}

pub(super) fn manifest_digest(number: u32) -> Digest {
    static MADE: LazyLock<Vec<Digest>> =
        LazyLock::new(|| (0..MANIFESTS).map(|number| sha256(&make(number))).collect());
    MADE[number as usize].clone()
}

fn make(number: u32) -> Bytes {
    let mut extra = json!({"annotations": {"number": number.to_string()}});
    match number {
        LISTS => {
            let children = [descriptor(IMAGE, &sha256(&make(LISTED)))];
            return json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children})
                .to_string()
                .into();
        }
        REFERRER => extra["subject"] = descriptor(IMAGE, &sha256(&make(0))),
        _ => {}
    }
    image(&content_digest(), &extra)
}

pub(super) fn name(repository: usize) -> RepositoryName {
    REPOSITORIES[repository].parse().unwrap()
}

pub(super) fn tag_name(tag: usize) -> Tag {
    TAGS[tag].parse().unwrap()
}
