//! Who works on the store at the same time, and what they were told.

use super::super::*;
use super::collectors::{self, Care};
use super::store::{Process, World};
use crate::oci::{RepositoryName, Tag};
use crate::storage::Failure;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(super) const REPOSITORIES: [&str; 2] = ["one", "two"];
pub(super) const TAGS: [&str; 2] = ["v1", "v2"];
pub(super) const CONTENT: &[u8] = b"layer";
/// How many different manifests there are.
const MANIFESTS: u32 = 5;
/// Its subject is the first one.
const REFERRER: u32 = 3;
/// Lists the second one, and needs no blob.
const LISTS: u32 = 4;
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What one client or one collector does. Numbers choose one of the constants above.
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
    /// Relies on the blob's being there.
    PushAlone {
        repository: usize,
        manifest: u32,
        tag: usize,
    },
    /// Asks for the blob, and uploads it only if it is not there.
    HeadThenPush {
        repository: usize,
        manifest: u32,
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
    CollectLinks {
        repository: usize,
    },
    CollectBlobs,
    CollectManifests {
        repository: usize,
    },
}

impl Actor {
    pub(super) fn random(world: &World) -> Self {
        let index = |below: usize| world.roll(u32::try_from(below).unwrap()) as usize;
        let (repository, manifest, tag) = (index(REPOSITORIES.len()), world.roll(MANIFESTS), index(TAGS.len()));
        match world.roll(15) {
            0..3 => Self::Push { repository, manifest, tag },
            3 | 4 => Self::Mount { repository, manifest, tag },
            5 | 6 => Self::PushAlone { repository, manifest, tag },
            7 => Self::DeleteManifest { repository, manifest },
            8 => Self::DeleteTag { repository, tag },
            9 => Self::DeleteBlob { repository },
            10 | 11 => Self::CollectLinks { repository },
            12 => Self::CollectBlobs,
            13 => Self::HeadThenPush { repository, manifest, tag },
            _ => Self::CollectManifests { repository },
        }
    }

    /// Of a crowd about one index and its child, which is tagged for a moment only.
    pub(super) fn listing(world: &World) -> Self {
        let (repository, tag) = (0, world.roll(2) as usize);
        match world.roll(8) {
            0..2 => Self::Push { repository, manifest: 1, tag },
            2..5 => Self::PushAlone { repository, manifest: LISTS, tag },
            5 => Self::DeleteTag { repository, tag },
            _ => Self::CollectManifests { repository },
        }
    }

    /// Of a crowd in which nobody deletes a blob.
    pub(super) fn relying(world: &World) -> Self {
        match Self::random(world) {
            Self::DeleteBlob { repository } | Self::PushAlone { repository, .. } => Self::CollectLinks { repository },
            Self::Push { repository, manifest, tag } => Self::HeadThenPush { repository, manifest, tag },
            other => other,
        }
    }
}

/// What was done to a tag.
#[derive(Clone, Debug)]
pub(super) enum Done {
    Put(Digest),
    Delete,
    /// The manifest was deleted, and with it the tag if it was on it.
    DeleteManifest(Digest),
}

/// Something that happened to a tag, or may have.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub repository: usize,
    /// `None` for all tags.
    pub tag: Option<usize>,
    pub done: Done,
    pub begun: u64,
    /// When it was acknowledged. `None`: nobody knows whether and when it happened, or will.
    pub acknowledged: Option<u64>,
}

#[derive(Default)]
pub(super) struct History {
    events: Mutex<Vec<Event>>,
    time: AtomicU64,
    /// Pushes that were refused for want of a blob that a HEAD had found.
    broken_promises: AtomicU64,
}

impl History {
    pub(super) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    pub(super) fn broken_promises(&self) -> u64 {
        self.broken_promises.load(Ordering::SeqCst)
    }

    fn now(&self) -> u64 {
        self.time.fetch_add(1, Ordering::SeqCst)
    }

    fn begin(&self, repository: usize, tag: Option<usize>, done: Done) -> usize {
        let event = Event { repository, tag, done, begun: self.now(), acknowledged: None };
        let mut events = self.events.lock().unwrap();
        events.push(event);
        events.len() - 1
    }

    /// What is not acknowledged, and did not fail for a reason that says that nothing happened, stays unknown.
    fn end<T>(&self, event: usize, result: &Result<T, Error>) {
        let now = self.now();
        let mut events = self.events.lock().unwrap();
        if result.is_ok() {
            events[event].acknowledged = Some(now);
        }
    }
}

pub(super) fn content_digest() -> Digest {
    sha256(CONTENT)
}

pub(super) fn manifest(number: u32) -> Bytes {
    let mut extra = json!({"annotations": {"number": number.to_string()}});
    match number {
        LISTS => {
            let children = [descriptor(IMAGE, &sha256(&manifest(1)))];
            return json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}).to_string().into();
        }
        REFERRER => extra["subject"] = descriptor(IMAGE, &sha256(&manifest(0))),
        _ => {}
    }
    image(&content_digest(), &extra)
}

