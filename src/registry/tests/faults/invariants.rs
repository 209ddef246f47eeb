//! What must hold when all actors have finished or died: the invariants of every step, what clients can read,
//! and a linear history of every tag.

use super::super::super::states::link::LinkRecord;
use super::super::*;
use super::actors::{self, CONTENT, REPOSITORIES, TAGS, content_digest};
use super::every_step::{Watch, is_held};
use super::history::{History, Seen};
use super::process::Process;
use super::scheduler::{Scheduler, drive};
use super::world::World;
use crate::access::Maintenance;
use std::cell::Cell;
use std::time::Duration;

/// The first violation, now, after a restart, or after all remaining uploads have expired.
pub(super) async fn broken(
    world: &Arc<World>,
    history: &History,
    watch: &mut Watch<'_>,
    scheduler: &mut impl Scheduler,
) -> Result<(), String> {
    let memory = world.store.memory.clone();
    let registry = Registry::new(memory.clone(), memory).with(any_sizes());
    let standing = Standing {
        registry: &registry,
        world,
        history,
        looked: Cell::new(u64::MAX),
    };
    standing.holds(watch).await?;
    restart(world, watch, scheduler).await?;
    registry
        .finish_what_a_crash_left()
        .await
        .map_err(|why| format!("what a crash left is not finished: {why}"))?;
    watch.is_restarted = true;
    standing.nothing_is_left().await?;
    standing.holds(watch).await?;
    world.hand.advance(Duration::from_secs(25 * 60 * 60));
    registry
        .expire_uploads()
        .await
        .map_err(|why| format!("uploads do not expire: {why}"))?;
    standing.holds(watch).await?;
    let mut damages = Damages::default();
    registry
        .check(&Maintenance::by_the_stores_owner(), &mut damages)
        .await
        .unwrap();
    if standing.has_damaged_bytes().await {
        return Ok(());
    }
    for damage in damages.0 {
        if !standing.may_point_at_nothing(&damage) {
            return Err(damage);
        }
    }
    Ok(())
}

/// Starts the registry on the store in a process that may die.
async fn restart(
    world: &Arc<World>,
    watch: &mut Watch<'_>,
    scheduler: &mut impl Scheduler,
) -> Result<(), String> {
    let process = Process::new(world, true);
    let starting = Registry::new(process.clone(), process.clone()).with(any_sizes());
    tokio::spawn(async move { process.run(starting.finish_what_a_crash_left()).await });
    drive(world, scheduler, || watch.holds()).await
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
    /// The number of changes at the last look.
    looked: Cell<u64>,
}

impl Standing<'_> {
    async fn holds(&self, watch: &mut Watch<'_>) -> Result<(), String> {
        self.world.store.reload();
        watch.holds()?;
        if self.looked.replace(self.world.store.count()) == self.world.store.count() {
            return Ok(());
        }
        for repository in 0..REPOSITORIES.len() {
            self.manifests(repository).await?;
            for tag in 0..TAGS.len() {
                self.tag(repository, tag).await;
            }
            self.list(repository).await;
        }
        match self.history.unexplained(!self.world.store.nature.is_bucket) {
            None => Ok(()),
            Some(look) => Err(format!(
                "{}:{}: {look:?} after {:#?}",
                REPOSITORIES[look.repository],
                TAGS[look.tag],
                self.history.events()
            )),
        }
    }

    /// After a restart there is no deletion under way and no hidden manifest.
    async fn nothing_is_left(&self) -> Result<(), String> {
        for (prefix, show) in [("x/", Show::All), ("r/", Show::Hidden)] {
            let range = Range {
                prefix,
                after: "",
                limit: 10,
                show,
            };
            let left = self.world.store.memory.list(range).await.unwrap();
            if !left.is_empty() {
                return Err(format!("left after a restart: {left:?}"));
            }
        }
        Ok(())
    }

    /// The name of the bytes that the repository serves.
    async fn linked(&self, repository: usize) -> Option<String> {
        let key = keys::link(&content_digest(), &actors::name(repository));
        let link: LinkRecord = self.registry.records.read(&key).await.unwrap()?.record;
        link.generation
    }

    async fn has_damaged_bytes(&self) -> bool {
        let mut named = vec![
            self.world
                .store
                .blob(&content_digest())
                .map(|blob| blob.generation),
        ];
        for repository in 0..REPOSITORIES.len() {
            named.push(self.linked(repository).await);
        }
        named
            .iter()
            .flatten()
            .any(|name| self.world.store.is_damaged(name))
    }

    /// The blobs and referrers of all manifests can be read.
    async fn manifests(&self, repository: usize) -> Result<(), String> {
        let name = REPOSITORIES[repository];
        let (needs, refers) = self.world.store.raw(|raw| {
            let its = raw.manifests.iter().filter(|((its, _), _)| its.as_str() == name);
            let readable: Vec<_> = its.filter(|(_, manifest)| manifest.is_readable()).collect();
            let needs = readable
                .iter()
                .any(|(_, manifest)| !manifest.header.blobs.is_empty());
            let refers: Vec<_> = readable
                .iter()
                .filter_map(|((_, digest), manifest)| {
                    Some((digest.clone(), manifest.header.subject.as_ref()?.0.clone()))
                })
                .collect();
            (needs, refers)
        });
        if needs
            && content(self.registry, name, &content_digest())
                .await
                .ok()
                .as_deref()
                != Some(CONTENT)
        {
            let linked = self.linked(repository).await;
            if linked.is_none_or(|linked| !self.world.store.is_damaged(&linked)) {
                return Err(format!("{name}: a manifest has no readable blob"));
            }
        }
        for (digest, subject) in refers {
            let referrers = self.registry.referrers(&read(name), &subject, None, None).await;
            let listed = referrers.unwrap().manifests;
            if listed.iter().all(|referrer| referrer.digest != digest) {
                return Err(format!(
                    "{name}: {digest} is not among the referrers of its subject: {listed:?}"
                ));
            }
        }
        Ok(())
    }

    async fn tag(&self, repository: usize, number: usize) {
        let name = actors::name(repository);
        let tag = actors::tag_name(number);
        let begun = self.history.now();
        let target = self.registry.tag_target(&name, &tag).await.unwrap();
        let seen = target.map_or(Seen::Nothing, Seen::On);
        self.history.look(repository, number, begun, seen);
    }

    /// If a push died while its manifest was deleted, its tag may lack a manifest. No client has
    /// an acknowledgement of the tag.
    fn may_point_at_nothing(&self, damage: &str) -> bool {
        let events = self.history.events();
        self.world.store.raw(|raw| {
            raw.tags.keys().any(|(repository, tag)| {
                let begins = format!("damage: {}: points to the manifest", keys::tag(repository, tag));
                damage.starts_with(&begins) && !is_held(&events, raw.writers(repository, tag))
            })
        })
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
