//! Updates readiness when the state of the store changes.

use super::every;
use crate::app::store::Store;
use crate::http::{Readiness, StorageStanding};
use crate::registry::Registry;
use std::sync::Arc;
use std::time::Duration;

/// Never ends.
pub(super) async fn watch_storage(registry: Registry, ready: Arc<Readiness>, patience: Patience) {
    let mut ticks = every(patience.every);
    let mut failures: u32 = 0;
    let mut worked = true;
    let mut had_room = true;
    loop {
        ticks.tick().await;
        let checked = tokio::time::timeout(patience.answers_within, registry.check_storage()).await;
        let (standing, why) = match checked {
            Ok(Ok(None)) => (StorageStanding::Works, None),
            Ok(Ok(Some(full))) => {
                if had_room {
                    tracing::error!("pushes are refused, but pulls and deletions work: {full}");
                }
                (StorageStanding::Full, None)
            }
            Ok(Err(why)) => (
                StorageStanding::Fails {
                    folder: why.unwritable_folder(),
                },
                Some(why.to_string()),
            ),
            Err(_) => (
                StorageStanding::Fails { folder: None },
                Some(format!("no answer within {:?}", patience.answers_within)),
            ),
        };
        failures = if why.is_some() {
            failures.saturating_add(1)
        } else {
            0
        };
        if let Some(why) = &why
            && failures < patience.failures
        {
            tracing::warn!("a check of the storage failed, and the registry stays ready for now: {why}");
            continue;
        }
        match &why {
            Some(why) if worked => tracing::error!("not ready, because the storage fails: {why}"),
            None if !worked => tracing::info!("the storage works again"),
            _ => {}
        }
        let has_room = standing != StorageStanding::Full;
        if has_room && !had_room {
            tracing::info!("the storage has room again and accepts pushes");
        }
        ready.storage(standing);
        (worked, had_room) = (why.is_none(), has_room);
    }
}

/// How often a store is checked, and when it counts as failing.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    every: Duration,
    /// A check that takes longer has failed.
    answers_within: Duration,
    /// How many checks must fail one after the other.
    failures: u32,
}

impl Patience {
    pub(super) const fn with(store: &Store) -> Self {
        match store.folder() {
            Some(_) => Self::FOLDER,
            None => Self::BUCKET,
        }
    }

    /// A disk that fails once has failed.
    const FOLDER: Self = Self {
        every: Duration::from_secs(2),
        answers_within: Duration::from_secs(20),
        failures: 1,
    };
    /// A service on the network may lose or delay a request. All replicas use the same one, so a single lost
    /// request must not take a replica out.
    const BUCKET: Self = Self {
        every: Duration::from_secs(5),
        answers_within: Duration::from_secs(10),
        failures: 3,
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::Memory;
    use crate::storage::{BlobStore, Failure};
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use tokio::time::timeout;
    use wharfinger_testkit::{Hook, Hooked, Request};

    /// Decides about each check, and notes whether the registry is ready when one begins.
    struct Fate {
        fails: Mutex<VecDeque<bool>>,
        ready: Arc<Readiness>,
        seen: Mutex<Vec<bool>>,
    }

    impl Hook for Fate {
        async fn before(&self, request: Request<'_>) -> Result<(), Failure> {
            if !matches!(request, Request::Probe) {
                return Ok(());
            }
            self.seen.lock().unwrap().push(self.ready.check().is_ok());
            match self.fails.lock().unwrap().pop_front() {
                Some(true) => Err(Failure::Io(Arc::new(std::io::Error::other("timed out")))),
                _ => Ok(()),
            }
        }
    }

    /// Whether the registry is ready after each check.
    async fn ready_after(patience: Patience, fails: &[bool]) -> Vec<bool> {
        let ready = Arc::new(Readiness::default());
        ready.serves(true);
        let fate = Fate {
            fails: Mutex::new(fails.iter().copied().collect()),
            ready: ready.clone(),
            seen: Mutex::default(),
        };
        let memory = Arc::new(Memory::new());
        let bytes = Hooked::over(memory.clone() as Arc<dyn BlobStore>, fate);
        let registry = Registry::new(memory, bytes.clone());
        let all = patience.every * u32::try_from(fails.len()).unwrap() + patience.every / 2;
        assert!(
            timeout(all, watch_storage(registry, ready, patience))
                .await
                .is_err()
        );
        let seen = bytes.hook.seen.lock().unwrap();
        // The first check began before any other had ended.
        seen.iter().skip(1).copied().collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_folder_that_fails_once_and_a_bucket_that_fails_several_times_are_not_ready() {
        assert_eq!(ready_after(Patience::FOLDER, &[true, false]).await, [false, true]);
        let fails = [true, true, false, true, true, true, true, false];
        let ready = [true, true, true, true, true, false, false, true];
        assert_eq!(ready_after(Patience::BUCKET, &fails).await, ready);
    }
}
