//! The requests of each actor, in the way of real clients.

use super::super::*;
use super::actors::{
    Actor, CONTENT, LISTED, LISTS, MANIFESTS, REPOSITORIES, TAGS, content_digest, manifest, manifest_digest,
    name,
};
use super::collectors::{self, Conduct};
use super::history::{Done, History, Seen};
use super::planted::{self, Fault};
use super::process::Process;
use crate::storage::Failure;

/// A client or a collector with a process of its own.
pub(super) struct Client {
    pub registry: Registry,
    pub process: Arc<Process>,
    pub history: Arc<History>,
    pub conduct: Conduct,
}

impl Client {
    pub(super) async fn run(self, actor: Actor) {
        let process = self.process.clone();
        process
            .run(async {
                process.begin().await;
                self.act(actor).await;
            })
            .await;
    }

    async fn act(&self, actor: Actor) {
        let collecting = &self.conduct;
        match actor {
            Actor::Push {
                repository,
                manifest,
                tag,
            } => {
                if self.upload(repository).await {
                    drop(self.push(repository, manifest, tag).await);
                }
            }
            Actor::Mount {
                repository,
                manifest,
                tag,
            } => {
                if self.mount(repository).await || self.upload(repository).await {
                    drop(self.push(repository, manifest, tag).await);
                }
            }
            Actor::PushAlone {
                repository,
                manifest,
                tag,
            } => drop(self.push(repository, manifest, tag).await),
            Actor::HeadThenPush {
                repository,
                manifest,
                tag,
            } => self.head_then_push(repository, manifest, tag).await,
            Actor::MoveAndBack {
                repository,
                manifest,
                tag,
            } => {
                for manifest in [manifest, (manifest + 1) % 3, manifest] {
                    drop(self.push(repository, manifest, tag).await);
                }
            }
            Actor::PushChildThenIndex { repository, tag } => {
                self.push_child_then_index(repository, tag).await
            }
            Actor::DeleteManifest {
                repository,
                manifest: number,
            } => self.delete_manifest(repository, number).await,
            Actor::DeleteTag {
                repository,
                tag: number,
            } => {
                let event = self.begin(repository, Some(number), Done::Delete);
                let deleted = self
                    .registry
                    .delete_manifest(&self.may_delete(repository), &tag(TAGS[number]))
                    .await;
                self.history.end(event, &deleted);
                if matches!(deleted, Err(Error::TagImmutable(_))) {
                    self.history.refused(event);
                }
            }
            Actor::DeleteBlob { repository } => {
                drop(
                    self.registry
                        .delete_blob(&delete(REPOSITORIES[repository]), &content_digest())
                        .await,
                );
            }
            Actor::Look { repository } => {
                for _ in 0..4 {
                    self.look(repository).await;
                }
            }
            Actor::CollectLinks { repository } => {
                for _ in 0..collecting.rounds {
                    drop(
                        collectors::link(&self.registry, collecting, &name(repository), &content_digest())
                            .await,
                    );
                }
            }
            Actor::CollectBlobs => {
                for _ in 0..collecting.rounds {
                    drop(collectors::blob(&self.registry, collecting, &content_digest()).await);
                }
            }
            Actor::CollectManifests { repository } => {
                if collecting.grace.is_zero() {
                    self.history.collected();
                }
                for number in 0..MANIFESTS {
                    drop(
                        collectors::manifest(
                            &self.registry,
                            collecting,
                            &name(repository),
                            &manifest_digest(number),
                        )
                        .await,
                    );
                }
            }
            Actor::CollectEverything => {
                if collecting.grace.is_zero() {
                    self.history.collected();
                }
                drop(collectors::everything(&self.registry, collecting).await);
            }
            Actor::Damage => self.damage(),
            Actor::Scrub => {
                for _ in 0..2 {
                    if let Ok(Some(damaged)) =
                        collectors::scrub_content(&self.registry, &content_digest()).await
                    {
                        self.history.suspected(damaged);
                    }
                }
            }
            Actor::Wait => self.wait(),
        }
    }

