//! A scenario: the initial content of the store, the actors, and the invariants.

use super::actors::Actor;
use super::faults::Fault;
use super::options::Options;
use super::phase::Phase;
use super::values::{Key, Value};
use super::world::{Absence, Bytes, Local, World};

pub(super) type Invariant = fn(&Scenario, &World) -> Result<(), String>;

pub(super) struct Scenario {
    pub name: &'static str,
    pub actors: Vec<Box<dyn Actor>>,
    records: Vec<(Key, Value)>,
    bytes: Vec<(u8, Bytes)>,
    /// What the store keeps of a deleted record. A plain tombstone looks the same after another deletion; one
    /// with a nonce does not.
    absence: Absence,
    tombstone_at: Option<Key>,
    /// The repositories whose manifest needs the blob. Repository and manifest have the same number.
    needs: &'static [u8],
    /// How often the store's time may advance.
    pub ticks: u8,
    /// The process of any actor may die between two requests.
    pub crashes: bool,
    /// The state records which actors ended before others began, for invariants that need this.
    pub orders: bool,
    pub options: Options,
    invariants: Vec<Invariant>,
    at_end: Vec<Invariant>,
}

impl Scenario {
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            actors: Vec::new(),
            records: Vec::new(),
            bytes: Vec::new(),
            absence: Absence::Plain,
            tombstone_at: None,
            needs: &[],
            ticks: 0,
            crashes: false,
            orders: false,
            options: Options::new(),
            invariants: Vec::new(),
            at_end: Vec::new(),
        }
    }

    pub(super) const fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    pub(super) fn record(mut self, key: Key, value: impl Into<Value>) -> Self {
        self.records.push((key, value.into()));
        self
    }

    pub(super) fn bytes(mut self, name: u8, bytes: Bytes) -> Self {
        self.bytes.push((name, bytes));
        self
    }

    pub(super) fn actor(mut self, actor: impl Actor + 'static) -> Self {
        self.actors.push(Box::new(actor));
        self
    }

    pub(super) const fn children(mut self, children: &'static [(u8, &'static [u8])]) -> Self {
        self.options.children = children;
        self
    }

    pub(super) const fn needs(mut self, repositories: &'static [u8]) -> Self {
        self.needs = repositories;
        self
    }

    /// A deleted record has left a tombstone. Tombstones have nonces, unless a fault says otherwise.
    pub(super) const fn tombstone(mut self, key: Key) -> Self {
        self.absence = Absence::Nonce;
        self.tombstone_at = Some(key);
        self
    }

    pub(super) const fn nonces(mut self) -> Self {
        self.absence = Absence::Nonce;
        self
    }

    pub(super) const fn ticking(mut self, ticks: u8) -> Self {
        self.ticks = ticks;
        self
    }

    pub(super) const fn crashing(mut self) -> Self {
        self.crashes = true;
        self
    }

    pub(super) const fn ordered(mut self) -> Self {
        self.orders = true;
        self
    }

    pub(super) const fn tags(mut self) -> Self {
        self.options.tags = true;
        self
    }

    pub(super) const fn history(mut self) -> Self {
        self.options.history = true;
        self
    }

    pub(super) const fn damages(mut self) -> Self {
        self.options.damages = true;
        self
    }

    pub(super) const fn batch(mut self, batch: usize) -> Self {
        self.options.batch = batch;
        self
    }

    pub(super) fn always(mut self, invariant: Invariant) -> Self {
        self.invariants.push(invariant);
        self
    }

    pub(super) fn at_end(mut self, invariant: Invariant) -> Self {
        self.at_end.push(invariant);
        self
    }

    pub(super) fn with(mut self, fault: Fault) -> Self {
        if fault == Fault::PlainTombstones {
            self.absence = Absence::Plain;
        }
        self.options.fault = Some(fault);
        self
    }

    pub(super) fn start(&self) -> World {
        let mut world = World::new(self.absence);
        if let Some(key) = self.tombstone_at {
            world.leave_tombstone(key);
        }
        for (key, value) in &self.records {
            world.write(*key, None, Some(*value));
        }
        for (name, bytes) in &self.bytes {
            world.bytes[usize::from(*name)] = *bytes;
        }
        let local = Local {
            phase: Phase::Start,
            past: Vec::new(),
            after: 0,
            began: false,
            began_at: 0,
            ended_at: 0,
        };
        world.locals = vec![local; self.actors.len()];
        world.canonicalise();
        world
    }

    pub(super) const fn needs_blob(&self) -> &'static [u8] {
        self.needs
    }

    /// The actors that find a blob in a repository, with the repository.
    pub(super) fn relying(&self) -> impl Iterator<Item = (usize, u8)> {
        self.actors
            .iter()
            .enumerate()
            .filter_map(|(at, actor)| Some((at, actor.relies_on()?)))
    }

    /// The actors that append a chunk, with the chunk.
    pub(super) fn chunks(&self) -> impl Iterator<Item = (usize, u8)> {
        self.actors
            .iter()
            .enumerate()
            .filter_map(|(at, actor)| Some((at, actor.appends()?)))
    }

    pub(super) fn has_ended(&self, world: &World) -> bool {
        world.locals.iter().all(|local| local.phase.has_ended())
    }

    /// A restart finishes the work of crashed actors and runs last.
    pub(super) fn never_crashes(&self, actor: usize) -> bool {
        self.actors[actor].is_a_restart()
    }

    pub(super) fn may_go(&self, world: &World, actor: usize) -> bool {
        self.actors[actor].may_go(world.locals[actor].phase, world)
    }

    pub(super) fn check(&self, world: &World) -> Option<String> {
        self.invariants
            .iter()
            .find_map(|invariant| invariant(self, world).err())
    }

    pub(super) fn check_end(&self, world: &World) -> Option<String> {
        self.at_end
            .iter()
            .find_map(|invariant| invariant(self, world).err())
    }
}
