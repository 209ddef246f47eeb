//! Manifests that the rules give up, and what interrupted pushes and deletions left.

use super::super::Error;
use super::super::garbage::Candidate;
use super::super::keys::{self, Key};
use super::super::states::manifest::{ManifestRecord, ManifestState};
use super::super::states::mark::Mark;
use super::super::typed_store::Found;
use super::Collector;
use super::omitted::Step;
use super::references::is_unknown;
use super::report::{Goes, Item, Notes, Stays};
use super::rules::Subject;
use crate::oci::{Digest, RepositoryName, Tag};
use crate::storage::Show;
use std::collections::HashSet;

impl Collector {
    /// Whether the rules may give up manifests of this repository. They do not while one of its manifests cannot
    /// be read.
    pub(super) async fn may_give_up(
        &self,
        repository: &RepositoryName,
        notes: &mut Notes<'_>,
    ) -> Result<bool, Error> {
        if !self.rules.apply_to(repository) {
            return Ok(false);
        }
        match self.needed(repository, &HashSet::new()).await {
            Err(why) if is_unknown(&why) => {
                notes.stopped(repository, &why.to_string());
                Ok(false)
            }
            read => read.map(|_| true),
        }
    }

    /// Looks whether a tag or an index leads to the manifest, and takes it if none does and the rules say so.
    /// Returns the manifests that may follow if it went: its children and its referrers.
    pub(super) async fn examine(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        notes: &mut Notes<'_>,
    ) -> Result<Vec<Digest>, Error> {
        let key = keys::manifest(repository, digest);
        if self.is_pretended(key.as_str()) {
            return Ok(Vec::new());
        }
        let found = match self.registry.records.read(&key).await {
            Err(why) if is_unknown(&why) => {
                notes.stopped(repository, &why.to_string());
                return Ok(Vec::new());
            }
            found => found?,
        };
        let Some(found) = found else { return Ok(Vec::new()) };
        if !found.record.is_readable() {
            return self.take(repository, digest, found, notes).await;
        }
        if self.is_led_to(repository, digest, Look::Plain).await? {
            return Ok(Vec::new());
        }
        let subject = self.subject(repository, &found.record).await?;
        if !self.rules.give_up(repository, subject) {
            let why = match subject {
                Subject::None => Some(Stays::Untagged),
                Subject::Gone => Some(Stays::WithoutSubject),
                Subject::There => None,
            };
            if let Some(why) = why {
                notes.stays(&item(repository, digest, &found.record), why);
            }
            return Ok(Vec::new());
        }
        self.take(repository, digest, found, notes).await
    }

