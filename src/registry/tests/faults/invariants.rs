//! What must hold when everyone has finished or died, whatever went wrong: the invariants of the protocol, and a history of every tag that
//! is linear.

use super::super::super::states::blob::BlobState;
use super::super::super::states::link::LinkRecord;
use super::super::*;
use super::actors::{self, CONTENT, Done, Event, History, REPOSITORIES, TAGS, content_digest};
use super::store::World;
use crate::access::Maintenance;
use std::time::Duration;

/// The first thing that is wrong, now or when all uploads that were left have expired.
pub(super) async fn broken(world: &World, history: &History, hand: &ManualClock) -> Result<(), String> {
    let registry = Registry::new(world.store.clone(), world.store.clone());
    standing(&registry, world, history).await?;
    hand.advance(Duration::from_secs(25 * 60 * 60));
    registry.expire_uploads().await.map_err(|why| format!("uploads do not expire: {why}"))?;
    standing(&registry, world, history).await?;
    let mut damages = Damages::default();
    registry.check(&Maintenance::by_the_stores_owner(), &mut damages).await.unwrap();
    damages.0.pop().map_or(Ok(()), Err)
}

#[derive(Default)]
struct Damages(Vec<String>);

impl Progress for Damages {
    fn found(&mut self, finding: Finding) {
        if finding.severity == Severity::Damage {
            self.0.push(finding.to_string());
        }
    }

    fn hashed(&mut self, _: u64, _: u64) {}
}

async fn standing(registry: &Registry, world: &World, history: &History) -> Result<(), String> {
    if let Some(name) = world.published_twice().pop() {
        return Err(format!("the bytes {name} were published twice"));
    }
    blob(registry).await?;
    for repository in 0..REPOSITORIES.len() {
        link(registry, repository).await?;
        manifests(registry, &history.events(), repository).await?;
        for tag in 0..TAGS.len() {
            linear(registry, &history.events(), repository, tag).await?;
        }
    }
    Ok(())
}

async fn blob(registry: &Registry) -> Result<(), String> {
    let Some(blob) = registry.records.read(&keys::blob(&content_digest())).await.unwrap().map(|found| found.record) else { return Ok(()) };
    let there = registry.bytes.open(&blob.generation).await.is_ok();
    if blob.state != BlobState::Dying && !there { Err(format!("the blob {blob:?} has no bytes")) } else { Ok(()) }
}

async fn link(registry: &Registry, repository: usize) -> Result<(), String> {
    let digest = content_digest();
    let link = registry.records.read(&keys::link(&digest, &actors::name(repository))).await.unwrap();
    let Some(LinkRecord { generation: Some(name), .. }) = link.map(|found| found.record) else { return Ok(()) };
    let blob = registry.records.read(&keys::blob(&digest)).await.unwrap();
    match blob.map(|found| found.record) {
        Some(blob) if blob.state != BlobState::Dying && blob.generation == name => Ok(()),
        other => Err(format!("{}: a link to {name}, and the blob is {other:?}", REPOSITORIES[repository])),
    }
}

async fn manifests(registry: &Registry, events: &[Event], repository: usize) -> Result<(), String> {
    let name = REPOSITORIES[repository];
    let mut keys = registry.records.keys(keys::manifests(&actors::name(repository)), Show::All);
    while let Some(key) = keys.next().await.unwrap() {
        let Some(manifest) = registry.records.read(&key).await.unwrap().map(|found| found.record) else { continue };
        let needs_content = manifest.is_readable() && !manifest.header.blobs.is_empty();
        if needs_content && content(registry, name, &content_digest()).await.ok().as_deref() != Some(CONTENT) {
            return Err(format!("{name}: the manifest {key} has no readable blob"));
        }
        for child in manifest.header.manifests.iter().filter(|_| manifest.is_readable()) {
            // Whoever deletes one that an index lists has it so.
            let deletes = |event: &Event| matches!(&event.done, Done::DeleteManifest(gone) if *gone == child.0);
            let deleted = events.iter().any(|event| event.repository == repository && deletes(event));
            if !deleted && registry.stored(&actors::name(repository), &child.0).await.unwrap().is_none() {
                return Err(format!("{name}: {key} lists {}, which nobody deleted, and it is gone", child.0));
            }
        }
        if let (true, Some(subject)) = (manifest.is_readable(), &manifest.header.subject) {
            let listed = registry.referrers(&read(name), &subject.0, None, None).await.unwrap().manifests;
            let digest = keys::digest_of(keys.prefix().rest(&key)).unwrap();
            if listed.iter().all(|referrer| referrer.digest != digest) {
                return Err(format!("{name}: {digest} is not among the referrers of its subject: {listed:?}"));
            }
        }
        if manifest.is_readable() && !registry.records.is_marked(&keys::in_catalog(name)).await.unwrap() {
            return Err(format!("{name}: not in the catalogue, with a manifest"));
        }
    }
    Ok(())
}

/// What is there now must be the effect of something that no acknowledged change came after.
async fn linear(registry: &Registry, events: &[Event], repository: usize, tag: usize) -> Result<(), String> {
    let (name, tag_name) = (actors::name(repository), actors::tag_name(tag));
    let found = registry.tag_target(&name, &tag_name).await.unwrap();
    let mine: Vec<&Event> = events.iter().filter(|one| one.repository == repository && one.tag.is_none_or(|its| its == tag)).collect();
    let told = || format!("{}:{} is {found:?} after {mine:#?}", REPOSITORIES[repository], TAGS[tag]);
    // Whether what `event` did cannot be there any more.
    let overtaken = |event: &Event, overtakes: &dyn Fn(&Done) -> bool| {
        let end = event.acknowledged.unwrap_or(u64::MAX);
        mine.iter().any(|other| other.acknowledged.is_some() && other.begun > end && overtakes(&other.done))
    };
    match &found {
        None => {
            let puts = |done: &Done| matches!(done, Done::Put(_));
            let was_put = mine.iter().any(|event| event.acknowledged.is_some() && puts(&event.done));
            let deleted = mine.iter().any(|event| !puts(&event.done) && !overtaken(event, &puts));
            if was_put && !deleted { Err(told()) } else { Ok(()) }
        }
        Some(digest) => {
            let other = |done: &Done| match done {
                Done::Put(other) => other != digest,
                Done::Delete => true,
                Done::DeleteManifest(other) => other == digest,
            };
            let writers = mine.iter().filter(|event| matches!(&event.done, Done::Put(put) if put == digest));
            let mut standing = writers.filter(|event| !overtaken(event, &other)).peekable();
            if standing.peek().is_none() {
                return Err(told());
            }
            let acknowledged = standing.any(|event| event.acknowledged.is_some());
            let readable = registry.stored(&name, digest).await.unwrap().is_some();
            let deleting = mine.iter().any(|event| matches!(&event.done, Done::DeleteManifest(gone) if gone == digest));
            let back = keys::back_reference(&name, digest, &tag_name);
            let found_by_deletion = registry.records.is_marked(&back).await.unwrap();
            match acknowledged {
                true if !readable && !deleting => Err(format!("no manifest there: {}", told())),
                true if readable && !found_by_deletion => Err(format!("a deletion of the manifest would not find it: {}", told())),
                _ => Ok(()),
            }
        }
    }
}
