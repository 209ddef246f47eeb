//! Checks that the history of a register, which several clients write and read at once, is linear: each
//! request has its effect, or sees its value, at one moment between its beginning and its end. It uses the
//! search of Wing and Gong, one register at a time.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;

/// The value of a register: nothing, or for example a digest.
pub(super) type Content = Option<String>;

/// What a request changes in a register, or has seen there.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Write(Content),
    /// Empties the register if it has this value.
    Remove(String),
    Read(Content),
}

#[derive(Clone, Debug)]
struct Event {
    act: Act,
    begun: u64,
    /// `None` if it is unknown whether it happened.
    ended: Option<u64>,
}

/// A change that has begun.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    register: String,
    begun: u64,
}

#[derive(Default)]
pub(super) struct History {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    time: u64,
    registers: BTreeMap<String, (Content, Vec<Event>)>,
}

impl State {
    fn tick(&mut self) -> u64 {
        self.time += 1;
        self.time
    }

    fn push(&mut self, register: &str, event: Event) {
        self.registers
            .entry(register.to_owned())
            .or_default()
            .1
            .push(event);
    }
}

impl History {
    /// The moment at which a reading begins.
    pub(super) fn now(&self) -> u64 {
        self.state.lock().unwrap().tick()
    }

    /// A change begins. Until its result is reported, it may have happened, or may happen later.
    pub(super) fn begin(&self, register: &str, act: Act) -> Ticket {
        let mut state = self.state.lock().unwrap();
        let begun = state.tick();
        state.push(
            register,
            Event {
                act,
                begun,
                ended: None,
            },
        );
        Ticket {
            register: register.to_owned(),
            begun,
        }
    }

    pub(super) fn acknowledge(&self, ticket: &Ticket) {
        let mut state = self.state.lock().unwrap();
        let now = state.tick();
        let (_, events) = state.registers.get_mut(&ticket.register).unwrap();
        events
            .iter_mut()
            .find(|event| event.begun == ticket.begun)
            .unwrap()
            .ended = Some(now);
    }

    /// The change did not happen.
    pub(super) fn refused(&self, ticket: &Ticket) {
        let mut state = self.state.lock().unwrap();
        let (_, events) = state.registers.get_mut(&ticket.register).unwrap();
        events.retain(|event| event.begun != ticket.begun);
    }

    /// A request that began at `begun` and has ended now saw this value.
    pub(super) fn read(&self, register: &str, begun: u64, content: Content) {
        let mut state = self.state.lock().unwrap();
        let ended = Some(state.tick());
        state.push(
            register,
            Event {
                act: Act::Read(content),
                begun,
                ended,
            },
        );
    }

    /// Whether the register may have been emptied since then.
    pub(super) fn was_emptied(&self, register: &str, since: u64) -> bool {
        let state = self.state.lock().unwrap();
        let empties = |event: &Event| {
            matches!(event.act, Act::Write(None)) && event.ended.is_none_or(|ended| ended > since)
        };
        state
            .registers
            .get(register)
            .is_some_and(|(_, events)| events.iter().any(empties))
    }

    /// Begins a new history without a check of the old one.
    pub(super) fn forget(&self, register: &str) {
        self.state.lock().unwrap().registers.remove(register);
    }

    /// All requests have ended, and the register has this value. Fails unless this and all earlier
    /// observations have an order. Then begins a new history.
    pub(super) fn settle(&self, register: &str, content: Content) {
        let begun = self.now();
        self.read(register, begun, content.clone());
        let entry = self
            .state
            .lock()
            .unwrap()
            .registers
            .insert(register.to_owned(), (content, Vec::new()));
        let (first, mut events) = entry.unwrap();
        events.sort_by_key(|event| event.begun);
        assert!(
            is_linear(&first, &events),
            "{register} was {first:?}, and nothing can have made it so: {events:#?}"
        );
    }
}

impl Act {
    /// The value after the event. `None` if the event cannot have happened at this moment.
    fn after(&self, before: &Content) -> Option<Content> {
        match self {
            Self::Write(content) => Some(content.clone()),
            Self::Remove(content) if before.as_ref() == Some(content) => Some(None),
            Self::Remove(_) => Some(before.clone()),
            Self::Read(content) => (content == before).then(|| before.clone()),
        }
    }
}

