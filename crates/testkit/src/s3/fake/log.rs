//! What the store was asked, in which order.

use super::operation::{Call, Operation};
use http::Method;

/// A request as the store saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub operation: Operation,
    /// The key, or the prefix of keys that a list asks for.
    pub key: String,
    /// The path and the query as sent.
    pub target: String,
    /// What the client was answered. `None` if it was not answered, or not yet.
    pub status: Option<u16>,
    /// What the bucket answered. It differs from `status` with a fault.
    pub effect: Option<u16>,
    /// Its place in the order of all begins and ends.
    pub begun: usize,
    /// `None` until it ends.
    pub ended: Option<usize>,
}

/// All requests. A request's number is its index.
#[derive(Default)]
pub(super) struct Log {
    pub(super) seen: Vec<Seen>,
    /// The number of begins and ends so far.
    events: usize,
    /// Requests that were forgotten, whose numbers are lower than those of `seen`.
    forgotten: usize,
}

impl Log {
    /// Returns the request's number.
    pub(super) fn begin(&mut self, call: &Call) -> usize {
        self.seen.push(Seen {
            method: call.head.method.clone(),
            operation: call.operation,
            key: call.object().to_owned(),
            target: call.target(),
            status: None,
            effect: None,
            begun: self.events,
            ended: None,
        });
        self.events += 1;
        self.forgotten + self.seen.len() - 1
    }

    pub(super) fn effect(&mut self, number: usize, status: u16) {
        if let Some(seen) = self.find(number) {
            seen.effect = Some(status);
        }
    }

    pub(super) fn end(&mut self, number: usize, status: Option<u16>) {
        let events = self.events;
        self.events += 1;
        if let Some(seen) = self.find(number) {
            seen.status = status;
            seen.ended = Some(events);
        }
    }

    fn find(&mut self, number: usize) -> Option<&mut Seen> {
        self.seen.get_mut(number.checked_sub(self.forgotten)?)
    }

    pub(super) fn forget(&mut self) {
        self.forgotten += self.seen.len();
        self.seen.clear();
    }

    /// How many requests of this operation for this key came before.
    pub(super) fn repetition(&self, call: &Call) -> usize {
        let same = |seen: &&Seen| seen.operation == call.operation && seen.key == call.object();
        self.seen.iter().filter(same).count()
    }
}

/// How many of these requests came one after the other: the longest series in which each began after the one
/// before it had ended. Set [`super::Rules::latency`] so that requests which do not wait for each other overlap.
#[must_use]
pub fn in_a_row(requests: &[Seen]) -> usize {
    let mut spans: Vec<(usize, usize)> = requests
        .iter()
        .map(|seen| (seen.ended.unwrap_or(usize::MAX), seen.begun))
        .collect();
    spans.sort_unstable();
    let mut last = None;
    let mut count = 0;
    for (ended, begun) in spans {
        if last.is_none_or(|last| begun > last) {
            last = Some(ended);
            count += 1;
        }
    }
    count
}
