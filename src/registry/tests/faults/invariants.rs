//! The invariants that must hold when all actors have finished or died: those of the protocol, and a linear
//! history of every tag.

use super::super::super::states::blob::BlobState;
use super::super::super::states::link::LinkRecord;
use super::super::super::states::manifest::ManifestRecord;
use super::super::*;
use super::actors::{self, CONTENT, REPOSITORIES, TAGS, content_digest};
use super::history::{Done, History, Look, Seen};
use super::store::{Process, World};
use crate::access::Maintenance;
use crate::oci::RepositoryName;
use std::time::Duration;

/// The first violation, now or after all remaining uploads have expired.
pub(super) async fn broken(world: &Arc<World>, history: &History) -> Result<(), String> {
    let registry = Registry::new(world.store.clone(), world.store.clone()).with(any_sizes());
    let mut standing = Standing {
        registry: &registry,
        world,
        history,
        restarted: false,
    };
    standing.holds().await?;
    restart(world).await?;
    standing.restarted = true;
    standing.holds().await?;
    world.hand.advance(Duration::from_secs(25 * 60 * 60));
    registry
        .expire_uploads()
        .await
        .map_err(|why| format!("uploads do not expire: {why}"))?;
    standing.holds().await?;
    let mut damages = Damages::default();
    registry
        .check(&Maintenance::by_the_stores_owner(), &mut damages)
        .await
        .unwrap();
    if standing.has_damaged_bytes().await {
        return Ok(());
    }
    for damage in damages.0 {
        if !standing.leads_nowhere_by_right(&damage).await {
            return Err(damage);
        }
    }
    Ok(())
}

/// Starts the registry on the store twice: first a process that may die, then one that does not. Nothing
/// unfinished remains.
async fn restart(world: &Arc<World>) -> Result<(), String> {
    let process = Process::new(world, true);
    let starting = Registry::new(process.clone(), process.clone()).with(any_sizes());
    process.run(starting.finish_what_a_crash_left()).await;
    // All late requests have arrived by now.
    for _ in 0..2000 {
        tokio::task::yield_now().await;
    }
    let registry = Registry::new(world.store.clone(), world.store.clone()).with(any_sizes());
    registry
        .finish_what_a_crash_left()
        .await
        .map_err(|why| format!("what a crash left is not finished: {why}"))?;
    for (prefix, show) in [("x/", Show::All), ("r/", Show::Hidden)] {
        let left = world
            .store
            .list(Range {
                prefix,
                after: "",
                limit: 10,
                show,
            })
            .await
            .unwrap();
        if !left.is_empty() {
            return Err(format!("left after a restart: {left:?}"));
        }
    }
    Ok(())
}

#[derive(Default)]
struct Damages(Vec<String>);

impl Progress for Damages {
    fn found(&mut self, finding: Finding) {
        if finding.severity == Severity::Damage {
            self.0.push(finding.to_string());
        }
    }

    fn marked(&mut self, _: &str, _: Marking) {}

    fn hashed(&mut self, _: u64, _: u64) {}
}

/// The current state of the store.
struct Standing<'a> {
    registry: &'a Registry,
    world: &'a World,
    history: &'a History,
    /// Checks that everything unfinished was finished.
    restarted: bool,
}

