//! Which records and bytes each process uses, so that a search changes processes only where that matters.

use super::table::What;
use std::collections::{BTreeMap, BTreeSet};

/// What the processes were seen to use.
#[derive(Clone, Default)]
pub(super) struct Footprints {
    of: BTreeMap<usize, Footprint>,
    /// Whether something was seen for the first time.
    pub have_grown: bool,
}

#[derive(Clone, Default)]
struct Footprint {
    read: BTreeSet<String>,
    /// Prefixes.
    listed: BTreeSet<String>,
    written: BTreeSet<String>,
}

impl Footprints {
    pub(super) fn note(&mut self, process: usize, what: &What) {
        let footprint = self.of.entry(process).or_default();
        let used = used(what);
        let seen = footprint.read.len() + footprint.listed.len() + footprint.written.len();
        footprint.read.extend(used.read);
        footprint.listed.extend(used.listed);
        footprint.written.extend(used.written);
        self.have_grown |= seen != footprint.read.len() + footprint.listed.len() + footprint.written.len();
    }

    /// Whether no other process can notice the request or change what it finds. Another process that comes
    /// before it might as well come after it.
    pub(super) fn is_private(&self, process: usize, what: &What) -> bool {
        let used = used(what);
        let mut others = self.of.iter().filter(|(other, _)| **other != process);
        !others.any(|(_, other)| used.meets(other) || other.meets(&used))
    }
}

impl Footprint {
    /// Whether this writes what the other one uses.
    fn meets(&self, other: &Self) -> bool {
        self.written.iter().any(|key| {
            let is_listed = || other.listed.iter().any(|prefix| key.starts_with(prefix));
            other.read.contains(key) || other.written.contains(key) || is_listed()
        })
    }
}

fn used(what: &What) -> Footprint {
    let mut used = Footprint::default();
    match what {
        What::Get(key) => drop(used.read.insert(key.clone())),
        What::List(prefix) => drop(used.listed.insert(prefix.clone())),
        What::Change(changes) => used
            .written
            .extend(changes.iter().map(|change| change.key.clone())),
        What::Bytes("write" | "keep" | "seal", name) | What::Remove(name) => {
            used.written.insert(format!("bytes/{name}"));
        }
        What::Bytes(_, name) => drop(used.read.insert(format!("bytes/{name}"))),
        What::Begin | What::Late(_) | What::LateRemoval(_) => {}
    }
    used
}
