//! Converts an older store at the start. The store knows its tables, and the registry knows how to convert a
//! record.

use crate::clock::{Clock, Timestamp};
use crate::config::Mistake;
use crate::registry;
use crate::storage::local::{self, Convert, Converted, Unconverted};
use bytes::Bytes;
use std::path::Path;
use std::time::Duration;

/// Converts the store in this folder if it has an older format. This may take minutes. If this future is
/// dropped, the process must end, and the next start continues the conversion.
pub(super) async fn convert_store(folder: &Path, clock: &Clock) -> Result<(), Mistake> {
    let folder = folder.to_owned();
    let clock = clock.clone();
    let converting = tokio::task::spawn_blocking(move || {
        let now = clock.now();
        local::convert(
            &folder,
            now,
            &mut Records {
                now,
                clock,
                said: now,
            },
        )
    });
    let why = match converting.await {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(why)) => why.to_string(),
        Err(why) => format!("the conversion of the store panicked, which is a bug; please report it: {why}"),
    };
    Err(Mistake::new("storage.rootDirectory", why))
}

struct Records {
    /// When the conversion began.
    now: Timestamp,
    clock: Clock,
    /// When the log last showed progress.
    said: Timestamp,
}

impl Convert for Records {
    fn convert(&mut self, key: &str, value: &Bytes) -> Result<Vec<Converted>, Unconverted> {
        Ok(registry::convert(key, value, self.now)?)
    }

    fn keeps(&self, key: &str) -> bool {
        registry::keeps_unconverted(key)
    }

    fn progress(&mut self, done: u64, of: u64) {
        let now = self.clock.now();
        if now.since(self.said) >= SAY_EVERY {
            tracing::info!(records.done = done, records.total = of, "converting the store");
            self.said = now;
        }
    }
}

const SAY_EVERY: Duration = Duration::from_secs(5);
