//! What the policies of `storage.retention` delete from a repository: first tags, then manifests. A dry run
//! comes first, so that a policy that would delete too much deletes nothing.

use super::super::Error;
use super::super::keys::{self, Entry, Key, Prefix};
use super::super::retention::{GivenUp, Retention, Share, Subject, Survey, TagFacts, Times, Verdict};
use super::super::states::tag::TagRecord;
use super::super::typed_store::Found;
use super::Collector;
use super::references::is_unknown;
use super::rehearsal::{Rehearsal, Tally};
use super::report::{Goes, Item, Notes, Stays};
use super::spot::Spot;
use crate::clock::Timestamp;
use crate::oci::{Digest, RepositoryName, Tag};
use crate::storage::Show;

impl Collector {
    /// Deletes what the repository's policy does not keep, unless that exceeds `maxShare` or the policies
    /// only report.
    pub(super) async fn retain(
        &self,
        repository: &RepositoryName,
        notes: &mut Notes<'_>,
    ) -> Result<(), Error> {
        let Some(mut survey) = self.rules.survey(repository, self.grace) else {
            return if self.reports_kept {
                self.manifests(repository, None, notes).await
            } else {
                Ok(())
            };
        };
        if !self.can_check(repository, notes).await? {
            return Ok(());
        }
        let only_reports = self.rules.retention.dry_run;
        // An operator's pass ignores the limit. Its dry run still reports what a scheduled pass would leave alone.
        let has_limit = self.is_dry() || !self.rules.by_hand;
        // Nothing is more than all, so there is nothing to count.
        if only_reports || (has_limit && !self.rules.max_share(repository).is_all()) {
            let mut rehearsal = Rehearsal::new(if only_reports { Some(&mut *notes) } else { None });
            let excess = self.rehearse(repository, &mut rehearsal).await?;
            let is_empty = rehearsal.tally().is_empty();
            if let Some(why) = &excess {
                notes.exceeds(repository, why);
            }
            if only_reports || is_empty {
                self.leave_alone(repository, false);
                return Ok(());
            }
            if let (Some(why), false) = (&excess, self.rules.by_hand) {
                tracing::error!(repo.name = %repository, "retention leaves a repository alone: {why}");
                self.leave_alone(repository, true);
                return Ok(());
            }
        }
        self.leave_alone(repository, false);
        self.retain_tags(repository, &mut survey, notes).await?;
        self.retain_manifests(repository, &mut survey, notes).await
    }

    /// Tells the checks between the passes whether this pass leaves the repository alone.
    fn leave_alone(&self, repository: &RepositoryName, is_too_much: bool) {
        if !self.is_dry() {
            self.registry.garbage.leave_alone(repository, is_too_much);
        }
    }

    /// Counts what the policy would delete. Returns why that is too much. Then it does not count everything,
    /// unless the policies only report.
    async fn rehearse(
        &self,
        repository: &RepositoryName,
        rehearsal: &mut Rehearsal<'_, '_>,
    ) -> Result<Option<String>, Error> {
        let Some(mut survey) = self.rules.survey(repository, self.grace) else {
            return Ok(None);
        };
        let only_reports = self.rules.retention.dry_run;
        let share = self.rules.max_share(repository);
        let dry = self.rehearsing(repository);
        dry.retain_tags(repository, &mut survey, &mut Notes::new(true, &mut *rehearsal))
            .await?;
        // The policy deletes these as soon as they are old. If they counted as kept, a policy that keeps
        // nothing could delete every tag, one a day.
        let young = rehearsal.tally().young;
        let tags = self.count(keys::tags(repository)).await?.saturating_sub(young);
        let too_many_tags = |taken: u64| {
            let apart = if young == 0 {
                String::new()
            } else {
                format!(" (not counting {young} that are only younger than storage.gcDelay)")
            };
            share
                .is_exceeded(taken, tags)
                .then(|| too_much(share, &format!("{taken} of {tags} tags{apart}")))
        };
        let excess = too_many_tags(rehearsal.tally().tags).or_else(|| dry.too_much_to_count());
        if excess.is_some() && !only_reports {
            return Ok(excess);
        }
        dry.retain_manifests(repository, &mut survey, &mut Notes::new(true, &mut *rehearsal))
            .await?;
        let Tally {
            tags: taken_tags,
            manifests: taken,
            ..
        } = rehearsal.tally();
        let all = self.count(keys::manifests(repository)).await?;
        let is_exceeded = taken > Retention::FREE_MANIFESTS && share.is_exceeded(taken, all);
        let too_many_manifests = is_exceeded.then(|| too_much(share, &format!("{taken} of {all} manifests")));
        Ok(too_many_tags(taken_tags)
            .or(too_many_manifests)
            .or_else(|| dry.too_much_to_count()))
    }

