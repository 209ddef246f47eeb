//! The record with the store's format.

use super::FORMAT_KEY;
use crate::contract::{Failure, RecordStore, Version};
use crate::{STORE_ID, Value};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The format of stores that have no record of it.
pub const FIRST: u8 = 2;

/// The newest format that this program knows.
#[must_use]
pub fn newest() -> u8 {
    // Tests run the debug binary as the next version, whose records differ only in the number.
    #[cfg(debug_assertions)]
    {
        static IS_NEXT: std::sync::LazyLock<bool> =
            std::sync::LazyLock::new(|| std::env::var_os("WHARFINGER_TEST_NEXT_FORMAT").is_some());
        if *IS_NEXT {
            return FIRST + 1;
        }
    }
    FIRST
}

/// The format in which a process writes a store. Clones share it.
#[derive(Clone, Debug)]
pub struct InUse(Arc<AtomicU8>);

impl InUse {
    #[must_use]
    pub fn get(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, format: u8) {
        self.0.store(format, Ordering::Relaxed);
    }
}

impl Default for InUse {
    fn default() -> Self {
        Self(Arc::new(AtomicU8::new(FIRST)))
    }
}

/// Why a process must not use a store.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotUsable {
    #[error(
        "the store has format {format}, and this version of wharfinger supports formats up to {newest}: use the newer version that upgraded it"
    )]
    Newer { format: u8, newest: u8 },
    #[error(
        "an upgrade of the store to format {next} has begun, and this version of wharfinger supports formats up to {newest}: run `wharfinger upgrade` again with the newer version, or use the newer version here too"
    )]
    Upgrading { next: u8, newest: u8 },
    #[error("the record {FORMAT_KEY} of the store cannot be read: {0}")]
    Damaged(String),
    #[error("the format of the store could not be read or written: {0}")]
    Storage(#[from] Failure),
}

/// What the record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Format {
    /// The format that is written now.
    pub(super) format: u8,
    /// The format of an upgrade that has begun and not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<u8>,
}

impl Format {
    pub(super) const fn of(format: u8) -> Self {
        Self { format, next: None }
    }

    pub(super) fn value(self) -> Result<Value, NotUsable> {
        let line = serde_json::to_vec(&self).map_err(|why| NotUsable::Damaged(why.to_string()))?;
        Ok(bytes::Bytes::from(line).into())
    }

    /// Reads the record. `None` if there is none.
    pub(super) async fn read(records: &dyn RecordStore) -> Result<Option<(Self, Version)>, NotUsable> {
        let Some(found) = records.get_stored(FORMAT_KEY).await? else {
            return Ok(None);
        };
        let read = serde_json::from_slice(&found.value).map_err(|why| NotUsable::Damaged(why.to_string()))?;
        Ok(Some((read, found.version)))
    }

    /// Reads the record, and creates it if there is none. A new store begins with the newest format.
    pub(super) async fn read_or_create(
        records: &dyn RecordStore,
        newest: u8,
    ) -> Result<(Self, Version), NotUsable> {
        loop {
            if let Some(found) = Self::read(records).await? {
                return Ok(found);
            }
            let is_new = records.get_stored(STORE_ID).await?.is_none();
            let format = Self::of(if is_new { newest } else { FIRST });
            match records.create(FORMAT_KEY, format.value()?).await {
                Ok(version) => return Ok((format, version)),
                // Another process was faster.
                Err(Failure::Conflict) => {}
                Err(why) => return Err(why.into()),
            }
        }
    }

    /// Whether a process may start that knows formats up to this one.
    pub(super) const fn admits(self, newest: u8) -> Result<(), NotUsable> {
        match self.next {
            _ if self.format > newest => Err(NotUsable::Newer {
                format: self.format,
                newest,
            }),
            Some(next) if next > newest => Err(NotUsable::Upgrading { next, newest }),
            _ => Ok(()),
        }
    }
}
