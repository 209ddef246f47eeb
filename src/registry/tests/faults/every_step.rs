//! The invariants that hold after every step, checked on the records as they are in the store. They are those
//! of `docs/design/protocol.md`, "What must hold".

use super::super::super::keys;
use super::super::super::states::blob::BlobState;
use super::super::super::states::manifest::ManifestRecord;
use super::super::*;
use super::actors::{self, REPOSITORIES, TAGS};
use super::history::{Done, Event, History, Look, Seen};
use super::raw::Raw;
use super::table::Cause;
use super::world::World;
use crate::oci::{RepositoryName, Tag};

pub(super) struct Watch<'a> {
    world: &'a World,
    history: &'a History,
    /// Whether the first tag is immutable.
    is_pinned: bool,
    /// Whether everything unfinished was finished.
    pub is_restarted: bool,
    repositories: Vec<RepositoryName>,
    tags: Vec<Tag>,
    /// The number of changes and the time of the history at the last check.
    checked: (u64, u64),
    /// The first readable manifest of the immutable tag, for each repository.
    pins: Vec<Option<Digest>>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(world: &'a World, history: &'a History, is_pinned: bool) -> Self {
        Self {
            world,
            history,
            is_pinned,
            is_restarted: false,
            repositories: (0..REPOSITORIES.len()).map(actors::name).collect(),
            tags: (0..TAGS.len()).map(actors::tag_name).collect(),
            checked: (u64::MAX, u64::MAX),
            pins: vec![None; REPOSITORIES.len()],
        }
    }

    /// The first violation.
    pub(super) fn holds(&mut self) -> Result<(), String> {
        let now = (self.world.store.count(), self.history.time());
        let is_new = self.checked != now;
        self.checked = now;
        let world = self.world;
        world.store.raw(|raw| {
            self.blobs(raw)?;
            if is_new {
                self.links(raw)?;
                self.manifests(raw)?;
                self.tags(raw)?;
            }
            Ok::<_, String>(())
        })?;
        match world.store.published_twice() {
            Some(name) => Err(format!("the bytes {name} were published twice")),
            None => Ok(()),
        }
    }

    fn blobs(&self, raw: &Raw) -> Result<(), String> {
        for blob in raw.blobs.values() {
            // On a shared store a condemned record may name bytes that an ended upload has taken along.
            let is_certain = match blob.state {
                BlobState::Live => true,
                BlobState::Cond => !self.world.store.nature.is_shared,
                BlobState::Dying => false,
            };
            if is_certain && !self.world.store.has_bytes(&blob.generation) {
                return Err(format!("the blob {blob:?} has no bytes"));
            }
        }
        Ok(())
    }

    fn links(&self, raw: &Raw) -> Result<(), String> {
        for ((repository, digest), link) in &raw.links {
            let Some(name) = &link.generation else { continue };
            let number = self.repositories.iter().position(|its| its == repository);
            if let Some(deceived) = self.history.deceived(number.unwrap(), name) {
                return Err(format!(
                    "{repository}: serves {name}, which was known to be damaged before {deceived:?}"
                ));
            }
            let blob = raw.blobs.get(digest);
            // If the bytes were damaged and replaced, a link may still name the old ones.
            let leads_there = blob.is_some_and(|blob| {
                let is_its = blob.generation == *name || self.world.store.is_damaged(name);
                blob.state != BlobState::Dying && is_its
            });
            if !leads_there {
                return Err(format!(
                    "{repository}: a link to {name}, and the blob is {blob:?}"
                ));
            }
        }
        Ok(())
    }

    fn manifests(&self, raw: &Raw) -> Result<(), String> {
        for ((repository, digest), manifest) in &raw.manifests {
            if !manifest.is_readable() {
                continue;
            }
            for blob in &manifest.header.blobs {
                let link = raw.links.get(&(repository.clone(), blob.0.clone()));
                if link.is_none_or(|link| link.generation.is_none()) {
                    return Err(format!(
                        "{repository}: the manifest {digest} has no link to its blob: {link:?}"
                    ));
                }
            }
            for child in &manifest.header.manifests {
                if !is_readable(raw, repository, &child.0) {
                    return Err(format!("{repository}: {digest} lists {}, which is gone", child.0));
                }
                let mark = keys::index(repository, &child.0, digest);
                if !raw.marks.contains(mark.as_str()) {
                    return Err(format!(
                        "{repository}: {digest} lists {}, whose deletion would not find that",
                        child.0
                    ));
                }
            }
            if let Some(subject) = &manifest.header.subject {
                let mark = keys::referrer(repository, &subject.0, digest);
                if !raw.marks.contains(mark.as_str()) {
                    return Err(format!(
                        "{repository}: {digest} is not among the referrers of its subject"
                    ));
                }
            }
            if !raw.marks.contains(keys::in_catalog(repository.as_str()).as_str()) {
                return Err(format!("{repository}: not in the catalogue, with a manifest"));
            }
        }
        Ok(())
    }

    fn tags(&mut self, raw: &Raw) -> Result<(), String> {
        let events = self.history.events();
        for repository in 0..REPOSITORIES.len() {
            for tag in 0..TAGS.len() {
                self.tag(raw, &events, repository, tag)
                    .map_err(|why| format!("{why} after {events:#?}"))?;
            }
        }
        Ok(())
    }

    fn tag(&mut self, raw: &Raw, events: &[Event], repository: usize, number: usize) -> Result<(), String> {
        let name = &self.repositories[repository];
        let tag = &self.tags[number];
        let record = raw.tags.get(&(name.clone(), tag.clone()));
        let target = record.and_then(|record| record.target());
        let time = self.history.time();
        let look = Look {
            repository,
            tag: number,
            seen: target.map_or(Seen::Nothing, |target| Seen::On(target.clone())),
            begun: time,
            ended: time,
        };
        if !self.history.explains(events, &look) {
            return Err(format!("{name}:{tag} is {:?}", look.seen));
        }
        let there = target.filter(|target| is_readable(raw, name, target));
        if self.is_pinned && number == 0 {
            match &self.pins[repository] {
                Some(pin) if there != Some(pin) => {
                    return Err(format!("{name}:{tag} was on {pin} and is on {target:?}"));
                }
                _ => self.pins[repository] = there.cloned(),
            }
        }
        let Some(target) = target else { return Ok(()) };
        let is_deletion = |event: &Event| matches!(&event.done, Done::DeleteManifest(gone) if gone == target);
        let may_be_dying = !self.is_restarted && events.iter().any(is_deletion);
        // A tag that only unacknowledged pushes wrote since it moved here may lack what their last steps write.
        let is_held = is_held(events, raw.writers(name, tag));
        if there.is_none() && is_held && !may_be_dying {
            return Err(format!("{name}:{tag} is on {target}, which is not there"));
        }
        // A folder hides the manifest and writes the marker in one commit. The marker hides the tag.
        let marker = keys::deletion(name, target);
        let is_one_commit = !self.world.store.nature.is_bucket;
        if there.is_none() && is_held && is_one_commit && !raw.marks.contains(marker.as_str()) {
            return Err(format!("{name}:{tag} is listed, and {target} is hidden"));
        }
        let back = keys::back_reference(name, target, tag);
        if there.is_some() && is_held && !raw.marks.contains(back.as_str()) {
            return Err(format!("a deletion of {target} would not find {name}:{tag}"));
        }
        Ok(())
    }
}

/// Whether one of these pushes was acknowledged. The content at the start was pushed too.
pub(super) fn is_held(events: &[Event], writers: &[Cause]) -> bool {
    let is_acknowledged = |writer: &Cause| writer.is_none_or(|event| events[event].acknowledged.is_some());
    writers.iter().any(is_acknowledged)
}

fn is_readable(raw: &Raw, repository: &RepositoryName, digest: &Digest) -> bool {
    raw.manifests
        .get(&(repository.clone(), digest.clone()))
        .is_some_and(ManifestRecord::is_readable)
}