    /// Why this dry run stopped before its end.
    fn too_much_to_count(&self) -> Option<String> {
        self.is_full().then(|| {
            format!(
                "storage.retention would delete at least {} tags and manifests, more than one pass counts: check the \
                 policy, then run `wharfinger gc`, or set maxShare to 1",
                self.most_pretended
            )
        })
    }

    async fn retain_tags(
        &self,
        repository: &RepositoryName,
        survey: &mut Survey<'_>,
        notes: &mut Notes<'_>,
    ) -> Result<(), Error> {
        if survey.counts_tags() {
            self.see_tags(repository, survey).await?;
        }
        self.tags(repository, survey, notes).await
    }

    async fn retain_manifests(
        &self,
        repository: &RepositoryName,
        survey: &mut Survey<'_>,
        notes: &mut Notes<'_>,
    ) -> Result<(), Error> {
        if survey.counts_untagged() {
            self.see_untagged(repository, survey).await?;
        }
        self.manifests(repository, Some(survey), notes).await
    }

    /// Checks every manifest of the repository.
    async fn manifests(
        &self,
        repository: &RepositoryName,
        survey: Option<&Survey<'_>>,
        notes: &mut Notes<'_>,
    ) -> Result<(), Error> {
        let records = &self.registry.records;
        let mut pages = records.pages(keys::manifests(repository), String::new(), Show::Visible);
        while let Some(page) = pages.next().await? {
            notes.looked(page.len() as u64);
            for digest in page.iter().filter_map(keys::manifest_of) {
                notes.within(Spot::of(&digest).share(), Spot::SHARES);
                let mut next = vec![digest];
                // Check children right after their index, wherever their keys are.
                while let Some(digest) = next.pop() {
                    if self.is_full() {
                        return Ok(());
                    }
                    let followers = self.examine(repository, &digest, survey, notes).await?;
                    next.extend(followers);
                }
            }
        }
        Ok(())
    }

    async fn see_tags(&self, repository: &RepositoryName, survey: &mut Survey<'_>) -> Result<(), Error> {
        let mut tags = self.registry.records.keys(keys::tags(repository), Show::Visible);
        while let Some(key) = tags.next().await? {
            if let Some((tag, digest, found)) = self.tag(&key).await? {
                let times = self
                    .times(repository, &digest, pushed(&found), survey.counts_pulls_of_tags())
                    .await?;
                let subject = self.named_after(repository, &tag).await?;
                survey.see_tag(&TagFacts {
                    tag: &tag,
                    times,
                    subject,
                    is_immutable: self.rules.is_immutable(repository, &tag),
                });
            }
        }
        Ok(())
    }

    async fn see_untagged(&self, repository: &RepositoryName, survey: &mut Survey<'_>) -> Result<(), Error> {
        let records = &self.registry.records;
        let mut manifests = records.keys(keys::manifests(repository), Show::Visible);
        while let Some(key) = manifests.next().await? {
            let Some(digest) = keys::manifest_of(&key) else {
                continue;
            };
            if self.has_tag(repository, &digest).await? {
                continue;
            }
            self.breath.take().await;
            let found = match records.read(&key).await {
                Err(why) if is_unknown(&why) => None,
                found => found?,
            };
            if let Some(found) = found {
                let pushed = found.record.first_push(found.written);
                let pulls = survey.counts_pulls_of_untagged();
                survey.see_untagged(&digest, self.times(repository, &digest, pushed, pulls).await?);
            }
        }
        Ok(())
    }

    /// Reads the last pull of the manifest only if `pulls` is set.
    async fn times(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        pushed: Timestamp,
        pulls: bool,
    ) -> Result<Times, Error> {
        let pulled = if pulls {
            Some(self.registry.last_pull(repository, digest).await?)
        } else {
            None
        };
        Ok(Times { pushed, pulled })
    }

    async fn tags(
        &self,
        repository: &RepositoryName,
        survey: &Survey<'_>,
        notes: &mut Notes<'_>,
    ) -> Result<(), Error> {
        let mut pages = self
            .registry
            .records
            .pages(keys::tags(repository), String::new(), Show::Visible);
        while let Some(page) = pages.next().await? {
            notes.looked(page.len() as u64);
            for key in page {
                let Some((tag, digest, found)) = self.tag(&key).await? else {
                    continue;
                };
                let verdict = self
                    .tag_verdict(repository, (&tag, &digest), &found, survey)
                    .await?;
                if let Verdict::GiveUp(why) = verdict {
                    self.take_tag(repository, (&tag, &digest), &found, why, notes)
                        .await?;
                }
            }
        }
        Ok(())
    }

    /// `None` if the tag points at nothing or cannot be read.
    pub(super) async fn tag(
        &self,
        key: &Key<TagRecord>,
    ) -> Result<Option<(Tag, Digest, Found<TagRecord>)>, Error> {
        self.breath.take().await;
        let found = match self.registry.records.read(key).await {
            Err(why) if is_unknown(&why) => return Ok(None),
            found => found?,
        };
        let Some(Entry::Tag(_, tag)) = Entry::parse(key.as_str()) else {
            return Ok(None);
        };
        Ok(found.and_then(|found| Some((tag, found.record.target()?.clone(), found))))
    }

