//! Manifests that a retention policy deletes, and what interrupted pushes and deletions left.

use super::super::Error;
use super::super::garbage::Candidate;
use super::super::keys::{self, Key};
use super::super::omitted::Step;
use super::super::retention::{GivenUp, Kept, Subject, Survey, Times, UntaggedFacts, Verdict};
use super::super::states::manifest::{ManifestRecord, ManifestState};
use super::super::states::mark::Mark;
use super::super::typed_store::Found;
use super::Collector;
use super::references::is_unknown;
use super::report::{Goes, Item, Notes, Stays};
use crate::clock::Timestamp;
use crate::oci::{Digest, RepositoryName, Tag};
use crate::storage::Show;
use std::collections::HashSet;

impl Collector {
    /// Whether the manifests of this repository can be checked. They cannot while one of them is unreadable.
    pub(super) async fn can_check(
        &self,
        repository: &RepositoryName,
        notes: &mut Notes<'_>,
    ) -> Result<bool, Error> {
        match self.needed(repository, &HashSet::new()).await {
            Err(why) if is_unknown(&why) => {
                notes.stopped(repository, &why.to_string());
                Ok(false)
            }
            read => read.map(|_| true),
        }
    }

    /// Deletes the manifest if no tag and no index points at it and the policy does not keep it. If it was
    /// deleted, returns the manifests to check next: its children and its referrers.
    pub(super) async fn examine(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        survey: Option<&Survey<'_>>,
        notes: &mut Notes<'_>,
    ) -> Result<Vec<Digest>, Error> {
        let key = keys::manifest(repository, digest);
        if self.is_pretended(key.as_str()) {
            return Ok(Vec::new());
        }
        let found = match self.read_manifest(&key).await {
            Err(why) if is_unknown(&why) => {
                notes.stopped(repository, &why.to_string());
                return Ok(Vec::new());
            }
            found => found?,
        };
        let Some(found) = found else { return Ok(Vec::new()) };
        let case = Case {
            repository,
            digest,
            survey,
        };
        if found.record.is_readable() && !self.is_free(case, &found, notes).await? {
            return Ok(Vec::new());
        }
        self.take(case, found, notes).await
    }

    /// Whether nothing points at the manifest and the policy deletes it. As in zot, the tags of a referrer do
    /// not keep it once its subject is gone.
    async fn is_free(
        &self,
        case: Case<'_>,
        found: &Found<ManifestRecord>,
        notes: &mut Notes<'_>,
    ) -> Result<bool, Error> {
        let Case {
            repository, digest, ..
        } = case;
        if self.is_listed(repository, digest, Look::Plain).await? {
            return Ok(false);
        }
        let is_tagged = self.has_tag(repository, digest).await?;
        if is_tagged && found.record.header.subject.is_none() {
            return Ok(false);
        }
        let verdict = self.verdict(case, &found.record, found.written).await?;
        match verdict {
            Some(Verdict::GiveUp(why @ GivenUp::SubjectGone { .. })) if is_tagged => {
                let immutable_stay = case.survey.is_some_and(Survey::keeps_immutable);
                Ok(!self.is_young(found.written)
                    && self
                        .take_tags_of(repository, digest, (why, immutable_stay), notes)
                        .await?)
            }
            Some(Verdict::GiveUp(_)) => Ok(!is_tagged),
            kept => {
                let is_young = self.is_young(found.written);
                let why = match (kept, self.subject(repository, &found.record).await?) {
                    _ if is_tagged => None,
                    (Some(Verdict::Keep(Kept::Recent)), _) if is_young => {
                        let candidate = Candidate::Manifest(repository.clone(), digest.clone());
                        self.wait_for(found.written, candidate);
                        Some(Stays::Young)
                    }
                    (Some(Verdict::Keep(Kept::UntaggedRule { .. } | Kept::Recent)), _) => {
                        Some(Stays::KeptByPolicy)
                    }
                    (_, Subject::None) => Some(Stays::Untagged),
                    (_, Subject::Gone) => Some(Stays::WithoutSubject),
                    (_, Subject::There) => None,
                };
                if let Some(why) = why {
                    notes.stays(&item(repository, digest, &found.record), why);
                }
                Ok(false)
            }
        }
    }

    /// What the policy decides about the manifest, whose record was written at this time. A pull can only keep
    /// a manifest, so pulls are read only if the manifest would be deleted without them.
    async fn verdict(
        &self,
        case: Case<'_>,
        record: &ManifestRecord,
        written: Timestamp,
    ) -> Result<Option<Verdict>, Error> {
        let Case {
            repository,
            digest,
            survey: Some(survey),
        } = case
        else {
            return Ok(None);
        };
        let subject = self.subject(repository, record).await?;
        let now = self.registry.records.now();
        let pushed = record.first_push(written);
        let decide = |pulled| {
            let facts = UntaggedFacts {
                digest,
                times: Times { pushed, pulled },
                written,
                subject,
            };
            survey.untagged_verdict(&facts, now)
        };
        let mut verdict = decide(None);
        if verdict.gives_up() {
            verdict = decide(Some(self.registry.last_pull(repository, digest).await?));
        }
        Ok(Some(verdict))
    }

