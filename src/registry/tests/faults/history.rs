//! The requests of clients and their answers, and a check whether the tags that clients saw are possible
//! after them.

use super::super::*;
use std::hash::{Hash, Hasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A change of a tag.
#[derive(Clone, Debug)]
pub(super) enum Done {
    Put(Digest),
    Delete,
    /// The manifest was deleted, and the tag too if it pointed at it.
    DeleteManifest(Digest),
}

/// A change of a tag that happened, or may have happened.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub repository: usize,
    /// `None` for all tags.
    pub tag: Option<usize>,
    pub done: Done,
    pub begun: u64,
    /// When it was acknowledged. `None` if it is unknown whether and when it happens.
    pub acknowledged: Option<u64>,
}

/// The way in which a tag was read.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    Nothing,
    /// In a list, which does not say where the tag points.
    Listed,
    On(Digest),
}

/// A read of a tag.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub repository: usize,
    pub tag: usize,
    pub seen: Seen,
    pub begun: u64,
    pub ended: u64,
}

/// A read that found no manifest.
#[derive(Clone, Debug)]
struct Gone {
    repository: usize,
    digest: Digest,
    begun: u64,
    ended: u64,
}

/// A client that asked at `begun` found the blob in a repository.
#[derive(Clone, Debug)]
pub(super) struct Reliance {
    pub repository: usize,
    pub begun: u64,
}

#[derive(Default)]
pub(super) struct History {
    events: Mutex<Vec<Event>>,
    looks: Mutex<Vec<Look>>,
    gone: Mutex<Vec<Gone>>,
    relied: Mutex<Vec<Reliance>>,
    /// Names of bytes that were found to be damaged, and the time in the store.
    suspected: Mutex<Vec<(String, u64)>>,
    time: AtomicU64,
    /// Collectors of manifests have no grace period. If a push dies before its end, they may delete its tag,
    /// and also the tag's previous manifest.
    collected: AtomicBool,
    /// Pushes that were rejected because content was missing that the client had just found.
    broken_promises: AtomicU64,
}

impl History {
    pub(super) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    /// The time, which passes with every request and answer of a client.
    pub(super) fn time(&self) -> u64 {
        self.time.load(Ordering::SeqCst)
    }

    /// Hashes what happened, and in which order.
    pub(super) fn hash(&self, hasher: &mut impl Hasher) {
        for event in self.events.lock().unwrap().iter() {
            (event.begun, event.acknowledged).hash(hasher);
            (event.repository, event.tag).hash(hasher);
            match &event.done {
                Done::Put(digest) => ("put", digest.as_str()).hash(hasher),
                Done::Delete => "delete".hash(hasher),
                Done::DeleteManifest(digest) => ("delete", digest.as_str()).hash(hasher),
            }
        }
    }

    /// Whether the events explain what is in the store.
    pub(super) fn explains(&self, events: &[Event], look: &Look) -> bool {
        match look.seen {
            Seen::Nothing => look.may_be_nothing(events, self.collected.load(Ordering::SeqCst)),
            Seen::Listed | Seen::On(_) => !look.putters(events).is_empty(),
        }
    }

    /// The first read that no history explains. `at_once`: whether a deleted manifest takes its tags out of
    /// lists at the same moment.
    pub(super) fn unexplained(&self, at_once: bool) -> Option<Look> {
        let events = self.events();
        let gone = self.gone.lock().unwrap();
        let deletion = |one: &Gone| {
            let Gone {
                repository,
                digest,
                begun,
                ended,
            } = one.clone();
            Event {
                repository,
                tag: None,
                done: Done::DeleteManifest(digest),
                begun,
                acknowledged: Some(ended),
            }
        };
        let seen: Vec<Event> = events.iter().cloned().chain(gone.iter().map(deletion)).collect();
        let looks = self.looks.lock().unwrap();
        let explained = |look: &&Look| match look.seen {
            Seen::Listed if at_once => self.explains(&seen, look),
            _ => self.explains(&events, look),
        };
        looks.iter().find(|look| !explained(look)).cloned()
    }

