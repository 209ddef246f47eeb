//! Takes every order of the requests with at most a few *preemptions*: moments at which one process stops and
//! another continues, although the first could continue. Each order is a run from the start. A process is not
//! stopped before a request that no other process can notice, because that is the same as stopping it
//! afterwards. A state that was reached before with as many preemptions left is not searched again.
//!
//! A search may also let one process of each run die, at any of its requests. It dies before the request
//! arrives, and only after a request that has changed something: to die later is the same until the next change.

use super::footprints::Footprints;
use super::history::History;
use super::scheduler::Scheduler;
use super::table::{Entry, Fate, What};
use super::world::{Step, World};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// What a run may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub preemptions: u32,
    /// How many processes die.
    pub deaths: u32,
}

/// All runs of a search.
pub(super) struct Search {
    bounds: Bounds,
    /// The choices of the present run, each with the number of options that there were.
    plan: Vec<(usize, usize)>,
    /// The states that were reached, each with the preemptions that were left.
    reached: HashMap<u64, u32>,
    /// The states in which a run ended.
    ended: HashSet<u64>,
    runs: u64,
    /// What the processes were seen to use.
    seen: Footprints,
}

impl Search {
    /// A search that knows already what the processes were seen to use.
    pub(super) fn new(bounds: Bounds, seen: Footprints) -> Self {
        Self {
            bounds,
            plan: Vec::new(),
            reached: HashMap::new(),
            ended: HashSet::new(),
            runs: 0,
            seen,
        }
    }

    pub(super) fn into_seen(self) -> Footprints {
        self.seen
    }

    /// The number of runs, and of states in which there was a choice.
    pub(super) fn size(&self) -> (u64, usize) {
        (self.runs, self.reached.len())
    }

    pub(super) fn begin<'a>(&'a mut self, history: &'a History) -> Path<'a> {
        self.runs += 1;
        Path {
            left: self.bounds.preemptions,
            deaths: self.bounds.deaths,
            search: self,
            history,
            depth: 0,
            current: None,
            has_changed: false,
            is_known: false,
            has_ended: false,
            known: BTreeMap::new(),
        }
    }

    /// Whether the processes turned out to share more than was known.
    pub(super) fn begins_again(&self) -> bool {
        self.seen.have_grown
    }

    /// The next run is the same as the last one.
    pub(super) fn repeat(&mut self) {
        self.reached.clear();
        self.ended.clear();
    }

    /// Moves on to the next order, or begins again. `false` if there is none.
    pub(super) fn advance(&mut self) -> bool {
        if self.begins_again() {
            self.seen.have_grown = false;
            self.plan.clear();
            self.reached.clear();
            self.ended.clear();
            self.runs = 0;
            return true;
        }
        while let Some((choice, options)) = self.plan.pop() {
            if choice + 1 < options {
                self.plan.push((choice + 1, options));
                return true;
            }
        }
        false
    }
}

/// One run.
pub(super) struct Path<'a> {
    search: &'a mut Search,
    history: &'a History,
    /// How many choices were made.
    depth: usize,
    /// The process whose request arrived last.
    current: Option<usize>,
    /// Whether that request changed something.
    has_changed: bool,
    /// How many preemptions are left.
    left: u32,
    /// How many processes may still die.
    deaths: u32,
    /// Whether the run has reached a state that was searched before.
    is_known: bool,
    /// Whether all actors have ended.
    has_ended: bool,
    /// A hash of all that each process knows: its requests, and what it found.
    known: BTreeMap<usize, u64>,
}

/// One of the options of a choice.
#[derive(Clone, Copy)]
enum Next {
    Continues(usize),
    Dies(usize),
}

