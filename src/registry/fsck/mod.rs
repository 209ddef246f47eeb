//! Checks a store that nobody works on: every record, every reference between records, every byte.
//!
//! What is wrong is damage. What a crash left behind, and what waits for the collector, is a leftover: it
//! costs space and nothing else.

mod blobs;
mod bytes;
mod repositories;
mod uploads;

use super::keys::Key;
use super::records::Stored;
use super::{Error, Marking, Registry};
use crate::access::Maintenance;
use serde::Serialize;
use std::collections::HashSet;
use std::fmt;

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something that was acknowledged is lost, or could be.
    Damage,
    /// Of no use, and harmless.
    Leftover,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// Where: the key of a record, or the name of bytes.
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

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    pub blobs: u64,
    pub bytes: u64,
    pub links: u64,
    pub manifests: u64,
    pub tags: u64,
    pub uploads: u64,
}

/// Hears what is found, and how far the check is.
pub trait Progress: Send {
    fn found(&mut self, finding: Finding);
    /// What the check did with the mark of a blob, whose record has this key.
    fn marked(&mut self, key: &str, marking: Marking);
    /// Bytes that were hashed, of all there are.
    fn hashed(&mut self, done: u64, of: u64);
}

impl Registry {
    /// Every manifest, blob, tag, link, upload and index entry, and the hash of all bytes.
    pub async fn check(&self, _: &Maintenance, progress: &mut dyn Progress) -> Result<Checked, Error> {
        self.check_all(false, progress).await
    }

    /// The same. Blobs whose bytes are damaged are marked, so that their next push replaces the bytes. The
    /// mark of those whose bytes are good is cleared.
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
            named: HashSet::new(),
            in_use: HashSet::new(),
        };
        check.to_hash = check.all_bytes().await?;
        check.repositories().await?;
        check.blobs().await?;
        check.links().await?;
        check.uploads().await?;
        check.catalogue().await?;
        check.bytes().await;
        Ok(check.checked)
    }
}

/// A check under way.
struct Check<'a> {
    registry: &'a Registry,
    /// Whether blobs with damaged bytes are marked, and those with good ones not any more.
    marks: bool,
    progress: &'a mut dyn Progress,
    checked: Checked,
    /// Bytes, of all that there are.
    hashed: u64,
    to_hash: u64,
    /// Names of bytes that something refers to.
    named: HashSet<String>,
    /// Repositories with a link or an open upload.
    in_use: HashSet<String>,
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

    /// The record whose turn it is. What cannot be read is damage, and not the end of the check.
    async fn read<T: Stored>(&mut self, key: &Key<T>) -> Option<T> {
        match self.registry.records.read(key).await {
            Ok(found) => found.map(|found| found.record),
            Err(why) => {
                self.damage(key.as_str(), format!("cannot be read: {why}"));
                None
            }
        }
    }

    /// Another record. If it cannot be read, that is told when its turn comes.
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
