//! Which records and bytes each process uses, so that a search changes processes only where that matters.

use super::table::What;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Processes by their numbers, each a bit.
type Processes = u64;

/// What the processes were seen to use.
#[derive(Default)]
pub(super) struct Footprints {
    records: Names,
    bytes: Names,
    /// Whether processes turned out to share something for the first time.
    pub have_grown: bool,
}

/// Who uses each name.
#[derive(Default)]
struct Names {
    used: BTreeMap<String, Users>,
    /// Who lists the names of each prefix.
    listed: BTreeMap<String, Processes>,
}

#[derive(Default)]
struct Users {
    read: Processes,
    write: Processes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Read,
    /// The name is a prefix.
    List,
    Write,
}

impl Footprints {
    pub(super) fn note(&mut self, process: usize, what: &What) {
        let mut is_new = false;
        for (names, how, name) in uses(what) {
            is_new |= names.of_mut(self).note(1 << process, how, name);
        }
        self.have_grown |= is_new && !self.is_private(process, what);
    }

    /// Whether no other process can notice the request or change what it finds. Another process that comes
    /// before it might as well come after it.
    pub(super) fn is_private(&self, process: usize, what: &What) -> bool {
        uses(what).all(|(names, how, name)| names.of(self).users_beside(how, name) & !(1 << process) == 0)
    }
}

impl Names {
    /// Returns whether this was not known.
    fn note(&mut self, process: Processes, how: Use, name: &str) -> bool {
        let users = match how {
            Use::List => {
                if !self.listed.contains_key(name) {
                    self.listed.insert(name.to_owned(), 0);
                }
                self.listed.get_mut(name).unwrap()
            }
            Use::Read | Use::Write => {
                if !self.used.contains_key(name) {
                    self.used.insert(name.to_owned(), Users::default());
                }
                let users = self.used.get_mut(name).unwrap();
                match how {
                    Use::Write => &mut users.write,
                    _ => &mut users.read,
                }
            }
        };
        let is_new = *users & process == 0;
        *users |= process;
        is_new
    }

    /// All processes that write what this use reads, or use what it writes.
    fn users_beside(&self, how: Use, name: &str) -> Processes {
        let used = self.used.get(name);
        match how {
            Use::Read => used.map_or(0, |users| users.write),
            Use::Write => {
                let listed = self.listed.iter().filter(|(prefix, _)| name.starts_with(*prefix));
                let users = used.map_or(0, |users| users.read | users.write);
                listed.fold(users, |users, (_, more)| users | more)
            }
            Use::List => {
                let from = self
                    .used
                    .range::<str, _>((Bound::Included(name), Bound::Unbounded));
                let under = from.take_while(|(used, _)| used.starts_with(name));
                under.fold(0, |users, (_, more)| users | more.write)
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Records,
    Bytes,
}

impl Kind {
    const fn of(self, footprints: &Footprints) -> &Names {
        match self {
            Self::Records => &footprints.records,
            Self::Bytes => &footprints.bytes,
        }
    }

    const fn of_mut(self, footprints: &mut Footprints) -> &mut Names {
        match self {
            Self::Records => &mut footprints.records,
            Self::Bytes => &mut footprints.bytes,
        }
    }
}

/// The names that a request uses.
fn uses(what: &What) -> impl Iterator<Item = (Kind, Use, &str)> {
    let changes = match what {
        What::Change(changes, _) => changes.as_slice(),
        _ => &[],
    };
    let one = match what {
        What::Get(key) => Some((Kind::Records, Use::Read, key.as_str())),
        What::List(prefix) => Some((Kind::Records, Use::List, prefix.as_str())),
        What::Bytes("list bytes after", _) => Some((Kind::Bytes, Use::List, "")),
        What::Bytes(_, name) if !what.changes_something() => Some((Kind::Bytes, Use::Read, name.as_str())),
        What::Bytes(_, name) | What::Remove(name) => Some((Kind::Bytes, Use::Write, name.as_str())),
        What::Change(..) | What::Begin | What::Late(..) | What::LateRemoval(_) => None,
    };
    let changed = changes
        .iter()
        .map(|change| (Kind::Records, Use::Write, change.key.as_str()));
    changed.chain(one)
}
