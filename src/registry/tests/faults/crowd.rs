//! A crowd of actors that meet on one store.

use super::super::*;
use super::actors::{Actor, CONTENT, LISTED, REPOSITORIES, TAGS, manifest, manifest_digest};
use super::before::Before;
use super::client::Client;
use super::collectors::Conduct;
use super::every_step::Watch;
use super::history::History;
use super::invariants;
use super::planted::Fault;
use super::process::Process;
use super::scheduler::{Odds, Random, drive};
use super::setting::{client, quiet, simulate};
use super::store::Nature;
use super::world::World;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(60 * 60);
/// The grace period, after which a collector deletes unreferenced content.
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A crowd of actors, and how often their store misbehaves.
#[derive(Clone, Copy)]
pub(super) struct Crowd {
    odds: Odds,
    actor: fn(&mut Random) -> Actor,
    conduct: Conduct,
    /// `None` for either, as the seed says.
    is_bucket: Option<bool>,
    /// `None` for any, as the seed says.
    before: Option<Before>,
}

impl Crowd {
    pub(super) const fn of(actor: fn(&mut Random) -> Actor, odds: Odds) -> Self {
        Self {
            odds,
            actor,
            conduct: Conduct {
                rounds: 2,
                grace: Duration::ZERO,
                pinned: false,
                may_read: false,
                fault: None,
            },
            is_bucket: None,
            before: None,
        }
    }

    pub(super) const fn grace(mut self, grace: Duration) -> Self {
        self.conduct.grace = grace;
        self
    }

    pub(super) const fn pinned(mut self) -> Self {
        self.conduct.pinned = true;
        self
    }

    pub(super) const fn with(mut self, fault: Fault) -> Self {
        self.conduct.fault = Some(fault);
        self
    }

    pub(super) const fn begins_with(mut self, before: Option<Before>) -> Self {
        self.before = before;
        self
    }

    pub(super) const fn on_a_bucket(mut self) -> Self {
        self.is_bucket = Some(true);
        self
    }

    /// The first of this many seeds that violates an invariant.
    pub(super) fn loses_something(self, seeds: u64) -> Option<(u64, String)> {
        (0..seeds).find_map(|seed| Some((seed, self.run(seed).err()?)))
    }

    /// The first violation, if any.
    pub(super) fn run(self, seed: u64) -> Result<(), String> {
        simulate(self.meet(seed, &mut None))
    }

    /// The steps of a run, to the first violation.
    pub(super) fn trace(self, seed: u64) -> Vec<String> {
        let mut trace = Some(Vec::new());
        drop(simulate(self.meet(seed, &mut trace)));
        trace.unwrap_or_default()
    }

    /// Fills the trace of the run if it is wanted.
    async fn meet(mut self, seed: u64, trace: &mut Option<Vec<String>>) -> Result<(), String> {
        self.conduct.may_read = seed.is_multiple_of(2);
        // The nonces of the records follow from it.
        fastrand::seed(seed);
        let mut scheduler = Random::new(seed, self.odds);
        let is_bucket = scheduler.roll(2) == 0;
        let is_bucket = self.is_bucket.unwrap_or(is_bucket);
        let world = World::new(
            seed,
            Nature {
                is_bucket,
                is_shared: is_bucket,
                has_plain_tombstones: self.conduct.fault == Some(Fault::PlainTombstones),
            },
        );
        if trace.is_some() {
            world.keep_trace();
        }
        let history = Arc::new(History::default());
        match self.before {
            Some(before) => before.prepare(self.conduct, &world, &history).await,
            None => self.prepare(&mut scheduler, &world, &history).await,
        }
        let actors: Vec<Actor> = (0..2 + scheduler.roll(5))
            .map(|_| (self.actor)(&mut scheduler))
            .collect();
        let mut watch = Watch::new(&world, &history, self.conduct.pinned);
        let held = async {
            self.act(&actors, &world, &history, &mut watch, &mut scheduler)
                .await?;
            invariants::broken(&world, &history, &mut watch, &mut scheduler).await
        }
        .await;
        if let Some(trace) = trace {
            *trace = world.trace();
        }
        world.end();
        held.map_err(|why| format!("seed {seed}: {why}\n{actors:?}"))?;
        if let Some((one, other)) = history.moved().filter(|_| self.conduct.pinned) {
            return Err(format!("seed {seed}: {one:?} and then {other:?}\n{actors:?}"));
        }
        // Without a grace period, content that clients found may be deleted at once.
        match history.broken_promises() {
            promises if promises > 0 && !self.conduct.grace.is_zero() => {
                Err(format!("seed {seed}: {promises} promises\n{actors:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Lets all actors run until each has finished or died, and all late requests have arrived.
    async fn act(
        self,
        actors: &[Actor],
        world: &Arc<World>,
        history: &Arc<History>,
        watch: &mut Watch<'_>,
        scheduler: &mut Random,
    ) -> Result<(), String> {
        let start = |actor: &Actor| {
            let client = client(self.conduct, Process::new(world, true), history);
            tokio::spawn(client.run(*actor))
        };
        let tasks: Vec<_> = actors.iter().map(start).collect();
        drive(world, scheduler, || watch.holds()).await?;
        for task in tasks {
            if !task.is_finished() {
                return Err("an actor waits, and not for the store".to_owned());
            }
            task.await.unwrap();
        }
        Ok(())
    }

    /// In most runs, the blob already exists and is linked, so that it can be collected during the run. In
    /// some runs there is also a manifest with all tags or without tags.
    async fn prepare(self, dice: &mut Random, world: &Arc<World>, history: &Arc<History>) {
        let quiet = quiet(world);
        quiet.begin_recording_pulls().await.unwrap();
        for (number, repository) in REPOSITORIES.into_iter().enumerate().take(dice.roll(4) as usize) {
            push_blob(&quiet, repository, CONTENT).await;
            match dice.roll(4) {
                0 | 1 => {
                    let bytes = manifest(LISTED);
                    let permit = write(repository);
                    quiet
                        .put_manifest(&permit, &Reference::Digest(manifest_digest(LISTED)), None, bytes)
                        .await
                        .unwrap();
                }
                2 => {
                    let process = Process::new(world, false);
                    let client = Client {
                        registry: quiet.clone(),
                        ..client(self.conduct, process, history)
                    };
                    for tag in 0..TAGS.len() {
                        client.push(number, LISTED, tag).await.unwrap();
                    }
                }
                _ => {}
            }
        }
        world.store.reload();
        world.hand.advance(if dice.roll(3) == 0 {
            dice.roll(24) * HOUR
        } else {
            2 * DAY
        });
    }
}