    /// A change of the history begins, and the requests from now on belong to it.
    fn begin(&self, repository: usize, tag: Option<usize>, done: Done) -> usize {
        let event = self.history.begin(repository, tag, done);
        self.process.begins(event);
        event
    }

    fn pusher(&self, repository: &str) -> Pusher {
        if self.conduct.may_read {
            pusher(repository)
        } else {
            blind(create(repository))
        }
    }

    fn may_push(&self, repository: usize) -> Permit<Write> {
        let name = REPOSITORIES[repository];
        if self.conduct.pinned {
            Permit::for_test_immutable(name, alice(), &[TAGS[0]])
        } else {
            write(name)
        }
    }

    fn may_delete(&self, repository: usize) -> Permit<Delete> {
        let name = REPOSITORIES[repository];
        if self.conduct.pinned {
            Permit::for_test_immutable(name, alice(), &[TAGS[0]])
        } else {
            delete(name)
        }
    }

    async fn head_then_push(&self, repository: usize, manifest: u32, tag: usize) {
        let here = REPOSITORIES[repository];
        let begun = self.history.now();
        let found = self
            .registry
            .keep_blob(&read(here), &create(here), &content_digest())
            .await
            .is_ok();
        if found {
            self.history.relies(repository, begun);
        }
        if found || self.upload(repository).await {
            let pushed = self.push(repository, manifest, tag).await;
            if found
                && matches!(pushed, Err(Error::MissingReferences(missing)) if missing.contains(&content_digest()))
            {
                self.history.broke_a_promise();
            }
        }
    }

    async fn push_child_then_index(&self, repository: usize, tag: usize) {
        let child = manifest(LISTED);
        let permit = write(REPOSITORIES[repository]);
        let digest = manifest_digest(LISTED);
        if self.upload(repository).await
            && self
                .registry
                .put_manifest(&permit, &Reference::Digest(digest.clone()), None, child)
                .await
                .is_ok()
        {
            self.wait();
            if matches!(
                self.push(repository, LISTS, tag).await,
                Err(Error::MissingReferences(_))
            ) {
                self.history.broke_a_promise();
            }
        }
    }

    async fn delete_manifest(&self, repository: usize, number: u32) {
        let digest = manifest_digest(number);
        let permit = self.may_delete(repository);
        for _ in 0..2 {
            let event = self.begin(repository, None, Done::DeleteManifest(digest.clone()));
            let deleted = match self.conduct.fault {
                Some(fault) if fault.is_in_a_deletion() => {
                    planted::delete(&self.registry, permit.repository(), &digest, fault).await
                }
                _ => {
                    self.registry
                        .delete_manifest(&permit, &Reference::Digest(digest.clone()))
                        .await
                }
            };
            self.history.end(event, &deleted);
            if matches!(deleted, Err(Error::Listed { .. } | Error::TagImmutable(_))) {
                self.history.refused(event);
            }
            // Asks again, like a client whose answer was lost.
            if !matches!(deleted, Err(Error::Storage(Failure::Io(_)))) {
                return;
            }
        }
    }

    async fn look(&self, repository: usize) {
        let permit = read(REPOSITORIES[repository]);
        let digest = manifest_digest(LISTED);
        let begun = self.history.now();
        if let Err(Error::ManifestUnknown | Error::RepositoryUnknown) = self
            .registry
            .manifest(&permit, &Reference::Digest(digest.clone()))
            .await
        {
            self.history.gone(repository, digest, begun);
        }
        let begun = self.history.now();
        match self.registry.tags(&permit, "", 100).await {
            Ok(page) => {
                for (tag, name) in TAGS.iter().enumerate() {
                    let listed = page.entries.iter().any(|entry| entry == name);
                    self.history.look(
                        repository,
                        tag,
                        begun,
                        if listed { Seen::Listed } else { Seen::Nothing },
                    );
                }
            }
            Err(Error::RepositoryUnknown) => {
                (0..TAGS.len()).for_each(|tag| self.history.look(repository, tag, begun, Seen::Nothing));
            }
            Err(_) => {}
        }
        for (number, name) in TAGS.iter().enumerate() {
            let begun = self.history.now();
            match self.registry.manifest(&permit, &tag(name)).await {
                Ok(found) => self
                    .history
                    .look(repository, number, begun, Seen::On(found.digest)),
                Err(Error::ManifestUnknown | Error::RepositoryUnknown) => {
                    self.history.look(repository, number, begun, Seen::Nothing)
                }
                Err(_) => {}
            }
        }
    }