    /// Two looks at the first tag, of which the second did not find what the first one had found.
    pub(super) fn moved(&self) -> Option<(Look, Look)> {
        let looks = self.looks.lock().unwrap();
        let differs = |one: &&Look, other: &&Look| {
            let same_tag = one.repository == other.repository && one.tag == 0 && other.tag == 0;
            same_tag
                && match (&one.seen, &other.seen) {
                    (Seen::On(one), Seen::On(other)) => one != other,
                    (Seen::On(_), Seen::Nothing) => other.begun > one.ended,
                    _ => false,
                }
        };
        looks.iter().find_map(|one| {
            let other = looks.iter().find(|other| differs(&one, other))?;
            Some((one.clone(), other.clone()))
        })
    }

    pub(super) fn gone(&self, repository: usize, digest: Digest, begun: u64) {
        let ended = self.now();
        self.gone.lock().unwrap().push(Gone {
            repository,
            digest,
            begun,
            ended,
        });
    }

    pub(super) fn broken_promises(&self) -> u64 {
        self.broken_promises.load(Ordering::SeqCst)
    }

    pub(super) fn now(&self) -> u64 {
        self.time.fetch_add(1, Ordering::SeqCst)
    }

    pub(super) fn begin(&self, repository: usize, tag: Option<usize>, done: Done) -> usize {
        let event = Event {
            repository,
            tag,
            done,
            begun: self.now(),
            acknowledged: None,
        };
        let mut events = self.events.lock().unwrap();
        events.push(event);
        events.len() - 1
    }

    /// Treats a change that did not happen as one to another, nonexistent manifest.
    pub(super) fn refused(&self, event: usize) {
        self.events.lock().unwrap()[event].done = Done::DeleteManifest(sha256(b""));
    }

    /// A change without an acknowledgement stays unknown.
    pub(super) fn end<T>(&self, event: usize, result: &Result<T, Error>) {
        let now = self.now();
        if result.is_ok() {
            self.events.lock().unwrap()[event].acknowledged = Some(now);
        }
    }

    pub(super) fn look(&self, repository: usize, tag: usize, begun: u64, seen: Seen) {
        let ended = self.now();
        self.looks.lock().unwrap().push(Look {
            repository,
            tag,
            seen,
            begun,
            ended,
        });
    }

    pub(super) fn collected(&self) {
        self.collected.store(true, Ordering::SeqCst);
    }

    pub(super) fn broke_a_promise(&self) {
        self.broken_promises.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn relies(&self, repository: usize, begun: u64) {
        self.relied.lock().unwrap().push(Reliance { repository, begun });
    }

    pub(super) fn suspected(&self, name: String) {
        let now = self.now();
        self.suspected.lock().unwrap().push((name, now));
    }

    /// A client that found the blob in the repository, although its bytes `name` were known to be damaged.
    pub(super) fn deceived(&self, repository: usize, name: &str) -> Option<Reliance> {
        let known = self
            .suspected
            .lock()
            .unwrap()
            .iter()
            .filter(|(its, _)| its == name)
            .map(|(_, since)| *since)
            .min()?;
        self.relied
            .lock()
            .unwrap()
            .iter()
            .find(|one| one.repository == repository && one.begun > known)
            .cloned()
    }
}

impl Look {
    /// The events that may have set the tag: no later change was acknowledged before the read began.
    pub(super) fn putters<'a>(&self, events: &'a [Event]) -> Vec<&'a Event> {
        let mine = self.mine(events);
        let put_it = |event: &&Event| {
            let Done::Put(put) = &event.done else { return false };
            let replaces = |done: &Done| match done {
                Done::Put(other) => other != put,
                Done::Delete => true,
                Done::DeleteManifest(gone) => gone == put,
            };
            !matches!(&self.seen, Seen::On(digest) if digest != put)
                && !self.is_overtaken(&mine, event, replaces)
        };
        mine.iter().copied().filter(put_it).collect()
    }

    /// Whether an event may have removed the tag. With `collected`, a collector may also have removed a tag
    /// whose push was not acknowledged.
    fn may_be_nothing(&self, events: &[Event], collected: bool) -> bool {
        let mine = self.mine(events);
        let is_put = |done: &Done| matches!(done, Done::Put(_));
        let removes = |event: &Event| match &event.done {
            Done::Put(_) => collected && event.acknowledged.is_none(),
            Done::Delete => true,
            Done::DeleteManifest(gone) => mine
                .iter()
                .any(|other| matches!(&other.done, Done::Put(put) if put == gone)),
        };
        let was_put = mine
            .iter()
            .any(|event| self.is_before(event) && is_put(&event.done));
        !was_put
            || mine
                .iter()
                .any(|event| removes(event) && !self.is_overtaken(&mine, event, is_put))
    }

    fn mine<'a>(&self, events: &'a [Event]) -> Vec<&'a Event> {
        let is_mine = |event: &&Event| {
            event.repository == self.repository
                && event.tag.is_none_or(|its| its == self.tag)
                && event.begun < self.ended
        };
        events.iter().filter(is_mine).collect()
    }

    fn is_before(&self, event: &Event) -> bool {
        event.acknowledged.is_some_and(|at| at < self.begun)
    }

    /// Whether the effect of `event` must have been replaced.
    fn is_overtaken(&self, mine: &[&Event], event: &Event, overtakes: impl Fn(&Done) -> bool) -> bool {
        let end = event.acknowledged.unwrap_or(u64::MAX);
        mine.iter()
            .any(|other| self.is_before(other) && other.begun > end && overtakes(&other.done))
    }
}

