//! Decides whether the history of a register is linear: each request has its effect, or sees its value, at one
//! moment between its beginning and its end. It is the search of Wing and Gong, which remembers the states
//! that it has been in.
//!
//! A request without a known result may take effect at any moment after its beginning, or never. There may be
//! many of them. So the search uses one only where the next request needs its effect, and of several with the
//! same effect it uses the first.

use std::collections::HashSet;

/// The value of a register: nothing, or for example a digest.
pub type Content = Option<String>;

/// What a request changes in a register, or has seen there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Write(Content),
    /// Empties the register if it has this value.
    Remove(String),
    Read(Content),
    /// Saw whether the register has a value, for example in a list of names.
    Present(bool),
}

#[derive(Clone, Debug)]
pub(super) struct Event {
    pub act: Act,
    pub begun: u64,
    /// `None` if it is unknown whether it happened.
    pub ended: Option<u64>,
}

impl Act {
    /// The value after the event. `None` if the event cannot have happened at this moment.
    fn after(&self, before: &Content) -> Option<Content> {
        match self {
            Self::Write(content) => Some(content.clone()),
            Self::Remove(content) if before.as_ref() == Some(content) => Some(None),
            Self::Remove(_) => Some(before.clone()),
            Self::Read(_) | Self::Present(_) => self.sees(before).then(|| before.clone()),
        }
    }

    /// Whether it observes, and would observe this value.
    fn sees(&self, content: &Content) -> bool {
        match self {
            Self::Write(_) | Self::Remove(_) => false,
            Self::Read(seen) => seen == content,
            Self::Present(is_there) => *is_there == content.is_some(),
        }
    }

    /// Whether it does something only while the register has this value.
    fn needs(&self, content: &Content) -> bool {
        matches!(self, Self::Remove(removed) if content.as_ref() == Some(removed)) || self.sees(content)
    }
}

/// Returns `None` if the history is linear, and otherwise the latest moment up to which a part of it is.
/// `events` are in the order in which they began.
pub(super) fn fault(first: &Content, events: &[Event]) -> Option<u64> {
    let mut search = Search::default();
    for event in events {
        match event.ended {
            Some(ended) => search.known.push((event, ended)),
            None => search.unknown.push(event),
        }
    }
    search.fault(first)
}

#[derive(Default)]
struct Search<'a> {
    known: Vec<(&'a Event, u64)>,
    unknown: Vec<&'a Event>,
}

/// What has happened, and the value of the register.
#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    /// This many known events from the first one.
    whole: usize,
    /// Further ones, in no order of time, sorted.
    beyond: Vec<usize>,
    /// Unknown events that took effect, sorted.
    used: Vec<usize>,
    content: Content,
}

impl Search<'_> {
    fn fault(&self, first: &Content) -> Option<u64> {
        let mut latest = 0;
        let mut seen = HashSet::new();
        let mut open = vec![State {
            whole: 0,
            beyond: Vec::new(),
            used: Vec::new(),
            content: first.clone(),
        }];
        while let Some(state) = open.pop() {
            // Nothing is left without an order.
            let end = self.first_end(&state)?;
            latest = latest.max(end);
            if seen.insert(state.clone()) {
                open.extend(self.after(&state, end));
            }
        }
        Some(latest)
    }

    /// The known events that have not happened yet.
    fn left<'b>(&'b self, state: &'b State) -> impl Iterator<Item = usize> + 'b {
        (state.whole..self.known.len()).filter(|index| state.beyond.binary_search(index).is_err())
    }

    /// The first end of the remaining known events. The next event begins before it.
    fn first_end(&self, state: &State) -> Option<u64> {
        let mut end: Option<u64> = None;
        for index in self.left(state) {
            let (event, ended) = self.known[index];
            if end.is_some_and(|end| event.begun > end) {
                break;
            }
            end = Some(end.map_or(ended, |end| end.min(ended)));
        }
        end
    }

    fn after(&self, state: &State, end: u64) -> Vec<State> {
        let act = |index: usize| &self.known[index].0.act;
        let next: Vec<usize> = self
            .left(state)
            .take_while(|index| self.known[*index].0.begun < end)
            .collect();
        // A matching read can always be taken first.
        if let Some(read) = next.iter().find(|index| act(**index).sees(&state.content)) {
            return vec![state.with(*read, state.content.clone())];
        }
        let mut after: Vec<State> = next
            .iter()
            .filter_map(|index| Some(state.with(*index, act(*index).after(&state.content)?)))
            .collect();
        let free: Vec<usize> = (0..self.unknown.len())
            .take_while(|index| self.unknown[*index].begun < end)
            .filter(|index| state.used.binary_search(index).is_err())
            .collect();
        let mut tried: Vec<&Act> = Vec::new();
        for index in &free {
            let change = &self.unknown[*index].act;
            let Some(content) = change.after(&state.content).filter(|new| *new != state.content) else {
                continue;
            };
            let is_needed = next.iter().any(|index| act(*index).needs(&content))
                || free.iter().any(|index| self.unknown[*index].act.needs(&content));
            if is_needed && !tried.contains(&change) {
                tried.push(change);
                let mut used = state.clone();
                insert(&mut used.used, *index);
                used.content = content;
                after.push(used);
            }
        }
        after
    }
}

impl State {
    /// After this known event.
    fn with(&self, index: usize, content: Content) -> Self {
        let mut after = self.clone();
        after.content = content;
        insert(&mut after.beyond, index);
        while after.beyond.first() == Some(&after.whole) {
            after.beyond.remove(0);
            after.whole += 1;
        }
        after
    }
}

fn insert(sorted: &mut Vec<usize>, index: usize) {
    let at = sorted.partition_point(|other| *other < index);
    sorted.insert(at, index);
}

#[cfg(test)]
mod tests;