impl Standing<'_> {
    async fn holds(&self) -> Result<(), String> {
        if let Some(name) = self.world.published_twice().pop() {
            return Err(format!("the bytes {name} were published twice"));
        }
        self.blob().await?;
        for repository in 0..REPOSITORIES.len() {
            self.link(repository).await?;
            self.manifests(repository).await?;
            for tag in 0..TAGS.len() {
                self.tag(repository, tag).await?;
            }
            self.list(repository).await;
        }
        match self.history.unexplained(self.world.commits_at_once) {
            None => Ok(()),
            Some(look) => Err(format!(
                "{}:{}: {look:?} after {:#?}",
                REPOSITORIES[look.repository],
                TAGS[look.tag],
                self.history.events()
            )),
        }
    }

    async fn blob(&self) -> Result<(), String> {
        let Some(blob) = self.world.blob(&content_digest()).await else {
            return Ok(());
        };
        let there = self.registry.bytes.open(&blob.generation).await.is_ok();
        if blob.state != BlobState::Dying && !there {
            Err(format!("the blob {blob:?} has no bytes"))
        } else {
            Ok(())
        }
    }

    /// The name of the bytes that the repository serves.
    async fn linked(&self, repository: usize) -> Option<String> {
        let key = keys::link(&content_digest(), &actors::name(repository));
        let link: LinkRecord = self.registry.records.read(&key).await.unwrap()?.record;
        link.generation
    }

    async fn link(&self, repository: usize) -> Result<(), String> {
        let Some(name) = self.linked(repository).await else {
            return Ok(());
        };
        if let Some(deceived) = self.history.deceived(repository, &name) {
            return Err(format!(
                "{}: serves {name}, which was known to be damaged before {deceived:?}",
                REPOSITORIES[repository]
            ));
        }
        match self.world.blob(&content_digest()).await {
            Some(blob) if blob.state != BlobState::Dying && blob.generation == name => Ok(()),
            // The bytes were replaced, and the blob has not been pushed to this repository since. A collector may
            // have removed the old ones.
            Some(blob) if blob.state != BlobState::Dying && self.world.is_damaged(&name) => Ok(()),
            other => Err(format!(
                "{}: a link to {name}, and the blob is {other:?}",
                REPOSITORIES[repository]
            )),
        }
    }

    async fn has_damaged_bytes(&self) -> bool {
        let mut named = vec![
            self.world
                .blob(&content_digest())
                .await
                .map(|blob| blob.generation),
        ];
        for repository in 0..REPOSITORIES.len() {
            named.push(self.linked(repository).await);
        }
        named.iter().flatten().any(|name| self.world.is_damaged(name))
    }

    async fn manifests(&self, repository: usize) -> Result<(), String> {
        let name = actors::name(repository);
        let prefix = keys::manifests(&name);
        let mut keys = self.registry.records.keys(prefix.clone(), Show::All);
        while let Some(key) = keys.next().await.unwrap() {
            let manifest = self
                .registry
                .records
                .read(&key)
                .await
                .unwrap()
                .map(|found| found.record);
            let Some(manifest) = manifest.filter(ManifestRecord::is_readable) else {
                continue;
            };
            let digest = keys::digest_of(prefix.rest(&key)).unwrap();
            self.manifest(repository, &name, &digest, &manifest).await?;
        }
        Ok(())
    }

    async fn manifest(
        &self,
        number: usize,
        repository: &RepositoryName,
        digest: &Digest,
        manifest: &ManifestRecord,
    ) -> Result<(), String> {
        let registry = self.registry;
        let name = repository.as_str();
        if !manifest.header.blobs.is_empty()
            && content(registry, name, &content_digest()).await.ok().as_deref() != Some(CONTENT)
        {
            let linked = self.linked(number).await;
            if linked.is_none_or(|linked| !self.world.is_damaged(&linked)) {
                return Err(format!("{name}: the manifest {digest} has no readable blob"));
            }
        }
        for child in &manifest.header.manifests {
            if registry.stored(repository, &child.0).await.unwrap().is_none() {
                return Err(format!("{name}: {digest} lists {}, which is gone", child.0));
            }
            if !registry
                .records
                .is_marked(&keys::index(repository, &child.0, digest))
                .await
                .unwrap()
            {
                return Err(format!(
                    "{name}: {digest} lists {}, whose deletion would not find that",
                    child.0
                ));
            }
        }
        if let Some(subject) = &manifest.header.subject {
            let listed = registry
                .referrers(&read(name), &subject.0, None, None)
                .await
                .unwrap()
                .manifests;
            if listed.iter().all(|referrer| referrer.digest != *digest) {
                return Err(format!(
                    "{name}: {digest} is not among the referrers of its subject: {listed:?}"
                ));
            }
        }
        if registry.records.is_marked(&keys::in_catalog(name)).await.unwrap() {
            Ok(())
        } else {
            Err(format!("{name}: not in the catalogue, with a manifest"))
        }
    }

    /// Reads the tag, and checks that a deletion of its manifest would find it.
    async fn tag(&self, repository: usize, number: usize) -> Result<(), String> {
        let name = actors::name(repository);
        let tag = actors::tag_name(number);
        let begun = self.history.now();
        let Some(digest) = self.registry.tag_target(&name, &tag).await.unwrap() else {
            self.history.look(repository, number, begun, Seen::Nothing);
            return Ok(());
        };
        self.history
            .look(repository, number, begun, Seen::On(digest.clone()));
        let there = self.registry.stored(&name, &digest).await.unwrap().is_some();
        let (acknowledged, unknown) = self.putters(repository, number, &digest);
        let events = self.history.events();
        let deleting = events
            .iter()
            .any(|event| matches!(&event.done, Done::DeleteManifest(gone) if *gone == digest));
        let back = keys::back_reference(&name, &digest, &tag);
        if !there && !unknown && (self.restarted || !deleting) {
            return Err(format!(
                "{name}:{tag} is on {digest}, which is not there: {events:#?}"
            ));
        }
        if there && acknowledged && !self.registry.records.is_marked(&back).await.unwrap() {
            return Err(format!(
                "a deletion of {digest} would not find {name}:{tag}: {events:#?}"
            ));
        }
        Ok(())
    }

    /// Whether the tag may point at the manifest because of an acknowledged push, and because of one that was
    /// not acknowledged.
    fn putters(&self, repository: usize, tag: usize, digest: &Digest) -> (bool, bool) {
        let now = self.history.now();
        let look = Look {
            repository,
            tag,
            seen: Seen::On(digest.clone()),
            begun: now,
            ended: now,
        };
        let events = self.history.events();
        let acknowledged = look
            .putters(&events)
            .iter()
            .filter(|event| event.acknowledged.is_some())
            .count();
        (acknowledged > 0, acknowledged < look.putters(&events).len())
    }

    /// If a push died while its manifest was deleted, its tag may lack a manifest. No client was told that
    /// the tag exists.
    async fn leads_nowhere_by_right(&self, damage: &str) -> bool {
        for repository in 0..REPOSITORIES.len() {
            for tag in 0..TAGS.len() {
                let name = actors::name(repository);
                let tag_name = actors::tag_name(tag);
                let begins = format!("damage: {}: points to the manifest", keys::tag(&name, &tag_name));
                let digest = self.registry.tag_target(&name, &tag_name).await.unwrap();
                if damage.starts_with(&begins)
                    && digest.is_some_and(|digest| self.putters(repository, tag, &digest).1)
                {
                    return true;
                }
            }
        }
        false
    }

    async fn list(&self, repository: usize) {
        let begun = self.history.now();
        let listed = self
            .registry
            .tags(&read(REPOSITORIES[repository]), "", 100)
            .await
            .map(|page| page.entries)
            .unwrap_or_default();
        for (number, tag) in TAGS.iter().enumerate() {
            let seen = if listed.iter().any(|entry| entry == tag) {
                Seen::Listed
            } else {
                Seen::Nothing
            };
            self.history.look(repository, number, begun, seen);
        }
    }
}