/// `events` in the order in which they began.
fn is_linear(first: &Content, events: &[Event]) -> bool {
    let mut seen = HashSet::new();
    let mut open = vec![(vec![false; events.len()], first.clone())];
    while let Some(state) = open.pop() {
        if seen.contains(&state) {
            continue;
        }
        let (done, content) = &state;
        let left = || events.iter().enumerate().filter(|(index, _)| !done[*index]);
        // The next event begins before the first end of the remaining ones.
        let Some(end) = left().filter_map(|(_, event)| event.ended).min() else {
            return true;
        };
        let next = left().take_while(|(_, event)| event.begun < end);
        let mut after: Vec<_> = next
            .filter_map(|(index, event)| Some((index, event, event.act.after(content)?)))
            .collect();
        // A matching read can always be taken first.
        if let Some(position) = after
            .iter()
            .position(|(_, event, _)| matches!(event.act, Act::Read(_)))
        {
            after = vec![after.swap_remove(position)];
        }
        for (index, _, content) in after {
            let mut done = done.clone();
            done[index] = true;
            open.push((done, content));
        }
        seen.insert(state);
    }
    false
}

#[test]
fn linear_histories_are_accepted_and_others_are_not() {
    let some = |text: &str| Some(text.to_owned());
    let event = |act: Act, begun: u64, ended: u64| Event {
        act,
        begun,
        ended: Some(ended).filter(|ended| *ended > 0),
    };
    let write = |text: &str| Act::Write(some(text));
    let read = |text: &str| Act::Read(some(text));
    let remove = |text: &str| Act::Remove(text.to_owned());
    let cases = [
        ("nothing happened", true, vec![event(Act::Read(None), 1, 2)]),
        (
            "what was written is there",
            true,
            vec![event(write("a"), 1, 2), event(read("a"), 3, 4)],
        ),
        (
            "the written value is lost",
            false,
            vec![event(write("a"), 1, 2), event(Act::Read(None), 3, 4)],
        ),
        (
            "no client wrote it",
            false,
            vec![event(write("a"), 1, 2), event(read("b"), 3, 4)],
        ),
        (
            "of two writes at once, either may win",
            true,
            vec![
                event(write("a"), 1, 4),
                event(write("b"), 2, 3),
                event(read("a"), 5, 6),
            ],
        ),
        (
            "an old value comes back",
            false,
            vec![
                event(write("a"), 1, 2),
                event(write("b"), 3, 4),
                event(read("a"), 5, 6),
            ],
        ),
        (
            "a reader sees a write before the write ends",
            true,
            vec![
                event(write("a"), 1, 6),
                event(read("a"), 2, 3),
                event(read("a"), 4, 5),
            ],
        ),
        (
            "a seen value disappears",
            false,
            vec![
                event(write("a"), 1, 6),
                event(read("a"), 2, 3),
                event(Act::Read(None), 4, 5),
            ],
        ),
        (
            "an unanswered write happened",
            true,
            vec![event(write("a"), 1, 0), event(read("a"), 5, 6)],
        ),
        (
            "an unanswered write did not happen",
            true,
            vec![event(write("a"), 1, 0), event(Act::Read(None), 5, 6)],
        ),
        (
            "a value that was seen once is lost",
            false,
            vec![
                event(write("a"), 1, 0),
                event(read("a"), 2, 3),
                event(Act::Read(None), 4, 5),
            ],
        ),
        (
            "a value is seen before its write began",
            false,
            vec![event(read("a"), 1, 2), event(write("a"), 3, 0)],
        ),
        (
            "a value is removed",
            true,
            vec![
                event(write("a"), 1, 2),
                event(remove("a"), 3, 4),
                event(Act::Read(None), 5, 6),
            ],
        ),
        (
            "a value is removed while it is written",
            true,
            vec![
                event(write("a"), 1, 4),
                event(remove("a"), 2, 3),
                event(Act::Read(None), 5, 6),
            ],
        ),
        (
            "a removed value is still there",
            false,
            vec![
                event(write("a"), 1, 2),
                event(remove("a"), 3, 4),
                event(read("a"), 5, 6),
            ],
        ),
        (
            "a value stays if another one is removed",
            true,
            vec![
                event(write("a"), 1, 2),
                event(remove("b"), 3, 4),
                event(read("a"), 5, 6),
            ],
        ),
        (
            "two readers disagree about the order",
            false,
            vec![
                event(write("a"), 1, 20),
                event(write("b"), 2, 20),
                event(read("a"), 3, 4),
                event(read("b"), 5, 6),
                event(read("a"), 7, 8),
            ],
        ),
    ];
    for (what, linear, events) in cases {
        assert_eq!(is_linear(&None, &events), linear, "{what}");
    }
}
