//! Visits every state that the actors can reach, in every order of their requests, breadth first.
//!
//! A state is identified by 128 bits of its hash. The parents of states are kept, so that the path to a
//! violation can be printed step by step.

use super::io::{Io, Stop};
use super::phase::Phase;
use super::scenario::Scenario;
use super::world::{Reply, World};
use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The maximum number of states of a scenario.
const MOST: usize = 20_000_000;

#[derive(Debug)]
pub(super) enum Explored {
    /// The number of states, and of those in which all actors have ended.
    Clean { states: usize, ends: usize },
    Violation {
        what: String,
        trace: String,
        states: usize,
    },
}

/// One step of the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Move {
    actor: u8,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The actor's next request.
    Request,
    Crash,
    /// The store's time advances. No actor does this.
    Tick,
}

pub(super) fn explore(scenario: &Scenario) -> Explored {
    let start = scenario.start();
    let mut parents: Vec<(u32, Move)> = vec![(
        0,
        Move {
            actor: 0,
            kind: Kind::Tick,
        },
    )];
    let mut known: HashMap<u128, u32> = HashMap::from([(fingerprint(&start), 0)]);
    let mut queue = VecDeque::from([(0, start)]);
    let mut ends = 0;
    while let Some((number, world)) = queue.pop_front() {
        let next = successors(scenario, &world);
        let mut wrong = scenario.check(&world);
        if next.iter().all(|(step, _)| matches!(step.kind, Kind::Tick)) && scenario.has_ended(&world) {
            ends += 1;
            wrong = wrong.or_else(|| scenario.check_end(&world));
        }
        if let Some(what) = wrong {
            return Explored::Violation {
                what,
                trace: trace(scenario, &parents, number),
                states: known.len(),
            };
        }
        for (step, world) in next {
            let count = u32::try_from(known.len()).expect("fewer states");
            known.entry(fingerprint(&world)).or_insert_with(|| {
                parents.push((number, step));
                queue.push_back((count, world));
                count
            });
        }
        assert!(known.len() < MOST, "{}: too many states", scenario.name);
    }
    Explored::Clean {
        states: known.len(),
        ends,
    }
}

fn successors(scenario: &Scenario, world: &World) -> Vec<(Move, World)> {
    let mut found = Vec::new();
    for actor in 0..world.locals.len() {
        let number = u8::try_from(actor).expect("few actors");
        if world.locals[actor].phase.has_ended() || !scenario.may_go(world, actor) {
            continue;
        }
        found.push((
            Move {
                actor: number,
                kind: Kind::Request,
            },
            request(scenario, world, actor).0,
        ));
        if scenario.crashes && world.locals[actor].began && !scenario.never_crashes(actor) {
            let mut next = world.clone();
            next.end(actor, Phase::Crashed);
            next.canonicalise();
            found.push((
                Move {
                    actor: number,
                    kind: Kind::Crash,
                },
                next,
            ));
        }
    }
    if world.now < scenario.ticks {
        let mut next = world.clone();
        next.now += 1;
        found.push((
            Move {
                actor: 0,
                kind: Kind::Tick,
            },
            next,
        ));
    }
    found
}

/// Lets the actor make one request, and returns the reply.
fn request(scenario: &Scenario, world: &World, actor: usize) -> (World, Option<Reply>) {
    let mut next = world.clone();
    next.begin(actor, scenario.orders);
    let mut past = std::mem::take(&mut next.locals[actor].past);
    let mut phase = next.locals[actor].phase;
    let mut acted = false;
    let mut reply = None;
    // A phase may end without a request of its own.
    while !acted && !phase.has_ended() {
        let mut io = Io::new(&scenario.options, &mut next, &mut past);
        let ended = scenario.actors[actor].run(phase, &mut io);
        acted = io.acted;
        reply = past.last().copied().or(reply);
        match ended {
            Err(Stop) => {}
            Ok(to) => {
                phase = to;
                past.clear();
            }
        }
    }
    next.locals[actor].past = past;
    if phase.has_ended() {
        next.end(actor, phase);
    } else {
        next.locals[actor].phase = phase;
    }
    next.canonicalise();
    (next, reply)
}

fn trace(scenario: &Scenario, parents: &[(u32, Move)], number: u32) -> String {
    let mut steps = Vec::new();
    let mut at = number;
    while at != 0 {
        let (parent, step) = parents[at as usize];
        steps.push(step);
        at = parent;
    }
    steps.reverse();
    let mut world = scenario.start();
    let mut text = format!("   {world}\n");
    for step in steps {
        let actor = usize::from(step.actor);
        let next = successors(scenario, &world)
            .into_iter()
            .find(|(found, _)| *found == step)
            .expect("it was found before")
            .1;
        let _ = match step.kind {
            Kind::Tick => writeln!(text, " the store's time is {}", next.now),
            Kind::Crash => writeln!(text, " {:?} crashes", scenario.actors[actor]),
            Kind::Request => writeln!(
                text,
                " {:?} at {:?}: {:?}, then {:?}\n   {next}",
                scenario.actors[actor],
                world.locals[actor].phase,
                request(scenario, &world, actor).1,
                next.locals[actor].phase
            ),
        };
        world = next;
    }
    text
}

/// The state's bytes, hashed twice.
fn fingerprint(world: &World) -> u128 {
    let mut bytes = Collected(Vec::with_capacity(256));
    world.hash(&mut bytes);
    let mut one = DefaultHasher::new();
    let mut other = DefaultHasher::new();
    one.write(&bytes.0);
    other.write_u8(1);
    other.write(&bytes.0);
    u128::from(one.finish()) << 64 | u128::from(other.finish())
}

struct Collected(Vec<u8>);

impl Hasher for Collected {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn write_u8(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn write_isize(&mut self, discriminant: isize) {
        self.0.push(discriminant.to_le_bytes()[0]);
    }

    fn write_usize(&mut self, length: usize) {
        self.0.push(length.to_le_bytes()[0]);
    }

    fn finish(&self) -> u64 {
        unreachable!("the bytes are hashed by another")
    }
}
