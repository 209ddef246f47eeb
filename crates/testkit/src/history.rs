//! Records what several clients change and see in registers at once, and checks that it is linear.

use crate::linear::{self, Act, Content, Event};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// A change that has begun.
#[derive(Clone, Debug)]
pub struct Ticket {
    register: String,
    begun: u64,
}

#[derive(Default)]
pub struct History {
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
    pub fn now(&self) -> u64 {
        self.state.lock().unwrap().tick()
    }

    /// A change begins. Until its result is reported, it may have happened, or may happen later.
    pub fn begin(&self, register: &str, act: Act) -> Ticket {
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

    pub fn acknowledge(&self, ticket: &Ticket) {
        let mut state = self.state.lock().unwrap();
        let now = state.tick();
        let (_, events) = state.registers.get_mut(&ticket.register).unwrap();
        events
            .iter_mut()
            .rev()
            .find(|event| event.begun == ticket.begun)
            .unwrap()
            .ended = Some(now);
    }

    /// The change did not happen.
    pub fn refused(&self, ticket: &Ticket) {
        let mut state = self.state.lock().unwrap();
        let (_, events) = state.registers.get_mut(&ticket.register).unwrap();
        events.retain(|event| event.begun != ticket.begun);
    }

    /// A request that began at `begun` and has ended now saw this value.
    pub fn read(&self, register: &str, begun: u64, content: Content) {
        self.saw(register, begun, Act::Read(content));
    }

    /// The same for a request that saw only whether there is a value.
    pub fn listed(&self, register: &str, begun: u64, is_there: bool) {
        self.saw(register, begun, Act::Present(is_there));
    }

    fn saw(&self, register: &str, begun: u64, act: Act) {
        let mut state = self.state.lock().unwrap();
        let ended = Some(state.tick());
        state.push(register, Event { act, begun, ended });
    }

    /// Whether the register may have been emptied since then.
    pub fn was_emptied(&self, register: &str, since: u64) -> bool {
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
    pub fn forget(&self, register: &str) {
        self.state.lock().unwrap().registers.remove(register);
    }

    /// All requests have ended, and the register has this value. Fails unless this and all earlier
    /// observations have an order. Then begins a new history.
    pub fn settle(&self, register: &str, content: Content) {
        let begun = self.now();
        self.read(register, begun, content.clone());
        let entry = self
            .state
            .lock()
            .unwrap()
            .registers
            .insert(register.to_owned(), (content, Vec::new()));
        let (first, events) = entry.unwrap();
        judge(register, &first, events);
    }

    /// Fails unless the history of every register so far is linear. Requests without a result may still take
    /// effect later. Returns the number of observations and changes.
    pub fn check(&self) -> usize {
        let state = self.state.lock().unwrap();
        let judged = state.registers.iter().map(|(register, (first, events))| {
            judge(register, first, events.clone());
            events.len()
        });
        judged.sum()
    }
}

fn judge(register: &str, first: &Content, mut events: Vec<Event>) {
    events.sort_by_key(|event| event.begun);
    if let Some(moment) = linear::fault(first, &events) {
        let near = events
            .iter()
            .filter(|event| event.begun < moment + 10 && event.ended.is_none_or(|ended| ended + 60 > moment));
        let near: Vec<String> = near
            .map(|Event { act, begun, ended }| match ended {
                Some(ended) => format!("{begun:>7} to {ended:>7} {act:?}"),
                None => format!("{begun:>7} to       ? {act:?}"),
            })
            .collect();
        panic!(
            "{register} was {first:?} at first. What was seen up to the moment {moment} has no order:\n{}",
            near.join("\n")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "has no order")]
    fn a_stale_read_fails_the_check() {
        let history = History::default();
        for value in ["old", "new"] {
            let ticket = history.begin("tag", Act::Write(Some(value.to_owned())));
            history.acknowledge(&ticket);
        }
        history.read("tag", history.now(), Some("new".to_owned()));
        assert_eq!(history.check(), 3);
        history.read("tag", history.now(), Some("old".to_owned()));
        history.check();
    }
}
