//! Checks a store that no process is serving: every record, every reference between records, and every byte.
//!
//! Lost or wrong content is damage. Remains of a crash, and content that waits for the collector, are
//! leftovers: they only cost space.

mod blobs;
mod bytes;
mod images;
mod repositories;
mod sorter;
mod uploads;

pub use images::BrokenImage;

use super::keys::Key;
use super::records::Stored;
use super::{Error, Marking, Registry};
use crate::access::Maintenance;
use crate::oci::Digest;
use serde::Serialize;
use sorter::Sorter;
use std::collections::HashSet;
use std::fmt;

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Acknowledged content is lost or may be lost.
    Damage,
    /// Not needed and harmless.
    Leftover,
}

/// A problem that the check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// The key of a record or the name of bytes.
    pub key: String,
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Damage => "damage",
            Severity::Leftover => "leftover",
        };
        write!(f, "{severity}: {}: {}", self.key, self.what)
    }
}

/// How much was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    pub blobs: u64,
    pub bytes: u64,
    pub links: u64,
    pub manifests: u64,
    pub tags: u64,
    pub uploads: u64,
}

/// Receives the findings and the progress of a check.
pub trait Progress: Send {
    fn found(&mut self, finding: Finding);
    /// Called when the check set, cleared or could not decide the damage mark of the blob whose record has
    /// this key.
    fn marked(&mut self, key: &str, marking: Marking);
    /// Called at the end for each image that a client must push again.
    fn must_be_pushed(&mut self, _: &BrokenImage) {}
    /// How many bytes have been hashed, and how many there are.
    fn hashed(&mut self, done: u64, of: u64);
}

impl Registry {
    /// Checks every manifest, blob, tag, link, upload and index entry, and hashes all bytes.
    pub async fn check(&self, _: &Maintenance, progress: &mut dyn Progress) -> Result<Checked, Error> {
        self.check_all(false, progress).await
    }

    /// Like [`check`](Self::check), and also marks each blob whose bytes are damaged, so that the next push
    /// replaces them. Clears the mark of each blob whose bytes are good.
    pub async fn check_and_mark(
        &self,
        _: &Maintenance,
        progress: &mut dyn Progress,
    ) -> Result<Checked, Error> {
        self.check_all(true, progress).await
    }

    async fn check_all(&self, marks: bool, progress: &mut dyn Progress) -> Result<Checked, Error> {
        let mut check = Check {
            registry: self,
            marks,
            progress,
            checked: Checked::default(),
            hashed: 0,
            to_hash: 0,
            named: Sorter::new(self.settings.scratch.clone()),
            in_use: Sorter::new(self.settings.scratch.clone()),
            damaged_blobs: HashSet::new(),
            damaged_manifests: HashSet::new(),
        };
        check.to_hash = check.all_bytes().await?;
        check.repositories().await?;
        check.blobs().await?;
        check.links().await?;
        check.uploads().await?;
        check.catalogue().await?;
        check.bytes().await?;
        check.images().await?;
        Ok(check.checked)
    }
}

/// A check under way.
struct Check<'a> {
    registry: &'a Registry,
    /// Whether to set and clear damage marks.
    marks: bool,
    progress: &'a mut dyn Progress,
    checked: Checked,
    /// How many bytes have been hashed, and how many there are to hash.
    hashed: u64,
    to_hash: u64,
    /// Names of bytes, each with the key of a record that has it.
    named: Sorter,
    /// Repositories with a link or an open upload, as in their keys. A repository may occur many times.
    in_use: Sorter,
    damaged_blobs: HashSet<Digest>,
    /// The keys of the manifests that are damaged or lack something.
    damaged_manifests: HashSet<String>,
}

impl Check<'_> {
    fn damage(&mut self, key: &str, what: impl Into<String>) {
        self.progress.found(Finding {
            severity: Severity::Damage,
            key: key.to_owned(),
            what: what.into(),
        });
    }

    fn leftover(&mut self, key: &str, what: impl Into<String>) {
        self.progress.found(Finding {
            severity: Severity::Leftover,
            key: key.to_owned(),
            what: what.into(),
        });
    }

    /// Reads the record that is being checked. An unreadable record is reported as damage, and the check
    /// continues.
    async fn read<T: Stored>(&mut self, key: &Key<T>) -> Option<T> {
        match self.registry.records.read(key).await {
            Ok(found) => found.map(|found| found.record),
            Err(why) => {
                self.damage(key.as_str(), format!("cannot be read: {why}"));
                None
            }
        }
    }

    /// Reads another record. If it is unreadable, that is reported when it is checked itself.
    async fn look<T: Stored>(&self, key: &Key<T>) -> Option<T> {
        self.registry
            .records
            .read(key)
            .await
            .ok()
            .flatten()
            .map(|found| found.record)
    }
}
