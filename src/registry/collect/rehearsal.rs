//! Counts what the policies would delete from a repository, before anything is deleted.

use super::super::retention::GivenUp;
use super::report::{Goes, Item, Notes, Observer, Stays};
use crate::oci::RepositoryName;

/// How much the policies would delete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) tags: u64,
    pub(super) manifests: u64,
    /// What would be deleted if it were older than the grace period.
    pub(super) young: u64,
    /// What would be kept although it may look like garbage.
    pub(super) stays: u64,
}

impl Tally {
    pub(super) const fn is_empty(self) -> bool {
        self.tags == 0 && self.manifests == 0 && self.stays == 0
    }
}

/// Observes a dry run of the policies.
pub(super) struct Rehearsal<'a, 'n> {
    tally: Tally,
    /// With `storage.retention.dryRun`, notes what would be deleted and is kept for now.
    notes: Option<&'a mut Notes<'n>>,
}

impl<'a, 'n> Rehearsal<'a, 'n> {
    pub(super) fn new(notes: Option<&'a mut Notes<'n>>) -> Self {
        Self {
            tally: Tally::default(),
            notes,
        }
    }

    pub(super) const fn tally(&self) -> Tally {
        self.tally
    }
}

impl Observer for Rehearsal<'_, '_> {
    fn stays(&mut self, item: &Item<'_>, why: Stays) {
        self.tally.stays += 1;
        self.tally.young += u64::from(why == Stays::Young);
        if let Some(notes) = &mut self.notes {
            notes.stays(item, why);
        }
    }

    fn given_up(&mut self, item: &Item<'_>, what: Goes, why: GivenUp) {
        if what.is_of_a_tag() {
            self.tally.tags += 1;
        } else {
            self.tally.manifests += 1;
        }
        let Some(notes) = &mut self.notes else { return };
        let repository = item.repository.map_or("", RepositoryName::as_str);
        tracing::info!(
            repo.name = repository,
            manifest.reference = item.name,
            "retention would delete this if storage.retention.dryRun were false: {why}"
        );
        notes.only_reported(item, why);
    }
}