fn event(done: Done, begun: u64, acknowledged: Option<u64>) -> Event {
    Event {
        repository: 0,
        tag: Some(0),
        done,
        begun,
        acknowledged,
    }
}

#[test]
fn a_read_is_explained_by_a_change_that_may_have_been_last() {
    let a = sha256(b"a");
    let b = sha256(b"b");
    let put = || Done::Put(a.clone());
    let other = || Done::Put(b.clone());
    let gone = || Done::DeleteManifest(a.clone());
    let on = |digest: &Digest| Seen::On(digest.clone());
    let acknowledged = |done: Done, begun| event(done, begun, Some(begun + 1));
    for (what, explained, events, seen) in [
        ("never put", false, vec![], Seen::Listed),
        ("put", true, vec![acknowledged(put(), 1)], on(&a)),
        ("put and gone", false, vec![acknowledged(put(), 1)], Seen::Nothing),
        (
            "an older one",
            false,
            vec![acknowledged(put(), 1), acknowledged(other(), 3)],
            on(&a),
        ),
        (
            "perhaps late",
            true,
            vec![event(put(), 1, None), acknowledged(other(), 3)],
            on(&a),
        ),
        (
            "at the same time",
            true,
            vec![event(put(), 1, Some(9)), event(other(), 3, Some(8))],
            on(&a),
        ),
        (
            "deleted",
            false,
            vec![acknowledged(put(), 1), acknowledged(Done::Delete, 3)],
            Seen::Listed,
        ),
        (
            "deleted with its manifest",
            false,
            vec![acknowledged(put(), 1), acknowledged(gone(), 3)],
            on(&a),
        ),
        (
            "perhaps deleted",
            true,
            vec![acknowledged(put(), 1), event(gone(), 3, None)],
            Seen::Nothing,
        ),
        (
            "another's manifest",
            false,
            vec![acknowledged(other(), 1), acknowledged(gone(), 3)],
            Seen::Nothing,
        ),
        (
            "pushed since",
            false,
            vec![
                acknowledged(put(), 1),
                acknowledged(gone(), 3),
                acknowledged(put(), 5),
            ],
            Seen::Nothing,
        ),
        (
            "later than the look",
            true,
            vec![acknowledged(put(), 1), acknowledged(gone(), 30)],
            on(&a),
        ),
        ("after the look", false, vec![acknowledged(put(), 30)], on(&a)),
    ] {
        let look = Look {
            repository: 0,
            tag: 0,
            seen,
            begun: 10,
            ended: 20,
        };
        let found = if matches!(look.seen, Seen::Nothing) {
            look.may_be_nothing(&events, false)
        } else {
            !look.putters(&events).is_empty()
        };
        assert_eq!(found, explained, "{what}");
    }
}
