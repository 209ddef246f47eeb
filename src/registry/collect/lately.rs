//! Checks only what lost a reference since the last check, by a deletion, a moved tag or an expired upload.

use super::super::Error;
use super::super::garbage::Candidate;
use super::super::keys;
use super::Collector;
use super::references::is_unknown;
use super::report::Notes;
use crate::clock::Timestamp;
use crate::oci::{Digest, RepositoryName};
use crate::storage::Show;
use std::collections::{BTreeMap, HashSet};

/// Candidates grouped by repository, so that one walk through a repository's manifests answers for all of
/// them.
#[derive(Default)]
struct Due {
    manifests: BTreeMap<RepositoryName, Vec<Digest>>,
    links: BTreeMap<RepositoryName, Vec<Digest>>,
    blobs: Vec<Digest>,
}

impl Collector {
    /// Checks the candidates that are due, and those that these checks add. If it fails or is dropped, the
    /// candidates are noted again.
    pub(super) async fn lately(&self, notes: &mut Notes<'_>) -> Result<(), Error> {
        loop {
            let due = self.registry.garbage.take_due(self.registry.records.now());
            if due.candidates().is_empty() {
                return Ok(());
            }
            self.look_at(due.candidates(), notes).await?;
            due.are_checked();
        }
    }

    /// Notes a young record, to check it again when it is old.
    pub(super) fn wait_for(&self, written: Timestamp, candidate: Candidate) {
        if !self.is_dry() {
            self.registry.garbage.note(written.plus(self.grace), [candidate]);
        }
    }

    /// Notes what may be garbage now that something else was removed.
    pub(super) fn note(&self, candidates: impl IntoIterator<Item = Candidate>) {
        if !self.is_dry() {
            self.registry
                .garbage
                .note(self.registry.records.now(), candidates);
        }
    }

    async fn look_at(&self, candidates: &[Candidate], notes: &mut Notes<'_>) -> Result<(), Error> {
        let due = self.sort(candidates).await?;
        for (repository, digests) in &due.manifests {
            // A full pass finds them when the policies delete less.
            if self.registry.garbage.leaves_alone(repository) {
                continue;
            }
            let survey = self.rules.survey_of_one(repository, self.grace);
            if survey.is_some() && self.can_check(repository, notes).await? {
                for digest in digests {
                    self.examine(repository, digest, survey.as_ref(), notes).await?;
                }
            }
        }
        for (repository, digests) in &due.links {
            for digests in digests.chunks(LINKS_AT_ONCE) {
                self.unneeded(repository, digests, notes).await?;
            }
        }
        for digests in due.blobs.chunks(BLOBS_AT_ONCE) {
            self.blobs(digests, notes).await?;
        }
        Ok(())
    }

    async fn sort(&self, candidates: &[Candidate]) -> Result<Due, Error> {
        let mut due = Due::default();
        for candidate in candidates {
            match candidate.clone() {
                Candidate::Manifest(repository, digest) => {
                    due.manifests.entry(repository).or_default().push(digest);
                }
                Candidate::Referrers(repository, digest) => {
                    let prefix = keys::referrers(&repository, &digest);
                    let mut referrers = self.registry.records.keys(prefix.clone(), Show::All);
                    let manifests = due.manifests.entry(repository).or_default();
                    while let Some(key) = referrers.next().await? {
                        manifests.extend(keys::digest_of(prefix.rest(&key)));
                    }
                }
                Candidate::Link(repository, digest) => {
                    due.links.entry(repository).or_default().push(digest);
                }
                Candidate::Blob(digest) => due.blobs.push(digest),
            }
        }
        Ok(due)
    }

    /// Other manifests need most links, so the links are checked once before any is condemned.
    async fn unneeded(
        &self,
        repository: &RepositoryName,
        digests: &[Digest],
        notes: &mut Notes<'_>,
    ) -> Result<(), Error> {
        let wanted: HashSet<Digest> = digests.iter().cloned().collect();
        let needed = match self.needed(repository, &wanted).await {
            Err(why) if is_unknown(&why) => {
                notes.stopped(repository, &why.to_string());
                return Ok(());
            }
            needed => needed?,
        };
        let unneeded: Vec<_> = wanted.difference(&needed).cloned().collect();
        self.links(repository, &unneeded, notes).await
    }
}

/// How many links of a repository are condemned before one walk through its manifests.
const LINKS_AT_ONCE: usize = 10_000;
const BLOBS_AT_ONCE: usize = 500;