    /// Takes the manifest if it is old, the rules give it up, and nothing leads to it once it is condemned.
    /// Returns the same as [`examine`](Self::examine).
    #[cfg(test)]
    pub(in crate::registry) async fn manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        notes: &mut Notes<'_>,
    ) -> Result<Vec<Digest>, Error> {
        let key = keys::manifest(repository, digest);
        match self.registry.records.read(&key).await? {
            Some(found) => self.take(repository, digest, found, notes).await,
            None => Ok(Vec::new()),
        }
    }

    async fn take(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        found: Found<ManifestRecord>,
        notes: &mut Notes<'_>,
    ) -> Result<Vec<Digest>, Error> {
        let why = match (
            found.record.header.state,
            self.subject(repository, &found.record).await?,
        ) {
            (ManifestState::Pend, _) => Goes::InterruptedPush,
            (ManifestState::Dying, _) => Goes::InterruptedDeletion,
            (_, subject) if !self.rules.give_up(repository, subject) => return Ok(Vec::new()),
            (_, Subject::None) => Goes::UntaggedManifest,
            (_, Subject::There | Subject::Gone) => Goes::ReferrerWithoutSubject,
        };
        if self.is_young(found.written) {
            notes.stays(&item(repository, digest, &found.record), Stays::Young);
            let candidate = Candidate::Manifest(repository.clone(), digest.clone());
            self.wait_for(found.written, candidate);
            return Ok(Vec::new());
        }
        let record = found.record.clone();
        let is_gone = if record.is_readable() {
            self.bury(repository, digest, found).await?
        } else if self.is_dry() {
            true
        } else {
            // Its push or deletion may go on at this moment. Then one of the two does the rest.
            self.registry
                .give_up(repository, digest, &found.base(), &record)
                .await?
        };
        if !is_gone {
            notes.stays(&item(repository, digest, &record), Stays::Needed);
            return Ok(Vec::new());
        }
        self.pretend(keys::manifest(repository, digest).as_str());
        notes.goes(&item(repository, digest, &record), why);
        self.followers(repository, digest, &record).await
    }

    /// Condemns the manifest, looks, and then restores it or deletes it with all that belongs to it.
    async fn bury(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        found: Found<ManifestRecord>,
    ) -> Result<bool, Error> {
        let key = keys::manifest(repository, digest);
        let look = if self.is_dry() {
            Look::Plain
        } else {
            Look::Clearing
        };
        let early = if self.omitted.has(Step::LookAfterwards) {
            Some(self.is_led_to(repository, digest, look).await?)
        } else {
            None
        };
        let doomed = self.condemn(vec![(key, found)]).await?;
        let Some(one) = doomed.first() else {
            return Ok(false);
        };
        let is_needed = match early {
            Some(early) => Ok(early),
            None => self.is_needed(repository, digest, &one.record, look).await,
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
        repository: &RepositoryName,
        digest: &Digest,
        record: &ManifestRecord,
        look: Look,
    ) -> Result<bool, Error> {
        let subject = self.subject(repository, record).await?;
        Ok(!self.rules.give_up(repository, subject) || self.is_led_to(repository, digest, look).await?)
    }

    async fn is_led_to(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        look: Look,
    ) -> Result<bool, Error> {
        Ok(self.is_listed(repository, digest, look).await?
            || self.is_tagged(repository, digest, look).await?)
    }

    /// Whether a tag leads to the manifest. A push may leave a back reference behind when its tag moves away at
    /// the same moment; [`Look::Clearing`] clears those. Any that is left counts, live or condemned.
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
            let leads_here = || self.leads_to(repository, &tag, digest);
            if leads_here().await? {
                return Ok(true);
            }
            self.clear(look, &key, leads_here).await?;
        }
        Ok(look == Look::Clearing && !self.registry.records.is_empty(&prefix, Show::All).await?)
    }

    /// The same for the indexes that list it, including those that are being pushed.
    async fn is_listed(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        look: Look,
    ) -> Result<bool, Error> {
        let prefix = keys::indexes(repository, digest);
        let mut entries = self.registry.records.keys(prefix.clone(), Show::All);
        let pending = !self.omitted.has(Step::PendingIndexes);
        while let Some(key) = entries.next().await? {
            let Some(index) = keys::digest_of(prefix.rest(&key)) else {
                return Ok(true);
            };
            let lists_it = || self.lists(repository, &index, digest);
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
            Look::Clearing if self.omitted.has(Step::ClearingWithALook) => {
                let found = self.registry.records.read(key).await?;
                if let Some(found) = found {
                    self.registry.records.delete(key, &found.version).await?;
                }
                Ok(())
            }
            Look::Clearing => self.registry.records.clear(key, needed).await,
        }
    }

    /// Whether the tag leads to the manifest. One that cannot be read may, and so may the announcement of an
    /// immutable tag.
    pub(super) async fn leads_to(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<bool, Error> {
        self.breath.take().await;
        match self.registry.may_lead(repository, tag, digest).await {
            Err(why) if is_unknown(&why) => Ok(true),
            leads => leads,
        }
    }

    /// Whether the index counts and lists the child. One that cannot be read may list anything.
    pub(super) async fn lists(
        &self,
        repository: &RepositoryName,
        index: &Digest,
        child: &Digest,
    ) -> Result<bool, Error> {
        let key = keys::manifest(repository, index);
        if self.omitted.has(Step::PendingIndexes) {
            let found = self.registry.records.read(&key).await?;
            return Ok(found.is_some_and(|found| found.record.is_readable()));
        }
        match self.references(&key).await {
            Err(why) if is_unknown(&why) => Ok(true),
            references => Ok(references?.is_some_and(|references| references.contain(child))),
        }
    }

    async fn subject(&self, repository: &RepositoryName, record: &ManifestRecord) -> Result<Subject, Error> {
        let Some(subject) = &record.header.subject else {
            return Ok(Subject::None);
        };
        let key = keys::manifest(repository, &subject.0);
        let is_there = match self.registry.protects_references(&key).await {
            Err(why) if is_unknown(&why) => true,
            counts => counts? && !self.is_pretended(key.as_str()),
        };
        Ok(if is_there { Subject::There } else { Subject::Gone })
    }

    /// What may go now that this manifest is gone.
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

/// How to look at the entries that lead to a manifest.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Nothing is written.
    Plain,
    /// Entries that lead nowhere are cleared.
    Clearing,
}

fn item<'a>(repository: &'a RepositoryName, digest: &'a Digest, record: &ManifestRecord) -> Item<'a> {
    Item {
        repository: Some(repository),
        name: digest.as_str(),
        bytes: record.bytes.len() as u64,
    }
}
