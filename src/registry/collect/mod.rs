//! Gives space back: removes what nothing needs any more, beside live traffic. No clock, no pause and no lock
//! makes it safe. A collector condemns a record, looks whether anything needs it, and then restores or takes
//! it, each by compare-and-swap. A writer that needs a condemned record rescues it, so exactly one of the two
//! wins. `docs/design/protocol.md` has the protocol, `docs/design/rules/collection.md` its rules.
//!
//! The files named after records have the steps for one kind of record each. `pass.rs` walks through the
//! whole store.

mod blobs;
mod digests;
mod doomed;
mod entries;
mod lately;
mod links;
mod manifests;
mod omitted;
mod pace;
mod pass;
mod position;
mod references;
mod rehearsal;
mod report;
mod retain;
mod rules;
mod spot;
mod uploads;

#[cfg(test)]
pub(in crate::registry) use omitted::Step;
pub use pace::Pace;
pub(in crate::registry) use report::Notes;
pub use report::{Amount, Goes, Item, Observer, Phase, Reached, Report, Section, Stays};
pub use rules::Rules;

use super::{Error, Registry};
use crate::access::Maintenance;
use crate::clock::Timestamp;
use omitted::Omitted;
use pace::Breath;
use pass::Pass;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How to collect.
#[derive(Clone, Debug)]
pub struct Options {
    /// Nothing is taken that was written within this time, by the store's clock. It makes collecting useful
    /// to clients and has no part in its safety.
    pub grace: Duration,
    /// Which tags and manifests are given up.
    pub rules: Rules,
    /// Report what would go, and change nothing.
    pub dry_run: bool,
    pub pace: Pace,
    /// Also report the manifests that no rule gives up. A dry run always does. This looks at every manifest.
    pub report_kept: bool,
    /// Go on where a pass with this setting was cut off, and note how far this one is.
    pub resume: bool,
}

impl Options {
    /// The shortest grace that keeps every promise to clients: twice as long as a push or a HEAD makes a
    /// record fresh.
    pub const GRACE: Duration = Duration::from_secs(24 * 60 * 60);
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
    /// Walks through the whole store once, takes what nothing needs, and returns what went and what stays
    /// although it looks as if it could go. Several may run at once, also in other processes. If this future
    /// is dropped, or fails, nothing is lost: the next pass takes the rest.
    pub async fn collect(
        &self,
        _: &Maintenance,
        options: &Options,
        observer: &mut dyn Observer,
    ) -> Result<Report, Error> {
        let collector = Collector::new(self, options);
        let mut notes = Notes::new(options.dry_run, observer);
        Pass::new(&collector, options.resume && !options.dry_run)
            .run(&mut notes)
            .await?;
        Ok(notes.finish())
    }

    /// Remembers from now on what may have become garbage, for [`collect_lately`](Self::collect_lately). All
    /// clones of this registry share the memory, which is bounded.
    pub fn remember_garbage(&self) {
        self.garbage.want();
    }

    /// How many candidates wait to be looked at, and how many found no room and wait for a full pass.
    #[must_use]
    pub fn remembered_garbage(&self) -> (usize, u64) {
        self.garbage.counts()
    }

    /// Looks only at what has lost something since the last call: what deletions, moved tags and expired
    /// uploads referred to. What is still young is looked at again by a later call.
    pub async fn collect_lately(
        &self,
        _: &Maintenance,
        options: &Options,
        observer: &mut dyn Observer,
    ) -> Result<Report, Error> {
        let collector = Collector::new(self, options);
        let mut notes = Notes::new(false, observer);
        collector.lately(&mut notes).await?;
        Ok(notes.finish())
    }
}

/// Takes single records. Every write works on a full disk.
pub(in crate::registry) struct Collector {
    registry: Registry,
    grace: Duration,
    rules: Rules,
    breath: Breath,
    reports_kept: bool,
    /// The keys of what a dry run would have taken. `None` if this is not a dry run.
    pretended: Option<Mutex<HashSet<String>>>,
    omitted: Omitted,
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
            omitted: Omitted::NOTHING,
        }
    }

    /// A collector that leaves out a step of the protocol.
    #[cfg(test)]
    pub(in crate::registry) fn without(mut self, step: Option<Step>) -> Self {
        self.omitted = Omitted(step);
        self
    }

    /// The same, for a dry run that remembers nothing of what this one pretends.
    fn rehearsing(&self) -> Self {
        Self {
            registry: self.registry.clone(),
            grace: self.grace,
            rules: self.rules.clone(),
            breath: self.breath.again(),
            reports_kept: true,
            pretended: Some(Mutex::default()),
            omitted: Omitted::NOTHING,
        }
    }

    fn is_young(&self, written: Timestamp) -> bool {
        self.registry.records.now().since(written) < self.grace
    }

    const fn is_dry(&self) -> bool {
        self.pretended.is_some()
    }

    /// Remembers what a dry run would have taken. Its memory grows with what would go, not with the store.
    fn pretend(&self, key: &str) {
        if let Some(pretended) = &self.pretended {
            pretended
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(key.to_owned());
        }
    }

    /// Whether a dry run would have taken the record.
    fn is_pretended(&self, key: &str) -> bool {
        self.pretended.as_ref().is_some_and(|pretended| {
            pretended
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(key)
        })
    }
}
