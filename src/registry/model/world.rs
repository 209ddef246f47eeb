//! One state of the modelled world: the records, the bytes, and the phase of each actor.

use super::phase::Phase;
use super::seen::{NEW, NOTHING, PRESENT, STALE, Seen};
use super::values::{Key, Value};
use std::fmt;

/// The store's reply to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reply {
    /// With the record's age, by the store's time.
    Read(Seen, Option<Value>, u8),
    /// `None`: the record had changed.
    Wrote(Option<Seen>),
    Deleted(bool),
    /// One bit for each key that was found.
    Listed(u16),
    /// The chunks in their order; `None` where there are no such bytes.
    Bytes(Option<Content>),
    /// Bytes were written, or removed.
    Done,
}

/// Up to four chunks in their order; 0 ends it.
pub(super) type Content = [u8; 4];

/// The state of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Bytes {
    #[default]
    Absent,
    Good,
    /// The bytes exist and have the right size, but are wrong.
    Damaged,
    /// Bytes whose content matters.
    Content(Content),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    pub key: Key,
    pub value: Option<Value>,
    version: u8,
    /// When it was written, by the store's time.
    pub written: u8,
}

/// One actor: its phase, and the replies that it got in this phase.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Local {
    pub phase: Phase,
    pub past: Vec<Reply>,
    /// A bit for each actor that had ended when this one made its first request.
    pub after: u8,
    pub began: bool,
    /// The store's time when it began.
    pub began_at: u8,
    /// The store's time when it ended.
    pub ended_at: u8,
}

/// What remains of a deleted record: nothing, or a tombstone. All plain tombstones are equal; those with a
/// nonce differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Absence {
    Plain,
    Nonce,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    /// Sorted by key.
    records: Vec<Entry>,
    pub bytes: [Bytes; 16],
    pub now: u8,
    pub locals: Vec<Local>,
    absence: Absence,
    /// For each generation, one bit for "published" and one for "published twice".
    published: u16,
    pub published_twice: bool,
    /// A scrubber has found the damage. Actors set this when they record it.
    pub found: bool,
}

impl World {
    pub(super) fn new(absence: Absence) -> Self {
        Self {
            records: Vec::new(),
            bytes: [Bytes::Absent; 16],
            now: 0,
            locals: Vec::new(),
            absence,
            published: 0,
            published_twice: false,
            found: false,
        }
    }

    pub(super) fn get(&self, key: Key) -> Option<Value> {
        self.entry(key).and_then(|entry| entry.value)
    }

    pub(super) fn begin(&mut self, actor: usize, orders: bool) {
        if !self.locals[actor].began {
            let ended = |local: &Local| local.phase.has_ended();
            let after = self
                .locals
                .iter()
                .enumerate()
                .filter(|(_, local)| ended(local))
                .fold(0, |all, (at, _)| all | 1 << at);
            self.locals[actor].began = true;
            self.locals[actor].began_at = self.now;
            self.locals[actor].after = if orders { after } else { 0 } | u8::from(self.found) << 7;
        }
    }

    pub(super) fn end(&mut self, actor: usize, phase: Phase) {
        self.locals[actor].phase = phase;
        self.locals[actor].past = Vec::new();
        self.locals[actor].ended_at = self.now;
    }

    pub(super) fn written(&self, key: Key) -> u8 {
        self.entry(key).map_or(0, |entry| entry.written)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.records
            .iter()
            .filter(|entry| entry.value.is_some())
            .map(|entry| entry.key)
    }

    pub(super) fn read(&self, key: Key) -> Reply {
        let version = self.entry(key).map_or(NOTHING, |entry| entry.version);
        Reply::Read(
            Seen { key, version },
            self.get(key),
            self.now - self.written(key).min(self.now),
        )
    }

    /// A compare-and-swap. Without `seen`, it overwrites any record, as only planted faults do.
    pub(super) fn write(&mut self, key: Key, seen: Option<Seen>, value: Option<Value>) -> Option<Seen> {
        if let Some(seen) = seen
            && !self.is_present(seen)
        {
            return None;
        }
        let now = self.now;
        let entry = Entry {
            key,
            value,
            version: NEW,
            written: now,
        };
        match self.records.binary_search_by(|entry| entry.key.cmp(&key)) {
            Ok(at) if value.is_none() && self.absence == Absence::Plain => {
                self.records.remove(at);
            }
            Ok(at) => self.records[at] = entry,
            Err(_) if value.is_none() => {}
            Err(at) => self.records.insert(at, entry),
        }
        Some(Seen { key, version: NEW })
    }

    fn is_present(&self, seen: Seen) -> bool {
        self.entry(seen.key).map_or(NOTHING, |entry| entry.version) == seen.version
    }

    /// Leaves a tombstone, if the store has tombstones.
    pub(super) fn leave_tombstone(&mut self, key: Key) {
        if self.absence == Absence::Nonce {
            self.records.push(Entry {
                key,
                value: None,
                version: NEW,
                written: 0,
            });
        }
    }

    pub(super) fn publish(&mut self, generation: u8) {
        let bit = 1 << generation;
        self.published_twice |= self.published & bit != 0;
        self.published |= bit;
    }

    pub(super) const fn was_published(&self, generation: u8) -> bool {
        self.published & 1 << generation != 0
    }

    fn entry(&self, key: Key) -> Option<&Entry> {
        self.records
            .binary_search_by(|entry| entry.key.cmp(&key))
            .ok()
            .map(|at| &self.records[at])
    }

    /// Makes all versions canonical: a version is current or it is not.
    pub(super) fn canonicalise(&mut self) {
        let Self {
            records,
            locals,
            absence,
            ..
        } = self;
        for local in locals {
            let phase = local.phase.seen();
            let past = local.past.iter_mut().filter_map(|reply| match reply {
                Reply::Read(seen, ..) | Reply::Wrote(Some(seen)) => Some(seen),
                _ => None,
            });
            for seen in past.chain(phase) {
                let entry = records
                    .binary_search_by(|entry| entry.key.cmp(&seen.key))
                    .ok()
                    .map(|at| &records[at]);
                seen.version = match entry {
                    Some(entry) if entry.version == seen.version => PRESENT,
                    // An absence without a nonce may occur again, and then looks the same.
                    _ if seen.version == NOTHING && (entry.is_none() || *absence == Absence::Plain) => {
                        NOTHING
                    }
                    _ => STALE,
                };
            }
        }
        for entry in records {
            entry.version = PRESENT;
        }
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in self.records.iter().filter(|entry| entry.value.is_some()) {
            write!(f, "{:?} = {:?}; ", entry.key, entry.value.expect("it is there"))?;
        }
        for (name, bytes) in self
            .bytes
            .iter()
            .enumerate()
            .filter(|(_, bytes)| **bytes != Bytes::Absent)
        {
            write!(f, "g{name} = {bytes:?}; ")?;
        }
        write!(f, "at {}", self.now)
    }
}
