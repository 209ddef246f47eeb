//! Removes what nothing needs any more, while pushes and pulls continue. Its safety does not depend on
//! clocks, pauses or locks. A collector condemns a record, checks whether anything needs it, and then
//! restores or removes it. Each change is a compare-and-swap. A writer that needs a condemned record rescues
//! it, so either the rescue or the removal succeeds, never both. `docs/design/protocol.md` has the protocol,
//! `docs/design/rules/collection.md` its rules.
//!
//! Each file that is named after a kind of record has the steps for that kind. `pass.rs` walks through the
//! whole store.

mod blobs;
mod census;
mod digests;
mod doomed;
mod entries;
mod lately;
mod links;
mod manifests;
mod pace;
mod pass;
mod position;
mod references;
mod rehearsal;
mod report;
mod retain;
mod rules;
mod spot;
mod turns;
mod unnamed;
mod uploads;

pub use pace::Pace;
pub use position::Position;
pub(in crate::registry) use report::Notes;
pub use report::{Amount, Goes, Item, Observer, Phase, Reached, Report, Section, Stays};
pub use rules::Rules;
pub(in crate::registry) use turns::Turns;

use super::{Error, Registry, keys};
use crate::access::Maintenance;
use crate::clock::Timestamp;
use crate::oci::RepositoryName;
use pace::Breath;
use pass::Pass;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How to collect.
#[derive(Clone, Debug)]
pub struct Options {
    /// Content that was written within this time, by the store's clock, is kept. This spares clients repeated
    /// uploads. Safety does not depend on it.
    pub grace: Duration,
    /// Which tags and manifests are deleted.
    pub rules: Rules,
    /// Report what would be removed, and change nothing.
    pub dry_run: bool,
    pub pace: Pace,
    /// Also report the manifests that no policy deletes. A dry run always does. This reads every manifest.
    pub report_kept: bool,
    /// Continue where the last pass with this setting stopped, and record the position of this one.
    pub resume: bool,
}

impl Options {
    /// The shortest grace period that keeps every promise to clients: twice the age at which a push or a HEAD
    /// rewrites a record.
    pub const GRACE: Duration = Duration::from_secs(24 * 60 * 60);

    /// A number that differs for passes that would remove other things.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        format!("{:?} {:?}", self.grace, self.rules.retention).hash(&mut hasher);
        hasher.finish()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            grace: Self::GRACE,
            rules: Rules::default(),
            dry_run: false,
            pace: Pace::UNBOUNDED,
            report_kept: false,
            resume: false,
        }
    }
}

impl Registry {
    /// Walks through the whole store once and removes what nothing needs. Returns what was removed, and what
    /// was kept although it may look like garbage. Several passes may run at once, also in other processes.
    /// While a pass that an operator started runs, the others of this process wait, so that its report is
    /// complete.
    /// If this future fails or is dropped, nothing is lost: the next pass removes the rest.
    pub async fn collect(
        &self,
        owner: &Maintenance,
        options: &Options,
        observer: &mut dyn Observer,
    ) -> Result<Report, Error> {
        let mut report = Report::default();
        self.collect_into(owner, options, observer, &mut report).await?;
        Ok(report)
    }

    /// Like [`collect`](Self::collect). If this future fails or is dropped, `report` has what was done until
    /// then.
    pub async fn collect_into(
        &self,
        _: &Maintenance,
        options: &Options,
        observer: &mut dyn Observer,
        report: &mut Report,
    ) -> Result<(), Error> {
        let mut collector = Collector::new(self, options);
        let _alone = if options.rules.by_hand {
            let waiting = || observer.reached(Reached::WAITING);
            Some(self.turns.alone(waiting).await)
        } else {
            collector.breath.pauses(self.turns.background().await);
            None
        };
        let notes = Notes::new(options.dry_run, observer);
        let mut so_far = SoFar { notes, report };
        Pass::new(&collector, options.resume && !options.dry_run)
            .run(&mut so_far.notes)
            .await
    }

    /// Starts to remember what may have become garbage, for [`collect_lately`](Self::collect_lately). All
    /// clones of this registry share this memory, which is bounded.
    pub fn remember_garbage(&self) {
        self.garbage.want();
    }

