//! What a pass removed, and what it kept.

use super::super::retention::GivenUp;
use crate::oci::RepositoryName;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

/// What a pass removed or would remove, and what it kept although it may look like garbage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Nothing was changed: `goes` is what would be removed.
    pub dry_run: bool,
    /// The pass continued an earlier one that was interrupted. What that one removed is not in this report.
    pub resumed: bool,
    /// By repository. Repositories with nothing to report are left out.
    pub repositories: BTreeMap<String, Section>,
    /// What belongs to no repository: the bytes of blobs.
    pub store: Section,
    /// How many repositories did not fit in `repositories`. Their sums are in `others`.
    pub omitted_repositories: u64,
    pub others: Section,
    /// In a dry run while `storage.retention.dryRun` is set: how many more bytes a pass would free without
    /// that key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_would_free: Option<u64>,
}

/// A part of a [`Report`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Section {
    pub goes: BTreeMap<Goes, Amount>,
    pub stays: BTreeMap<Stays, Amount>,
    /// Why nothing in this repository could be checked: a manifest cannot be read, and it may need anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// Why a scheduled pass leaves the tags and manifests of this repository alone: the policies would delete
    /// a larger share than `maxShare`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exceeds: Option<String>,
    /// The tags and manifests that the policies delete, or would delete without `dryRun`, by reason. A reason
    /// begins with the key that decided. The whole report names at most 10,000.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub given_up: BTreeMap<String, Vec<String>>,
}

/// A number of records, and the size of their content in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    pub count: u64,
    pub bytes: u64,
}

/// Why something is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Goes {
    /// An upload that no request has continued for a day.
    ExpiredUpload,
    /// What an interrupted push of a manifest left.
    InterruptedPush,
    /// What an interrupted deletion of a manifest left.
    InterruptedDeletion,
    /// A tag that no entry of `keepTags` matches.
    UnmatchedTag,
    /// A tag that no rule of its entry of `keepTags` keeps.
    ExpiredTag,
    /// A tag of a referrer whose subject is gone.
    TagWithoutSubject,
    /// A manifest without a tag, which no index lists.
    UntaggedManifest,
    /// A referrer whose subject is gone.
    ReferrerWithoutSubject,
    /// A repository's link to a blob that no manifest of the repository needs.
    UnneededLink,
    /// An index entry that points at nothing.
    StaleEntry,
    /// A blob that no repository links.
    UnlinkedBlob,
    /// Bytes of a blob that other bytes have replaced.
    ReplacedBytes,
    /// Bytes that no record names, which a crash left.
    UnnamedBytes,
}

/// Why something is kept although it may look like garbage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stays {
    /// It was written within the grace period.
    Young,
    /// An untagged manifest, and no policy deletes it.
    Untagged,
    /// A referrer whose subject is gone, and no policy deletes it.
    WithoutSubject,
    /// A rule of `keepUntagged`, or `delay`, keeps it.
    KeptByPolicy,
    /// The policies would delete it, but `storage.retention.dryRun` is set.
    OnlyReported,
    /// A writer referred to it while the collector checked it.
    Needed,
    /// A manifest of its repository cannot be read, and it may need anything.
    Unjudged,
    /// Its record cannot be read.
    Unreadable,
    /// Its bytes could not be removed. The next pass tries again.
    NotRemoved,
    /// A request is writing to it.
    Busy,
}

impl Goes {
    /// The reason for a tag that a policy deletes.
    pub(super) const fn of_tag(why: GivenUp) -> Self {
        match why {
            GivenUp::NoPattern { .. } => Self::UnmatchedTag,
            GivenUp::NoTagRule { .. } => Self::ExpiredTag,
            GivenUp::SubjectGone { .. } | GivenUp::Untagged { .. } => Self::TagWithoutSubject,
        }
    }

    /// The reason for a manifest that a policy deletes.
    pub(super) const fn of_manifest(why: GivenUp) -> Self {
        match why {
            GivenUp::SubjectGone { .. } => Self::ReferrerWithoutSubject,
            _ => Self::UntaggedManifest,
        }
    }

    /// Whether this is a reason to delete a tag.
    #[must_use]
    pub const fn is_of_a_tag(self) -> bool {
        matches!(
            self,
            Self::UnmatchedTag | Self::ExpiredTag | Self::TagWithoutSubject
        )
    }

