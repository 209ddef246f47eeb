//! The record of a process that has the store open.

use super::REPLICAS;
use crate::contract::{Failure, Range, RecordStore, Show, Written};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A process that has a store open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// The command, as in `serve`.
    pub command: String,
    /// The version of the program.
    pub version: String,
    pub host: String,
    pub process: u32,
    /// The newest format that it knows.
    pub newest: u8,
}

impl Replica {
    pub(super) fn name(&self) -> String {
        let Self {
            command,
            host,
            process,
            ..
        } = self;
        format!("`wharfinger {command}` on {host} (process {process})")
    }
}

impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            command,
            version,
            host,
            process,
            newest,
        } = self;
        write!(
            f,
            "`wharfinger {command}` {version} on {host} (process {process}), which supports formats up to {newest}"
        )
    }
}

/// The records of all processes, by key.
pub(super) async fn all(records: &dyn RecordStore) -> Result<Vec<Written>, Failure> {
    let mut found: Vec<Written> = Vec::new();
    loop {
        let after = found.last().map(|last| last.key.clone()).unwrap_or_default();
        let page = records
            .list_written(Range {
                prefix: REPLICAS,
                after: &after,
                limit: PAGE,
                show: Show::All,
            })
            .await?;
        let is_last = page.len() < PAGE;
        found.extend(page);
        if is_last {
            return Ok(found);
        }
    }
}

const PAGE: usize = 1000;