impl Path<'_> {
    /// Whether the run was cut off, or ended in a state in which another run ended.
    pub(super) fn is_known(&mut self, world: &World) -> bool {
        self.has_ended = true;
        let mut hasher = DefaultHasher::new();
        hash_store(world, &mut hasher);
        self.history.hash(&mut hasher);
        self.is_known || !self.search.ended.insert(hasher.finish())
    }

    fn state(&self, world: &World) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.current, self.has_changed, self.deaths, &self.known).hash(&mut hasher);
        hash_store(world, &mut hasher);
        self.history.hash(&mut hasher);
        hasher.finish()
    }

    /// One of several options. `None` if all that follows was searched before.
    fn choose(&mut self, options: usize, world: &World) -> Option<usize> {
        if options == 1 {
            return Some(0);
        }
        let depth = self.depth;
        self.depth += 1;
        if let Some((choice, _)) = self.search.plan.get(depth) {
            return Some(*choice);
        }
        let state = self.state(world);
        if self
            .search
            .reached
            .get(&state)
            .is_some_and(|left| *left >= self.left)
        {
            self.is_known = true;
            return None;
        }
        self.search.reached.insert(state, self.left);
        self.search.plan.push((0, options));
        Some(0)
    }
}

impl Scheduler for Path<'_> {
    fn next(&mut self, world: &World) -> Option<Step> {
        let table = world.table();
        // The first request of each process. Those that a process sends at once keep their order.
        let mut first: BTreeMap<usize, &Entry> = BTreeMap::new();
        for entry in table.entries() {
            first.entry(entry.process).or_insert(entry);
        }
        let current = self.current.filter(|current| first.contains_key(current));
        let mut options: Vec<Next> = current.into_iter().map(Next::Continues).collect();
        let goes_on = current.is_some_and(|current| {
            self.left == 0 || self.search.seen.is_private(current, &first[&current].what)
        });
        if !goes_on {
            let others = first.keys().filter(|process| Some(**process) != current);
            options.extend(others.copied().map(Next::Continues));
        }
        let may_die = self.deaths > 0 && self.has_changed && !self.has_ended;
        options.extend(current.filter(|_| may_die).map(Next::Dies));
        if options.is_empty() {
            return None;
        }
        let process = match options[self.choose(options.len(), world)?] {
            Next::Continues(process) => process,
            Next::Dies(process) => {
                self.deaths -= 1;
                self.current = None;
                self.has_changed = false;
                // It does not matter what the process knew.
                self.known.insert(process, 0);
                return Some(Step::Dies {
                    process,
                    all_arrive: false,
                });
            }
        };
        if current.is_some_and(|current| current != process) {
            self.left -= 1;
        }
        self.current = Some(process);
        let Entry { number, what, .. } = first[&process];
        self.has_changed = what.changes_something();
        if !self.has_ended {
            self.search.seen.note(process, what);
        }
        let known = self.known.entry(process).or_default();
        let mut hasher = DefaultHasher::new();
        known.hash(&mut hasher);
        hash_found(world, what, &mut hasher);
        *known = hasher.finish();
        Some(Step::Arrives(*number, Fate::Good))
    }

    fn is_new(&self) -> bool {
        self.depth >= self.search.plan.len()
    }
}

/// What a request will find.
fn hash_found(world: &World, what: &What, hasher: &mut DefaultHasher) {
    let store = &world.store;
    let mut record = |key: &str| {
        let content = store.raw(|raw| raw.hash_of(key));
        (key, store.changes(key), content).hash(hasher);
    };
    match what {
        What::Get(key) => record(key),
        What::Change(changes, _) => changes.iter().for_each(|change| record(&change.key)),
        What::List(prefix) => store.raw(|raw| raw.under(prefix).for_each(|found| found.hash(hasher))),
        What::Bytes(_, name) | What::Remove(name) => (name, store.has_bytes(name)).hash(hasher),
        What::Begin | What::Late(..) | What::LateRemoval(_) => {}
    }
}

fn hash_store(world: &World, hasher: &mut DefaultHasher) {
    world.store.raw(|raw| {
        for (key, content) in raw.under("") {
            (key, world.store.changes(key), content).hash(hasher);
        }
        raw.hash_writers(hasher);
    });
    world.store.names().hash(hasher);
}
