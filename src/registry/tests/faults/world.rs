//! What all processes of a run share: the store, its clock, and the table of requests on their way to it.

use super::super::parts::Parts;
use super::super::*;
use super::store::{Nature, Store};
use super::table::{Entry, Fate, Table};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

pub(super) struct World {
    pub store: Store,
    /// The uploads that are not complete, if the store is a bucket.
    pub parts: Parts,
    /// Advances the store's clock.
    pub hand: ManualClock,
    pub seed: u64,
    table: Mutex<Table>,
    /// How many minutes the clock has advanced since the start.
    waited: Mutex<u64>,
    trace: Mutex<Option<Vec<String>>>,
}

/// What a scheduler does next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// The request with this number arrives.
    Arrives(u64, Fate),
    /// The process dies. Each request that it has sent arrives later, or never.
    Dies { process: usize, all_arrive: bool },
}

impl World {
    pub(super) fn new(seed: u64, nature: Nature) -> Arc<Self> {
        let (clock, hand) = Clock::manual(Timestamp::from_secs(1_800_000_000));
        Arc::new(Self {
            store: Store::new(Memory::with_clock(clock), nature),
            parts: Parts::default(),
            hand,
            seed,
            table: Mutex::default(),
            waited: Mutex::default(),
            trace: Mutex::default(),
        })
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap()
    }

    /// Lets time pass, less than half a day in all.
    pub(super) fn wait(&self, minutes: u64) {
        let mut waited = self.waited.lock().unwrap();
        if *waited + minutes < 12 * 60 {
            *waited += minutes;
            self.hand.advance(Duration::from_secs(60 * minutes));
        }
    }

    /// Takes one step.
    pub(super) fn step(&self, step: Step) {
        match step {
            Step::Arrives(number, fate) => {
                let entry = self.table().take(number);
                self.note(|| format!("{number} of {}: {} {fate:?}", entry.process, entry.what));
                if matches!(fate, Fate::ComesLate | Fate::ComesTwice) {
                    self.arrives_later(&entry);
                }
                entry.settle(&self.store, fate);
            }
            Step::Dies { process, all_arrive } => {
                self.note(|| format!("{process} dies"));
                let sent = self.table().kill(process);
                if all_arrive {
                    sent.iter().for_each(|entry| self.arrives_later(entry));
                }
            }
        }
    }

    fn arrives_later(&self, entry: &Entry) {
        if let Some(late) = entry.what.later(&self.store) {
            self.table().send_late(entry.process, late);
        }
    }

    /// Keeps every step from now on.
    pub(super) fn keep_trace(&self) {
        *self.trace.lock().unwrap() = Some(Vec::new());
    }

    pub(super) fn trace(&self) -> Vec<String> {
        self.trace.lock().unwrap().clone().unwrap_or_default()
    }

    fn note(&self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut *self.trace.lock().unwrap() {
            trace.push(line());
        }
    }

    /// Drops all requests, whose senders would otherwise keep the world alive.
    pub(super) fn end(&self) {
        *self.table() = Table::default();
    }
}