    fn damage(&self) {
        let store = &self.process.world().store;
        if let Some(blob) = store.blob(&content_digest()) {
            store.damage(&blob.generation);
        }
    }

    /// Lets time pass, for all.
    fn wait(&self) {
        let minutes = u64::from(self.process.roll(8 * 60));
        self.process.world().wait(minutes);
    }

    async fn mount(&self, repository: usize) -> bool {
        let here = REPOSITORIES[repository];
        let there = REPOSITORIES[1 - repository];
        let begun = self.history.now();
        let from = read(there);
        let digest = content_digest();
        let mounted = match self.conduct.fault {
            Some(Fault::SuspectIsMounted) => {
                planted::mount(&self.registry, from.repository(), &name(repository), &digest).await
            }
            _ => {
                self.registry
                    .mount(&create(here), Some(&from), None, &digest)
                    .await
            }
        };
        let mounted = matches!(mounted, Ok(true));
        if mounted {
            self.history.relies(repository, begun);
        }
        mounted
    }

    /// Behaves like a client: sends a request again if its answer was lost, and starts an upload again if it
    /// is gone.
    async fn upload(&self, number: usize) -> bool {
        let repository = REPOSITORIES[number];
        for _ in 0..3 {
            let Ok(upload) = self.registry.start_upload(&create(repository), None).await else {
                continue;
            };
            let kept = if self.process.roll(2) == 0 {
                self.first_chunk(repository, &upload.id).await
            } else {
                Some(0)
            };
            let Some(rest) = kept.and_then(|kept| CONTENT.get(kept..)) else {
                continue;
            };
            for _ in 0..2 {
                let begun = self.history.now();
                match self
                    .registry
                    .finish(
                        &self.pusher(repository),
                        &upload.id,
                        None,
                        &content_digest(),
                        body(&[rest]),
                    )
                    .await
                {
                    Ok(_) => {
                        self.history.relies(number, begun);
                        return true;
                    }
                    Err(Error::Storage(Failure::Io(_))) => {}
                    Err(_) => break,
                }
            }
        }
        false
    }

    /// Returns the upload's offset after the chunk. If the answer is lost, asks for it.
    async fn first_chunk(&self, repository: &str, id: &UploadId) -> Option<usize> {
        let appended = self
            .registry
            .append(&create(repository), id, None, None, body(&[&CONTENT[..2]]))
            .await;
        let upload = match appended {
            Ok(upload) => upload,
            Err(_) => self.registry.upload_status(&create(repository), id).await.ok()?,
        };
        usize::try_from(upload.offset).ok()
    }

    /// Returns the last answer.
    pub(super) async fn push(&self, repository: usize, number: u32, at: usize) -> Result<(), Error> {
        let bytes = manifest(number);
        let permit = self.may_push(repository);
        let mut last = Ok(());
        for _ in 0..2 {
            let event = self.begin(repository, Some(at), Done::Put(manifest_digest(number)));
            last = match self.conduct.fault {
                Some(fault) if fault.is_in_a_push() => {
                    planted::push(&self.registry, &permit, TAGS[at], bytes.clone(), fault).await
                }
                _ => self
                    .registry
                    .put_manifest(&permit, &tag(TAGS[at]), None, bytes.clone())
                    .await
                    .map(drop),
            };
            self.history.end(event, &last);
            if last.is_ok() {
                break;
            }
        }
        last
    }
}
