//! One quota, and how much of it is used.

use super::exceeded::{QuotaExceeded, TOTAL};
use crate::access::Repositories;
use crate::oci::RepositoryName;

#[derive(Debug)]
pub(super) struct Standing {
    /// `None` for the whole store.
    of: Option<(String, Repositories)>,
    allowed: u64,
    used: u64,
    /// Reserved by pushes that are about to add bytes.
    reserved: u64,
    /// The highest percentage of [`WARNINGS`] that `used` has reached.
    warned: u64,
}

/// The percentages at which a warning is logged and counted.
const WARNINGS: [u64; 2] = [95, 80];

impl Standing {
    pub(super) const fn new(of: Option<(String, Repositories)>, allowed: u64) -> Self {
        Self {
            of,
            allowed,
            used: 0,
            reserved: 0,
            warned: 0,
        }
    }

    pub(super) const fn is_of_the_store(&self) -> bool {
        self.of.is_none()
    }

    /// Whether it is a quota of a pattern that the repository matches.
    pub(super) fn matches(&self, repository: &RepositoryName) -> bool {
        self.of
            .as_ref()
            .is_some_and(|(_, repositories)| repositories.contain(repository))
    }

    pub(super) fn name(&self) -> &str {
        self.of.as_ref().map_or(TOTAL, |(pattern, _)| pattern)
    }

    pub(super) const fn used(&self) -> u64 {
        self.used
    }

    pub(super) const fn allowed(&self) -> u64 {
        self.allowed
    }

    pub(super) const fn is_used_up(&self) -> bool {
        self.used >= self.allowed
    }

    /// Whether this many more bytes fit.
    pub(super) const fn has_room(&self, bytes: u64) -> bool {
        bytes == 0 || self.used.saturating_add(bytes) <= self.allowed
    }

    /// Whether they also fit beside the reservations of other pushes.
    pub(super) const fn has_room_beside_others(&self, bytes: u64) -> bool {
        bytes == 0 || self.has_room(bytes.saturating_add(self.reserved))
    }

    pub(super) const fn reserve(&mut self, bytes: u64) {
        self.reserved = self.reserved.saturating_add(bytes);
    }

    pub(super) const fn release(&mut self, bytes: u64) {
        self.reserved = self.reserved.saturating_sub(bytes);
    }

    /// Counts the rejection.
    pub(super) fn exceeded(&self, needed: u64) -> QuotaExceeded {
        metrics::counter!("wharfinger_quota_rejections_total", "quota" => self.name().to_owned())
            .increment(1);
        QuotaExceeded {
            quota: self.name().to_owned(),
            used: self.used,
            allowed: self.allowed,
            needed,
        }
    }

    pub(super) const fn set_used(&mut self, used: u64) {
        self.used = used;
    }

    /// Warns once each time that the use has risen to one of the percentages.
    pub(super) fn warn(&mut self) {
        let reached =
            |percent: &u64| u128::from(self.used) * 100 >= u128::from(self.allowed) * u128::from(*percent);
        let level = WARNINGS.into_iter().find(reached).unwrap_or(0);
        if level > self.warned {
            let name = self.name().to_owned();
            metrics::counter!("wharfinger_quota_warnings_total", "quota" => name.clone(), "percent" => level.to_string())
                .increment(1);
            tracing::warn!(
                quota.name = name,
                quota.used = self.used,
                quota.allowed = self.allowed,
                "{level} % of a quota in storage.quotas are used; when all of it is used, pushes are rejected with 403"
            );
        }
        self.warned = level;
    }
}
