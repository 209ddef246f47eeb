//! Decides which request arrives next, and how. Nothing else does: when a request arrives, its task
//! continues until it waits for the next one.

use super::table::{Entry, Fate, What};
use super::world::{Step, World};
use std::collections::HashMap;
use std::time::Duration;

/// Chooses the next step. `None` ends the run.
pub(super) trait Scheduler {
    fn next(&mut self, world: &World) -> Option<Step>;

    /// Whether no earlier run has reached the present state in the same way.
    fn is_new(&self) -> bool {
        true
    }
}

/// Takes steps until none is left. `check` is called before each and at the end, if that is new.
pub(super) async fn drive(
    world: &World,
    scheduler: &mut impl Scheduler,
    mut check: impl FnMut() -> Result<(), String>,
) -> Result<(), String> {
    loop {
        // The clock is paused and advances only when every task waits. So this ends when all of them wait for
        // the store.
        tokio::time::sleep(Duration::from_millis(1)).await;
        if scheduler.is_new() {
            check()?;
        }
        let Some(step) = scheduler.next(world) else {
            return Ok(());
        };
        world.step(step);
    }
}

/// The number of requests in a thousand that meet each fate.
#[derive(Clone, Copy)]
pub(super) struct Odds {
    pub fails: u32,
    pub loses_the_answer: u32,
    pub comes_late: u32,
    pub comes_twice: u32,
    /// The process dies.
    pub dies: u32,
}

impl Odds {
    pub(super) const NONE: Self = Self {
        fails: 0,
        loses_the_answer: 0,
        comes_late: 0,
        comes_twice: 0,
        dies: 0,
    };
    pub(super) const ALL: Self = Self {
        fails: 15,
        loses_the_answer: 15,
        comes_late: 15,
        comes_twice: 100,
        dies: 15,
    };
}

/// How a run chooses among the requests that wait. Each way finds orders that the other one hardly meets.
enum Style {
    /// Each request is delayed, mostly for a moment and sometimes for long.
    Delays,
    /// The process with the lowest rank continues. Now and then it gets the highest rank.
    Ranks(HashMap<usize, u64>),
}

/// The orders and faults of a seed.
pub(super) struct Random {
    odds: Odds,
    dice: fastrand::Rng,
    style: Style,
    /// When each pending request arrives, by its number.
    due: HashMap<u64, u64>,
    steps: u64,
}

impl Random {
    pub(super) fn new(seed: u64, odds: Odds) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let style = if dice.bool() {
            Style::Delays
        } else {
            Style::Ranks(HashMap::new())
        };
        Self {
            odds,
            dice,
            style,
            due: HashMap::new(),
            steps: 0,
        }
    }

    pub(super) fn roll(&mut self, below: u32) -> u32 {
        self.dice.u32(0..below)
    }

    /// Decides when the request arrives, if that is not decided yet.
    fn place(&mut self, entry: &Entry) {
        if self.due.contains_key(&entry.number) {
            return;
        }
        let place = match &mut self.style {
            Style::Delays => {
                let most = match entry.what {
                    What::Begin => self.dice.u32(0..3) * 60,
                    What::Late(..) | What::LateRemoval(_) => 200,
                    _ if self.dice.u32(0..30) == 0 => 100,
                    _ => 5,
                };
                self.steps + u64::from(self.dice.u32(0..=most))
            }
            Style::Ranks(ranks) => {
                if entry.what.is_late() {
                    u64::from(self.dice.u32(..))
                } else {
                    let rank = ranks
                        .entry(entry.process)
                        .or_insert_with(|| u64::from(self.dice.u32(..)));
                    if self.dice.u32(0..40) == 0 {
                        *rank = u64::from(u32::MAX) + self.steps;
                    }
                    *rank
                }
            }
        };
        self.due.insert(entry.number, place);
    }

    fn fate(&mut self, entry: &Entry) -> Fate {
        if matches!(entry.what, What::Begin) || entry.what.is_late() {
            return Fate::Good;
        }
        let Odds {
            fails,
            loses_the_answer,
            comes_late,
            comes_twice,
            ..
        } = self.odds;
        match self.roll(1000) {
            roll if roll < fails => Fate::Fails,
            roll if roll < fails + loses_the_answer => Fate::LosesTheAnswer,
            roll if roll < fails + loses_the_answer + comes_late => Fate::ComesLate,
            roll if roll < fails + loses_the_answer + comes_late + comes_twice => Fate::ComesTwice,
            _ => Fate::Good,
        }
    }
}

impl Scheduler for Random {
    fn next(&mut self, world: &World) -> Option<Step> {
        let table = world.table();
        self.steps += 1;
        for entry in table.entries() {
            self.place(entry);
        }
        let next = table
            .entries()
            .iter()
            .min_by_key(|entry| (self.due[&entry.number], entry.number))?;
        if let Style::Delays = self.style {
            self.steps = self.steps.max(self.due[&next.number]);
        }
        let life = table.life(next.process);
        if life.is_mortal && !life.is_dead && self.roll(1000) < self.odds.dies {
            return Some(Step::Dies {
                process: next.process,
                all_arrive: self.dice.bool(),
            });
        }
        self.due.remove(&next.number);
        let fate = self.fate(next);
        Some(Step::Arrives(next.number, fate))
    }
}