    /// A pull can only keep a tag, so pulls are read only if the tag would be deleted without them.
    async fn tag_verdict(
        &self,
        repository: &RepositoryName,
        (tag, digest): (&Tag, &Digest),
        found: &Found<TagRecord>,
        survey: &Survey<'_>,
    ) -> Result<Verdict, Error> {
        let now = self.registry.records.now();
        let subject = self.named_after(repository, tag).await?;
        let is_immutable = self.rules.is_immutable(repository, tag);
        let decide = async |pulls| -> Result<Verdict, Error> {
            let times = self.times(repository, digest, pushed(found), pulls).await?;
            let facts = TagFacts {
                tag,
                times,
                subject,
                is_immutable,
            };
            Ok(survey.tag_verdict(&facts, now))
        };
        let mut verdict = decide(false).await?;
        if verdict.gives_up() {
            verdict = decide(true).await?;
        }
        Ok(verdict)
    }

    /// Returns whether the tag is gone.
    pub(super) async fn take_tag(
        &self,
        repository: &RepositoryName,
        (tag, digest): (&Tag, &Digest),
        found: &Found<TagRecord>,
        why: GivenUp,
        notes: &mut Notes<'_>,
    ) -> Result<bool, Error> {
        let item = Item {
            repository: Some(repository),
            name: tag.as_str(),
            bytes: 0,
        };
        // A client has recently pushed the tag, or learned by a HEAD that it exists.
        if self.is_young(found.written) {
            notes.stays(&item, Stays::Young);
            return Ok(false);
        }
        if self.is_dry() {
            self.pretend(keys::tag(repository, tag).as_str());
        } else if self
            .registry
            .take_tag(repository, tag, digest, &found.version)
            .await?
        {
            tracing::info!(repo.name = %repository, manifest.tag = tag.as_str(), manifest.digest = %digest, "retention deleted a tag: {why}");
        } else {
            notes.stays(&item, Stays::Needed);
            return Ok(false);
        }
        notes.given_up(&item, Goes::of_tag(why), why);
        Ok(true)
    }

    /// Deletes all tags of a referrer whose subject is gone, except immutable ones if these stay. Returns whether
    /// no tag remains.
    pub(super) async fn take_tags_of(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        (why, immutable_stay): (GivenUp, bool),
        notes: &mut Notes<'_>,
    ) -> Result<bool, Error> {
        let prefix = keys::back_references(repository, digest);
        let mut entries = self.registry.records.keys(prefix.clone(), Show::All);
        let mut all = true;
        while let Some(key) = entries.next().await? {
            let Ok(tag) = prefix.rest(&key).parse::<Tag>() else {
                return Ok(false);
            };
            let key = keys::tag(repository, &tag);
            if let Some((tag, target, found)) = self.tag(&key).await?
                && target == *digest
                && !self.is_pretended(key.as_str())
            {
                if immutable_stay && self.rules.is_immutable(repository, &tag) {
                    return Ok(false);
                }
                all &= self
                    .take_tag(repository, (&tag, digest), &found, why, notes)
                    .await?;
            }
        }
        Ok(all)
    }

    /// The manifest that the tag is named after.
    async fn named_after(&self, repository: &RepositoryName, tag: &Tag) -> Result<Subject, Error> {
        if !tag.is_named_after_a_digest() {
            return Ok(Subject::None);
        }
        // The tag contains at most 64 characters of the digest, which may be longer.
        let start = tag.as_str().get(.."sha256-".len() + 64).unwrap_or_default();
        let start = start.replacen('-', "/", 1);
        let prefix = Prefix::new(format!("{}{start}", keys::manifests(repository).as_str()));
        let mut manifests = self.registry.records.keys(prefix, Show::All);
        while let Some(key) = manifests.next().await? {
            if self.is_there(&key).await? {
                return Ok(Subject::There);
            }
        }
        Ok(Subject::Gone)
    }

    async fn count<T>(&self, prefix: Prefix<T>) -> Result<u64, Error> {
        let mut pages = self.registry.records.pages(prefix, String::new(), Show::Visible);
        let mut count = 0;
        while let Some(page) = pages.next().await? {
            count += page.len() as u64;
        }
        Ok(count)
    }
}

fn too_much(share: Share, what: &str) -> String {
    format!(
        "storage.retention would delete {what}, which is more than maxShare ({share}): check the policy, then run \
         `wharfinger gc`, or raise maxShare"
    )
}

fn pushed(found: &Found<TagRecord>) -> Timestamp {
    Timestamp::from_millis(found.record.at)
}