    /// In plain words, for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::ExpiredUpload => "expired uploads",
            Self::InterruptedPush => "remains of interrupted pushes",
            Self::InterruptedDeletion => "remains of interrupted deletions",
            Self::UnmatchedTag => "tags that no entry of keepTags matches",
            Self::ExpiredTag => "tags that no rule of keepTags keeps",
            Self::TagWithoutSubject => "tags of referrers whose subject is gone",
            Self::UntaggedManifest => "untagged manifests",
            Self::ReferrerWithoutSubject => "referrers whose subject is gone",
            Self::UnneededLink => "blobs that no manifest of the repository needs",
            Self::StaleEntry => "index entries that point at nothing",
            Self::UnlinkedBlob => "blobs that no repository has",
            Self::ReplacedBytes => "replaced bytes of blobs",
            Self::UnnamedBytes => "bytes that no record names",
        }
    }

    /// The label for metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::ExpiredUpload => "expired_upload",
            Self::InterruptedPush => "interrupted_push",
            Self::InterruptedDeletion => "interrupted_deletion",
            Self::UnmatchedTag => "unmatched_tag",
            Self::ExpiredTag => "expired_tag",
            Self::TagWithoutSubject => "tag_without_subject",
            Self::UntaggedManifest => "untagged_manifest",
            Self::ReferrerWithoutSubject => "referrer_without_subject",
            Self::UnneededLink => "unneeded_link",
            Self::StaleEntry => "stale_entry",
            Self::UnlinkedBlob => "unlinked_blob",
            Self::ReplacedBytes => "replaced_bytes",
            Self::UnnamedBytes => "unnamed_bytes",
        }
    }

    /// Whether removing such an item frees bytes on the disk. A link does not: other repositories may link
    /// the same blob.
    #[must_use]
    pub const fn frees_bytes(self) -> bool {
        matches!(
            self,
            Self::ExpiredUpload
                | Self::UntaggedManifest
                | Self::ReferrerWithoutSubject
                | Self::UnlinkedBlob
                | Self::ReplacedBytes
                | Self::UnnamedBytes
        )
    }
}

impl Stays {
    /// In plain words, for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Young => "younger than the grace period",
            Self::Untagged => "untagged, and no policy deletes them",
            Self::WithoutSubject => "referrers whose subject is gone, and no policy deletes them",
            Self::KeptByPolicy => "untagged, and keepUntagged or delay keeps them",
            Self::OnlyReported => "storage.retention would delete them, but dryRun is set",
            Self::Needed => "needed again while the collector checked them",
            Self::Unjudged => "in a repository with a manifest that cannot be read",
            Self::Unreadable => "their records cannot be read",
            Self::NotRemoved => "their bytes could not be removed",
            Self::Busy => "a request is writing to them",
        }
    }
}

/// One thing that is removed or kept.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// `None` for a blob.
    pub repository: Option<&'a RepositoryName>,
    /// A digest, the name of an upload, or the key of an entry.
    pub name: &'a str,
    /// The size of the content.
    pub bytes: u64,
}

/// A part of a pass. In a large store references, links and blobs are repeated for each range of
/// digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    #[default]
    Uploads,
    /// The manifests and the indexes of each repository.
    Repositories,
    /// What the manifests need.
    References,
    Links,
    Blobs,
    /// Bytes that no record names.
    Bytes,
    /// Another pass that an operator started runs, and this one has not begun.
    Waiting,
}

impl Phase {
    /// In plain words, for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Uploads => "uploads",
            Self::Repositories => "repositories",
            Self::References => "references",
            Self::Links => "links",
            Self::Blobs => "blobs",
            Self::Bytes => "bytes that no record names",
            Self::Waiting => "waiting for another pass",
        }
    }
}

/// How much of a phase is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    pub phase: Phase,
    /// The unit depends on the phase.
    pub done: u64,
    pub of: u64,
}

impl Reached {
    pub(super) const WAITING: Self = Self {
        phase: Phase::Waiting,
        done: 0,
        of: 1,
    };
}

