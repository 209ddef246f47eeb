//! The one table of requests that were sent to the store and have not arrived yet.

use super::super::*;
use super::store::Store;
use crate::storage::Change;
use std::fmt;
use tokio::sync::Notify;

/// The change of the history on whose behalf a request was sent. `None` if it is not part of one.
pub(super) type Cause = Option<usize>;

/// What a request is about.
#[derive(Clone)]
pub(super) enum What {
    /// An actor begins.
    Begin,
    Get(String),
    List(String),
    Change(Vec<Change>, Cause),
    /// Something about these bytes: the operation and their name.
    Bytes(&'static str, String),
    Remove(String),
    /// A late request, which was answered already or whose sender died. Each change comes with the number of
    /// changes that its record had when the request was sent.
    Late(Vec<(Change, u64)>, Cause),
    LateRemoval(String),
}

impl What {
    pub(super) const fn is_late(&self) -> bool {
        matches!(self, Self::Late(..) | Self::LateRemoval(_))
    }

    /// Whether it changes records or bytes.
    pub(super) fn changes_something(&self) -> bool {
        match self {
            Self::Begin | Self::Get(_) | Self::List(_) => false,
            Self::Bytes(operation, _) => matches!(*operation, "write" | "keep" | "seal"),
            Self::Change(..) | Self::Remove(_) | Self::Late(..) | Self::LateRemoval(_) => true,
        }
    }

    /// The same request, to arrive later. It has no effect on a record that changes before.
    pub(super) fn later(&self, store: &Store) -> Option<Self> {
        match self {
            Self::Change(changes, cause) => {
                let changes = changes.iter().cloned();
                let late = changes.map(|change| (change.clone(), store.changes(&change.key)));
                Some(Self::Late(late.collect(), *cause))
            }
            Self::Remove(name) => Some(Self::LateRemoval(name.clone())),
            _ => None,
        }
    }
}

/// The trace of a run consists of these.
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut each = |verb: &str, change: &Change| {
            let done = match (&change.expected, &change.value) {
                (None, _) => "create",
                (Some(_), Some(_)) => "swap",
                (Some(_), None) => "delete",
            };
            write!(f, "{verb}{done} {} {:?} ", change.key, change.value)
        };
        match self {
            Self::Begin => f.write_str("begin"),
            Self::Get(key) => write!(f, "get {key}"),
            Self::List(prefix) => write!(f, "list {prefix}"),
            Self::Change(changes, _) => changes.iter().try_for_each(|change| each("", change)),
            Self::Late(changes, _) => changes.iter().try_for_each(|(change, _)| each("late ", change)),
            Self::Bytes(operation, name) => write!(f, "{operation} {name}"),
            Self::Remove(name) => write!(f, "remove {name}"),
            Self::LateRemoval(name) => write!(f, "late remove {name}"),
        }
    }
}

/// What happens to a request when its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Good,
    /// It does not happen, and the answer is an error.
    Fails,
    /// It happens, but the answer is an error.
    LosesTheAnswer,
    /// The answer is an error, and it happens later, unless the record has changed by then.
    ComesLate,
    /// It happens, and arrives a second time later.
    ComesTwice,
}

/// Applies a request and answers it.
pub(super) type Settle = Box<dyn FnOnce(&Store, Fate) + Send>;

pub(super) struct Entry {
    /// Numbers the entries in the order in which they were sent.
    pub number: u64,
    /// The process that sent it.
    pub process: usize,
    pub what: What,
    settle: Settle,
}

impl Entry {
    pub(super) fn settle(self, store: &Store, fate: Fate) {
        (self.settle)(store, fate);
    }
}

/// Whether a process is alive.
pub(super) struct Life {
    pub is_mortal: bool,
    pub is_dead: bool,
    /// Notifies the tasks of the process.
    pub died: Arc<Notify>,
}

#[derive(Default)]
pub(super) struct Table {
    entries: Vec<Entry>,
    sent: u64,
    lives: Vec<Life>,
}

impl Table {
    /// Adds a process, and returns its number.
    pub(super) fn add_process(&mut self, is_mortal: bool) -> (usize, Arc<Notify>) {
        let died = Arc::new(Notify::new());
        self.lives.push(Life {
            is_mortal,
            is_dead: false,
            died: died.clone(),
        });
        (self.lives.len() - 1, died)
    }

    pub(super) fn life(&self, process: usize) -> &Life {
        &self.lives[process]
    }

    pub(super) fn send(&mut self, process: usize, what: What, settle: Settle) {
        self.entries.push(Entry {
            number: self.sent,
            process,
            what,
            settle,
        });
        self.sent += 1;
    }

    /// Sends a request for which no task waits.
    pub(super) fn send_late(&mut self, process: usize, what: What) {
        let late = what.clone();
        let settle = move |store: &Store, _| match late {
            What::Late(changes, cause) => store.apply_late(changes, cause),
            What::LateRemoval(name) => store.remove(&name),
            _ => {}
        };
        self.send(process, what, Box::new(settle));
    }

    /// All pending requests, in the order in which they were sent.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn take(&mut self, number: u64) -> Entry {
        let place = self.entries.iter().position(|entry| entry.number == number);
        self.entries.remove(place.unwrap())
    }

    /// The process ends. Returns its requests, for which no task waits any more.
    pub(super) fn kill(&mut self, process: usize) -> Vec<Entry> {
        let life = &mut self.lives[process];
        life.is_dead = true;
        life.died.notify_one();
        let is_its = |entry: &mut Entry| entry.process == process && !entry.what.is_late();
        self.entries.extract_if(.., is_its).collect()
    }
}