    /// How many candidates wait to be checked, and how many were dropped for lack of room. A full pass finds
    /// those.
    #[must_use]
    pub fn remembered_garbage(&self) -> (usize, u64) {
        self.garbage.counts()
    }

    /// Checks only what lost a reference since the last call, by a deletion, a moved tag or an expired
    /// upload. A later call checks again what is still young.
    pub async fn collect_lately(
        &self,
        _: &Maintenance,
        options: &Options,
        observer: &mut dyn Observer,
    ) -> Result<Report, Error> {
        let mut collector = Collector::new(self, options);
        collector.breath.pauses(self.turns.background().await);
        let mut notes = Notes::new(false, observer);
        collector.lately(&mut notes).await?;
        Ok(notes.finish())
    }
}

/// Hands over the report of a pass, also if the pass stops before its end.
struct SoFar<'a, 'n> {
    notes: Notes<'n>,
    report: &'a mut Report,
}

impl Drop for SoFar<'_, '_> {
    fn drop(&mut self) {
        *self.report = self.notes.take();
    }
}

/// Removes single records. All its writes work on a full disk.
pub(in crate::registry) struct Collector {
    registry: Registry,
    grace: Duration,
    rules: Rules,
    breath: Breath,
    reports_kept: bool,
    /// The keys of the records that a dry run would have deleted. `None` if this is not a dry run.
    pretended: Option<Mutex<BTreeSet<String>>>,
    /// How many keys it remembers at most.
    most_pretended: usize,
}

impl Collector {
    pub(in crate::registry) fn new(registry: &Registry, options: &Options) -> Self {
        Self {
            registry: registry.freeing(),
            grace: options.grace,
            rules: options.rules.clone(),
            breath: Breath::new(options.pace),
            reports_kept: options.report_kept || options.dry_run,
            pretended: options.dry_run.then(Mutex::default),
            most_pretended: usize::MAX,
        }
    }

    /// A dry run of the same collection of a repository. Scheduled passes make one too, so its memory is
    /// bounded. It begins with what this collector pretends to have deleted there, and does not add to it.
    fn rehearsing(&self, repository: &RepositoryName) -> Self {
        let pretended = self.pretended_in(repository);
        Self {
            registry: self.registry.clone(),
            grace: self.grace,
            rules: self.rules.clone(),
            breath: self.breath.again(),
            reports_kept: true,
            most_pretended: pretended.len() + MOST_COUNTED,
            pretended: Some(Mutex::new(pretended)),
        }
    }

    fn pretended_in(&self, repository: &RepositoryName) -> BTreeSet<String> {
        let Some(pretended) = &self.pretended else {
            return BTreeSet::new();
        };
        let prefix = keys::everything_of(repository);
        let pretended = pretended.lock().unwrap_or_else(PoisonError::into_inner);
        let from = pretended.range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded));
        from.take_while(|key| key.starts_with(prefix.as_str()))
            .cloned()
            .collect()
    }

    fn is_young(&self, written: Timestamp) -> bool {
        self.registry.records.now().since(written) < self.grace
    }

    const fn is_dry(&self) -> bool {
        self.pretended.is_some()
    }

    /// Remembers that a dry run would have deleted this record, unless the dry run is full. The memory grows
    /// with what would be deleted, not with the store.
    fn pretend(&self, key: &str) {
        if let Some(pretended) = &self.pretended {
            let mut pretended = pretended.lock().unwrap_or_else(PoisonError::into_inner);
            if pretended.len() < self.most_pretended {
                pretended.insert(key.to_owned());
            }
        }
    }

    /// Whether a dry run can remember no more deletions, so that it does not know what depends on them.
    fn is_full(&self) -> bool {
        self.pretended.as_ref().is_some_and(|pretended| {
            pretended.lock().unwrap_or_else(PoisonError::into_inner).len() >= self.most_pretended
        })
    }

    /// Whether a dry run would have deleted the record.
    fn is_pretended(&self, key: &str) -> bool {
        self.pretended.as_ref().is_some_and(|pretended| {
            pretended
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(key)
        })
    }
}

/// How many tags and manifests of a repository are counted before a pass. They take about 20 MB.
const MOST_COUNTED: usize = if cfg!(test) { 100 } else { 100_000 };