/// Observes a pass. Each method ignores its event by default, so an observer implements only those it needs.
pub trait Observer: Send {
    fn goes(&mut self, _: &Item<'_>, _: Goes) {}
    fn stays(&mut self, _: &Item<'_>, _: Stays) {}
    /// Called in addition to `goes` for what a policy deletes.
    fn given_up(&mut self, _: &Item<'_>, _: Goes, _: GivenUp) {}
    /// How many records this phase has read so far.
    fn looked(&mut self, _: Phase, _records: u64) {}
    fn reached(&mut self, _: Reached) {}
}

/// Ignores everything.
impl Observer for () {}

/// Collects the report during a pass.
pub(in crate::registry) struct Notes<'a> {
    report: Report,
    observer: &'a mut dyn Observer,
    phase: Phase,
    looked: u64,
    /// How many repositories there are, and how many of them this phase has finished.
    repositories: u64,
    passed: u64,
    /// How many tags and manifests that the policies delete are named in the report.
    named: usize,
    /// Repositories that did not fit in the report.
    omitted: HashSet<String>,
}

impl<'a> Notes<'a> {
    pub(in crate::registry) fn new(dry_run: bool, observer: &'a mut dyn Observer) -> Self {
        let report = Report {
            dry_run,
            ..Report::default()
        };
        Self {
            report,
            observer,
            phase: Phase::Uploads,
            looked: 0,
            repositories: 0,
            passed: 0,
            named: 0,
            omitted: HashSet::new(),
        }
    }

    pub(super) const fn resumes(&mut self) {
        self.report.resumed = true;
    }

    pub(super) fn begins(&mut self, phase: Phase) {
        self.phase = phase;
        self.looked = 0;
        self.passed = 0;
        self.observer.looked(phase, 0);
        self.reached(0, 1);
    }

    pub(super) const fn expects(&mut self, repositories: u64) {
        self.repositories = repositories;
    }

    /// Tells how much of the present repository is done.
    pub(super) fn within(&mut self, done: u64, of: u64) {
        let repositories = self.repositories.max(self.passed + 1);
        self.reached(self.passed * of + done.min(of), repositories * of);
    }

    pub(super) fn passed_a_repository(&mut self) {
        self.passed += 1;
        self.reached(self.passed, self.repositories.max(self.passed));
    }

    pub(super) fn reached(&mut self, done: u64, of: u64) {
        let phase = self.phase;
        self.observer.reached(Reached { phase, done, of });
    }

    pub(super) fn looked(&mut self, records: u64) {
        self.looked += records;
        self.observer.looked(self.phase, self.looked);
    }

    pub(super) fn goes(&mut self, item: &Item<'_>, why: Goes) {
        self.section(item.repository)
            .goes
            .entry(why)
            .or_default()
            .add(item.bytes);
        self.observer.goes(item, why);
    }

    /// Notes something that a policy deleted.
    pub(super) fn given_up(&mut self, item: &Item<'_>, what: Goes, why: GivenUp) {
        self.goes(item, what);
        self.name(item, why);
        self.observer.given_up(item, what, why);
    }

    /// Notes something that a policy would delete if it did not only report.
    pub(super) fn only_reported(&mut self, item: &Item<'_>, why: GivenUp) {
        self.stays(item, Stays::OnlyReported);
        self.name(item, why);
    }

    fn name(&mut self, item: &Item<'_>, why: GivenUp) {
        if self.named < MOST {
            self.named += 1;
            let given_up = &mut self.section(item.repository).given_up;
            let names = given_up.entry(why.to_string()).or_default();
            names.push(item.name.to_owned());
        }
    }

    /// Notes why a scheduled pass leaves the repository alone.
    pub(super) fn exceeds(&mut self, repository: &RepositoryName, why: &str) {
        self.section(Some(repository)).exceeds = Some(why.to_owned());
    }

    pub(super) fn stays(&mut self, item: &Item<'_>, why: Stays) {
        self.section(item.repository)
            .stays
            .entry(why)
            .or_default()
            .add(item.bytes);
        self.observer.stays(item, why);
    }

    /// Notes that nothing in the repository can be checked.
    pub(super) fn stopped(&mut self, repository: &RepositoryName, why: &str) {
        let section = self.section(Some(repository));
        section.stopped.get_or_insert_with(|| why.to_owned());
    }

    pub(super) fn is_stopped(&self, repository: &RepositoryName) -> bool {
        let section = self.report.repositories.get(repository.as_str());
        section.is_some_and(|section| section.stopped.is_some())
    }

    pub(super) fn finish(mut self) -> Report {
        self.take()
    }

    /// Takes out the report.
    pub(super) fn take(&mut self) -> Report {
        self.report.omitted_repositories = self.omitted.len() as u64;
        std::mem::take(&mut self.report)
    }

    fn section(&mut self, repository: Option<&RepositoryName>) -> &mut Section {
        let report = &mut self.report;
        let Some(repository) = repository else {
            return &mut report.store;
        };
        let has_room =
            report.repositories.len() < MOST || report.repositories.contains_key(repository.as_str());
        if has_room {
            return report.repositories.entry(repository.to_string()).or_default();
        }
        if self.omitted.len() < MOST {
            self.omitted.insert(repository.to_string());
        }
        &mut report.others
    }
}

impl Amount {
    const fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

impl Report {
    /// The sums of all sections for what is removed.
    #[must_use]
    pub fn goes(&self) -> BTreeMap<Goes, Amount> {
        self.sum(|section| section.goes.iter().map(|(why, amount)| (*why, *amount)).collect())
    }

    /// The sums of all sections for what is kept.
    #[must_use]
    pub fn stays(&self) -> BTreeMap<Stays, Amount> {
        self.sum(|section| {
            section
                .stays
                .iter()
                .map(|(why, amount)| (*why, *amount))
                .collect()
        })
    }

    /// How many bytes of content the disk gets back.
    #[must_use]
    pub fn freed_bytes(&self) -> u64 {
        let freed = self.goes().into_iter().filter(|(why, _)| why.frees_bytes());
        freed.map(|(_, amount)| amount.bytes).sum()
    }

    /// How many items are removed.
    #[must_use]
    pub fn going(&self) -> u64 {
        self.goes().values().map(|amount| amount.count).sum()
    }

    /// How many items are kept although they may look like garbage.
    #[must_use]
    pub fn staying(&self) -> u64 {
        self.stays().values().map(|amount| amount.count).sum()
    }

    /// Whether everything could be checked, and all garbage could be removed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let failed = [Stays::Unjudged, Stays::Unreadable, Stays::NotRemoved];
        !self.sections().any(|section| {
            section.stopped.is_some() || failed.iter().any(|why| section.stays.contains_key(why))
        })
    }

    /// The repositories in which nothing could be checked.
    pub fn stopped(&self) -> impl Iterator<Item = (&str, &str)> {
        self.repositories
            .iter()
            .filter_map(|(name, section)| Some((name.as_str(), section.stopped.as_deref()?)))
    }

    fn sections(&self) -> impl Iterator<Item = &Section> {
        self.repositories.values().chain([&self.store, &self.others])
    }

    fn sum<K: Ord>(&self, of: impl Fn(&Section) -> Vec<(K, Amount)>) -> BTreeMap<K, Amount> {
        let mut sums: BTreeMap<K, Amount> = BTreeMap::new();
        for (why, amount) in self.sections().flat_map(of) {
            let sum = sums.entry(why).or_default();
            sum.count += amount.count;
            sum.bytes += amount.bytes;
        }
        sums
    }
}

/// How many repositories a report names, and how many tags and manifests.
const MOST: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reason, in the order of the reference.
    const GOES: [Goes; 13] = [
        Goes::ExpiredUpload,
        Goes::InterruptedPush,
        Goes::InterruptedDeletion,
        Goes::UnmatchedTag,
        Goes::ExpiredTag,
        Goes::TagWithoutSubject,
        Goes::UntaggedManifest,
        Goes::ReferrerWithoutSubject,
        Goes::UnneededLink,
        Goes::StaleEntry,
        Goes::UnlinkedBlob,
        Goes::ReplacedBytes,
        Goes::UnnamedBytes,
    ];
    const STAYS: [Stays; 10] = [
        Stays::Young,
        Stays::Untagged,
        Stays::WithoutSubject,
        Stays::KeptByPolicy,
        Stays::OnlyReported,
        Stays::Needed,
        Stays::Unjudged,
        Stays::Unreadable,
        Stays::NotRemoved,
        Stays::Busy,
    ];

    #[test]
    fn the_reference_has_every_reason() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/gc.md");
        let page = std::fs::read_to_string(page).unwrap();
        let name = |value| serde_json::to_value(value).unwrap();
        let goes = GOES.map(|why| (name(serde_json::json!(why)), why.words()));
        let stays = STAYS.map(|why| (name(serde_json::json!(why)), why.words()));
        let rows: Vec<_> = page.lines().skip_while(|line| !line.starts_with("## ")).collect();
        let rows: Vec<_> = rows.into_iter().filter(|line| line.starts_with("| `")).collect();
        let wanted: Vec<_> = goes
            .into_iter()
            .chain(stays)
            .map(|(name, words)| format!("| `{}` | {words} |", name.as_str().unwrap()))
            .collect();
        assert_eq!(rows, wanted);
    }

    #[test]
    fn a_report_is_read_as_it_was_written_and_knows_whether_it_is_complete() {
        let amount = Amount { count: 1, bytes: 2 };
        let mut report = Report::default();
        report.store.goes.extend(GOES.map(|why| (why, amount)));
        assert!(report.is_complete());
        for (why, complete) in STAYS.map(|why| {
            (
                why,
                !matches!(why, Stays::Unjudged | Stays::Unreadable | Stays::NotRemoved),
            )
        }) {
            let mut report = report.clone();
            report.others.stays.insert(why, amount);
            assert_eq!(report.is_complete(), complete, "{why:?}");
            assert_eq!((report.going(), report.staying()), (13, 1));
            let text = serde_json::to_string(&report).unwrap();
            assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
        }
        report.others.stopped = Some("m".into());
        assert!(!report.is_complete());
    }
}