/// A client or a collector with a process of its own.
pub(super) struct Client {
    pub registry: Registry,
    pub process: Arc<Process>,
    pub history: Arc<History>,
    pub care: Care,
    /// How old a link must be for a collector to think of it.
    pub grace: Duration,
}

impl Client {
    pub(super) async fn run(self, actor: Actor) {
        let process = self.process.clone();
        process.run(self.act(actor)).await;
    }

    async fn act(&self, actor: Actor) {
        match actor {
            Actor::Push { repository, manifest, tag } => {
                if self.upload(REPOSITORIES[repository]).await {
                    drop(self.push(repository, manifest, tag).await);
                }
            }
            Actor::Mount { repository, manifest, tag } => {
                let (here, there) = (REPOSITORIES[repository], REPOSITORIES[1 - repository]);
                let mounted = self.registry.mount(&create(here), Some(&read(there)), None, &content_digest()).await;
                if matches!(mounted, Ok(true)) || self.upload(here).await {
                    drop(self.push(repository, manifest, tag).await);
                }
            }
            Actor::PushAlone { repository, manifest, tag } => drop(self.push(repository, manifest, tag).await),
            Actor::HeadThenPush { repository, manifest, tag } => {
                let here = REPOSITORIES[repository];
                let found = self.registry.keep_blob(&read(here), &create(here), &content_digest()).await.is_ok();
                if found || self.upload(here).await {
                    let pushed = self.push(repository, manifest, tag).await;
                    if found && matches!(pushed, Err(Error::MissingReferences(missing)) if missing.contains(&content_digest())) {
                        self.history.broken_promises.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }
            Actor::DeleteManifest { repository, manifest: number } => {
                let digest = sha256(&manifest(number));
                let event = self.history.begin(repository, None, Done::DeleteManifest(digest.clone()));
                let deleted = self.registry.delete_manifest(&delete(REPOSITORIES[repository]), &Reference::Digest(digest)).await;
                self.history.end(event, &deleted);
            }
            Actor::DeleteTag { repository, tag: number } => {
                let event = self.history.begin(repository, Some(number), Done::Delete);
                let deleted = self.registry.delete_manifest(&delete(REPOSITORIES[repository]), &tag(TAGS[number])).await;
                self.history.end(event, &deleted);
            }
            Actor::DeleteBlob { repository } => {
                drop(self.registry.delete_blob(&delete(REPOSITORIES[repository]), &content_digest()).await);
            }
            Actor::CollectLinks { repository } => {
                for _ in 0..2 {
                    drop(collectors::link(&self.registry, self.care, self.grace, &name(repository), &content_digest()).await);
                }
            }
            Actor::CollectBlobs => {
                for _ in 0..2 {
                    drop(collectors::blob(&self.registry, self.care, &content_digest()).await);
                }
            }
            Actor::CollectManifests { repository } => {
                for number in 0..MANIFESTS {
                    drop(collectors::manifest(&self.registry, &name(repository), &sha256(&manifest(number))).await);
                }
            }
        }
    }

    /// As clients do: a request whose answer was lost is sent again, and an upload that is gone begins anew.
    async fn upload(&self, repository: &str) -> bool {
        for _ in 0..3 {
            let Ok(upload) = self.registry.start_upload(&create(repository), None).await else { continue };
            let kept = if self.process.world.roll(2) == 0 { self.first_chunk(repository, &upload.id).await } else { Some(0) };
            let Some(rest) = kept.and_then(|kept| CONTENT.get(kept..)) else { continue };
            for _ in 0..2 {
                match self.registry.finish(&create(repository), None, &upload.id, None, &content_digest(), body(&[rest])).await {
                    Ok(_) => return true,
                    Err(Error::Storage(Failure::Io(_))) => {}
                    Err(_) => break,
                }
            }
        }
        false
    }

    /// Where the upload stands then. Who does not hear it asks.
    async fn first_chunk(&self, repository: &str, id: &UploadId) -> Option<usize> {
        let appended = self.registry.append(&create(repository), id, None, None, body(&[&CONTENT[..2]])).await;
        let upload = match appended {
            Ok(upload) => upload,
            Err(_) => self.registry.upload_status(&create(repository), id).await.ok()?,
        };
        usize::try_from(upload.offset).ok()
    }

    /// What it was told last.
    async fn push(&self, repository: usize, number: u32, at: usize) -> Result<(), Error> {
        let digest = sha256(&manifest(number));
        let mut last = Ok(());
        for _ in 0..2 {
            let event = self.history.begin(repository, Some(at), Done::Put(digest.clone()));
            let permit = write(REPOSITORIES[repository]);
            let pushed = self.registry.put_manifest(&permit, &tag(TAGS[at]), None, manifest(number)).await;
            self.history.end(event, &pushed);
            last = pushed.map(drop);
            if last.is_ok() {
                break;
            }
        }
        last
    }
}

pub(super) fn name(repository: usize) -> RepositoryName {
    REPOSITORIES[repository].parse().unwrap()
}

pub(super) fn tag_name(tag: usize) -> Tag {
    TAGS[tag].parse().unwrap()
}
