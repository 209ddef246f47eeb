//! A bounded set in memory of what may have become garbage. A request that removes a reference notes here
//! what it referred to, which takes only a lock. If the process dies or the set is full, the lost candidates
//! only take up space until the next full pass.

use crate::clock::Timestamp;
use crate::oci::{Digest, RepositoryName};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Something that a collector should check. Candidates sort by kind and repository, so that one check answers
/// for several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Candidate {
    /// A manifest that may have lost its last tag, index or subject.
    Manifest(RepositoryName, Digest),
    /// Referrers of a manifest that is gone.
    Referrers(RepositoryName, Digest),
    /// A link that may have lost the last manifest that needs it.
    Link(RepositoryName, Digest),
    /// A blob that may have lost its last link, or has replaced bytes.
    Blob(Digest),
}

/// Cheap to clone; all clones share the set.
#[derive(Clone)]
pub(super) struct Garbage(Arc<Mutex<State>>);

struct State {
    /// Whether a collector reads the set. Otherwise nothing is kept.
    is_wanted: bool,
    most: usize,
    /// The candidates, each with the time from which it may be checked.
    waiting: BTreeMap<Candidate, Timestamp>,
    dropped: u64,
    /// The repositories in which the last full pass would have deleted too much.
    left_alone: HashSet<RepositoryName>,
}

/// Candidates that were taken out to be checked. If the check fails or is dropped, they are noted again.
pub(super) struct Taken {
    garbage: Garbage,
    at: Timestamp,
    candidates: Vec<Candidate>,
}

impl Taken {
    pub(super) fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    pub(super) fn are_checked(mut self) {
        self.candidates.clear();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.garbage.note(self.at, self.candidates.drain(..));
    }
}

impl Default for Garbage {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State {
            is_wanted: false,
            most: MOST,
            waiting: BTreeMap::new(),
            dropped: 0,
            left_alone: HashSet::new(),
        })))
    }
}

impl Garbage {
    /// Keeps candidates from now on.
    pub(super) fn want(&self) {
        self.state().is_wanted = true;
    }

    /// Notes candidates that may be checked from `due` on. A candidate that is already noted keeps the
    /// earlier of its two times.
    pub(super) fn note(&self, due: Timestamp, candidates: impl IntoIterator<Item = Candidate>) {
        let mut state = self.state();
        if !state.is_wanted {
            return;
        }
        for candidate in candidates {
            state.add(candidate, due);
        }
    }

    /// Takes out the candidates that may be checked now.
    pub(super) fn take_due(&self, now: Timestamp) -> Taken {
        let mut state = self.state();
        let due = state.waiting.iter().filter(|(_, due)| **due <= now);
        let due: Vec<_> = due.map(|(candidate, _)| candidate.clone()).collect();
        for candidate in &due {
            state.waiting.remove(candidate);
        }
        Taken {
            garbage: self.clone(),
            at: now,
            candidates: due,
        }
    }

    /// Notes whether the policies would delete too much of this repository, so that they delete nothing.
    pub(super) fn leave_alone(&self, repository: &RepositoryName, is_too_much: bool) {
        let mut state = self.state();
        if is_too_much {
            state.left_alone.insert(repository.clone());
        } else {
            state.left_alone.remove(repository);
        }
    }

    pub(super) fn leaves_alone(&self, repository: &RepositoryName) -> bool {
        self.state().left_alone.contains(repository)
    }

    /// How many candidates wait, and how many were dropped since the start because the set was full.
    pub(super) fn counts(&self) -> (usize, u64) {
        let state = self.state();
        (state.waiting.len(), state.dropped)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, candidate: Candidate, due: Timestamp) {
        if self.waiting.len() >= self.most && !self.waiting.contains_key(&candidate) {
            self.dropped += 1;
            return;
        }
        let waits = self.waiting.entry(candidate).or_insert(due);
        *waits = due.min(*waits);
    }
}

/// How many candidates are kept: about 10 MiB.
const MOST: usize = 50_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Algorithm;
    use crate::registry::hashing::digest_of;

    fn blob(number: u8) -> Candidate {
        Candidate::Blob(digest_of(Algorithm::Sha256, &[number]))
    }

    #[test]
    fn each_candidate_waits_once_until_its_earliest_time() {
        let garbage = Garbage::default();
        let at = Timestamp::from_secs;
        garbage.note(at(5), [blob(1)]);
        assert_eq!(garbage.counts(), (0, 0), "no collector reads the set");
        garbage.want();
        garbage.note(at(5), [blob(1), blob(2)]);
        garbage.note(at(9), [blob(1), blob(3)]);
        garbage.note(at(3), [blob(2)]);
        assert_eq!(garbage.counts(), (3, 0));
        let due = |seconds| {
            let taken = garbage.take_due(at(seconds));
            let mut due = taken.candidates().to_vec();
            taken.are_checked();
            due.sort();
            due
        };
        let sorted = |mut candidates: Vec<_>| {
            candidates.sort();
            candidates
        };
        assert_eq!(due(2), []);
        drop(garbage.take_due(at(5)));
        assert_eq!(due(5), sorted(vec![blob(1), blob(2)]));
        assert_eq!(due(5), []);
        assert_eq!(due(9), [blob(3)]);
    }

    #[test]
    fn a_full_set_drops_new_candidates_and_counts_them() {
        let garbage = Garbage::default();
        garbage.want();
        garbage.state().most = 2;
        let at = Timestamp::from_secs(1);
        garbage.note(at, [blob(1), blob(2), blob(3), blob(1)]);
        assert_eq!(garbage.counts(), (2, 1));
    }
}