    /// Deletes the manifest if it is old, the policy deletes it, and nothing points at it once it is
    /// condemned. Returns the same as [`examine`](Self::examine).
    #[cfg(test)]
    pub(in crate::registry) async fn manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        notes: &mut Notes<'_>,
    ) -> Result<Vec<Digest>, Error> {
        let key = keys::manifest(repository, digest);
        let survey = self.rules.survey(repository, self.grace);
        let case = Case {
            repository,
            digest,
            survey: survey.as_ref(),
        };
        match self.registry.records.read(&key).await? {
            Some(found) => self.take(case, found, notes).await,
            None => Ok(Vec::new()),
        }
    }

    async fn take(
        &self,
        case: Case<'_>,
        found: Found<ManifestRecord>,
        notes: &mut Notes<'_>,
    ) -> Result<Vec<Digest>, Error> {
        let Case {
            repository, digest, ..
        } = case;
        let record = found.record.clone();
        let given_up = match record.header.state {
            ManifestState::Pend | ManifestState::Dying => None,
            ManifestState::Com | ManifestState::Cond => {
                match self.verdict(case, &record, found.written).await? {
                    Some(Verdict::GiveUp(why)) => Some(why),
                    _ => return Ok(Vec::new()),
                }
            }
        };
        let item = item(repository, digest, &record);
        if self.is_young(found.written) {
            notes.stays(&item, Stays::Young);
            let candidate = Candidate::Manifest(repository.clone(), digest.clone());
            self.wait_for(found.written, candidate);
            return Ok(Vec::new());
        }
        let removed = if record.is_readable() {
            self.remove_unneeded(case, found).await
        } else if self.is_dry() {
            Ok(true)
        } else {
            // Its push or deletion may still be running. Then one of the two finishes the deletion.
            self.registry
                .give_up(repository, digest, &found.base(), &record)
                .await
        };
        let is_gone = match removed {
            // The removal of a manifest first writes its record again, which needs space. Links and blobs need
            // less, and give some back.
            Err(why) if why.is_full() => {
                tracing::warn!(repo.name = %repository, manifest.digest = %digest, "cannot remove a manifest; the next pass tries again: {why}");
                notes.stays(&item, Stays::NotRemoved);
                return Ok(Vec::new());
            }
            removed => removed?,
        };
        if !is_gone {
            notes.stays(&item, Stays::Needed);
            return Ok(Vec::new());
        }
        self.pretend(keys::manifest(repository, digest).as_str());
        match given_up {
            Some(why) => {
                if !self.is_dry() {
                    tracing::info!(repo.name = %repository, manifest.digest = %digest, "retention deleted a manifest: {why}");
                }
                notes.given_up(&item, Goes::of_manifest(why), why);
            }
            None if record.protects_references() => notes.goes(&item, Goes::InterruptedPush),
            None => notes.goes(&item, Goes::InterruptedDeletion),
        }
        self.followers(repository, digest, &record).await
    }

    /// Condemns the manifest and checks whether anything needs it. Then restores it, or deletes it with all
    /// records that belong to it.
    async fn remove_unneeded(&self, case: Case<'_>, found: Found<ManifestRecord>) -> Result<bool, Error> {
        let Case {
            repository, digest, ..
        } = case;
        let written = found.written;
        let key = keys::manifest(repository, digest);
        let look = if self.is_dry() {
            Look::Plain
        } else {
            Look::Clearing
        };
        let early = if self.registry.omitted.has(Step::LookAfterwards) {
            Some(self.is_referenced(repository, digest, look).await?)
        } else {
            None
        };
        let doomed = self.condemn(vec![(key, found)]).await?;
        let Some(one) = doomed.first() else {
            return Ok(false);
        };
        let is_needed = match early {
            Some(early) => Ok(early),
            None => self.is_needed(case, (&one.record, written), look).await,
        };
        match is_needed {
            Ok(false) if self.is_dry() => Ok(true),
            Ok(false) => {
                self.registry
                    .remove_manifest(repository, digest, one.base(), &one.record)
                    .await
            }
            is_needed => {
                self.restore(&doomed).await?;
                match is_needed {
                    Err(why) if !is_unknown(&why) => Err(why),
                    _ => Ok(false),
                }
            }
        }
    }

    async fn is_needed(
        &self,
        case: Case<'_>,
        (record, written): (&ManifestRecord, Timestamp),
        look: Look,
    ) -> Result<bool, Error> {
        let verdict = self.verdict(case, record, written).await?;
        let is_given_up = verdict.is_some_and(Verdict::gives_up);
        Ok(!is_given_up || self.is_referenced(case.repository, case.digest, look).await?)
    }

    /// Whether a tag points at the manifest.
    pub(super) async fn has_tag(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        self.is_tagged(repository, digest, Look::Plain).await
    }

    async fn is_referenced(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        look: Look,
    ) -> Result<bool, Error> {
        Ok(self.is_listed(repository, digest, look).await?
            || self.is_tagged(repository, digest, look).await?)
    }

    /// Whether a tag points at the manifest. If a tag moves away during a push, a back reference may be left
    /// behind; [`Look::Clearing`] clears it. A back reference that still exists after that, live or
    /// condemned, protects the manifest.
    async fn is_tagged(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        look: Look,
    ) -> Result<bool, Error> {
        let prefix = keys::back_references(repository, digest);
        let mut entries = self.registry.records.keys(prefix.clone(), Show::All);
        while let Some(key) = entries.next().await? {
            let Ok(tag) = prefix.rest(&key).parse::<Tag>() else {
                return Ok(true);
            };
            let points_here = || self.points_at(repository, &tag, digest);
            if points_here().await? {
                return Ok(true);
            }
            self.clear(look, &key, points_here).await?;
        }
        Ok(look == Look::Clearing && !self.registry.records.is_empty(&prefix, Show::All).await?)
    }

    /// Whether an index lists the manifest. An index that is being pushed protects it too.
    async fn is_listed(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        look: Look,
    ) -> Result<bool, Error> {
        let prefix = keys::indexes(repository, digest);
        let mut entries = self.registry.records.keys(prefix.clone(), Show::All);
        let pending = !self.registry.omitted.has(Step::PendingIndexes);
        while let Some(key) = entries.next().await? {
            let Some(index) = keys::digest_of(prefix.rest(&key)) else {
                return Ok(true);
            };
            let lists_it = || self.lists_what_names_it(repository, &index);
            if lists_it().await? {
                return Ok(true);
            }
            if pending {
                self.clear(look, &key, lists_it).await?;
            }
        }
        Ok(look == Look::Clearing && pending && !self.registry.records.is_empty(&prefix, Show::All).await?)
    }

    async fn clear<F>(&self, look: Look, key: &Key<Mark>, needed: impl Fn() -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<bool, Error>>,
    {
        match look {
            Look::Plain => Ok(()),
            Look::Clearing if self.registry.omitted.has(Step::ClearingWithALook) => {
                let found = self.registry.records.read(key).await?;
                if let Some(found) = found {
                    self.registry.records.delete(key, &found.version).await?;
                }
                Ok(())
            }
            Look::Clearing => self.registry.records.clear(key, needed).await,
        }
    }

    /// Whether the tag points at the manifest. True if the tag cannot be read, because it may, and for the
    /// announcement of an immutable tag.
    pub(super) async fn points_at(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<bool, Error> {
        self.breath.take().await;
        if self.is_pretended(keys::tag(repository, tag).as_str()) {
            return Ok(false);
        }
        match self.registry.may_point_at(repository, tag, digest).await {
            Err(why) if is_unknown(&why) => Ok(true),
            points => points,
        }
    }

    /// Whether the index lists the manifest that has an entry for it. It does if it exists, because what an
    /// index lists never changes. Reading it again for each of its children would take quadratic time.
    pub(super) async fn lists_what_names_it(
        &self,
        repository: &RepositoryName,
        index: &Digest,
    ) -> Result<bool, Error> {
        let key = keys::manifest(repository, index);
        if self.registry.omitted.has(Step::PendingIndexes) {
            let found = self.registry.records.read(&key).await?;
            return Ok(found.is_some_and(|found| found.record.is_readable()));
        }
        self.is_there(&key).await
    }

    async fn subject(&self, repository: &RepositoryName, record: &ManifestRecord) -> Result<Subject, Error> {
        let Some(subject) = &record.header.subject else {
            return Ok(Subject::None);
        };
        let key = keys::manifest(repository, &subject.0);
        let is_there = self.is_there(&key).await?;
        Ok(if is_there { Subject::There } else { Subject::Gone })
    }

    /// The manifests that may be garbage now that this one is gone.
    async fn followers(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        record: &ManifestRecord,
    ) -> Result<Vec<Digest>, Error> {
        let mut followers: Vec<Digest> = record
            .header
            .manifests
            .iter()
            .map(|child| child.0.clone())
            .collect();
        let prefix = keys::referrers(repository, digest);
        let mut referrers = self.registry.records.keys(prefix.clone(), Show::All);
        while let Some(key) = referrers.next().await? {
            followers.extend(keys::digest_of(prefix.rest(&key)));
        }
        Ok(followers)
    }
}

/// A manifest, and the survey of its repository if a policy applies to it.
#[derive(Clone, Copy)]
struct Case<'a> {
    repository: &'a RepositoryName,
    digest: &'a Digest,
    survey: Option<&'a Survey<'a>>,
}

/// How to check the entries that point at a manifest.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Only read them.
    Plain,
    /// Also clear the entries that point at nothing.
    Clearing,
}

fn item<'a>(repository: &'a RepositoryName, digest: &'a Digest, record: &ManifestRecord) -> Item<'a> {
    Item {
        repository: Some(repository),
        name: digest.as_str(),
        bytes: record.bytes.len() as u64,
    }
}
