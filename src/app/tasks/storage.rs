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
    let mut checks: u32 = 0;
    loop {
        ticks.tick().await;
        // A read that succeeds proves nothing about a write that has failed.
        let writes = failures > 0 || checks.is_multiple_of(patience.writes_every);
        checks = checks.wrapping_add(1);
        let check = async {
            if writes {
                registry.check_storage().await
            } else {
                registry.check_reading().await.map(|()| None)
            }
        };
        let checked = tokio::time::timeout(patience.answers_within, check).await;
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
    /// One in this many checks also writes. The others only read.
    writes_every: u32,
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
        writes_every: 1,
        answers_within: Duration::from_secs(20),
        failures: 1,
    };
    /// A service on the network may lose or delay a request. All replicas use the same one, so a single lost
    /// request must not take a replica out. A cloud charges for each request, and ten times as much for writes.
    const BUCKET: Self = Self {
        every: Duration::from_secs(5),
        writes_every: 12,
        answers_within: Duration::from_secs(10),
        failures: 3,
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::Memory;
    use crate::storage::{BlobStore, Failure, RecordStore};
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
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
        let always_writes = Patience {
            writes_every: 1,
            ..Patience::BUCKET
        };
        assert_eq!(ready_after(always_writes, &fails).await, ready);
        // After a failure, each check writes until one succeeds.
        assert_eq!(ready_after(Patience::BUCKET, &fails[3..7]).await, ready[3..7]);
    }

    /// Counts reads and changes of records.
    #[derive(Default)]
    struct Counted {
        reads: AtomicUsize,
        changes: AtomicUsize,
    }

    impl Hook for Counted {
        async fn before(&self, request: Request<'_>) -> Result<(), Failure> {
            let counter = match request {
                Request::Get(_) => &self.reads,
                Request::Change(_) => &self.changes,
                _ => return Ok(()),
            };
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_is_read_every_five_seconds_and_written_once_a_minute() {
        let memory = Arc::new(Memory::new());
        let records = Hooked::over(memory.clone() as Arc<dyn RecordStore>, Counted::default());
        let registry = Registry::new(records.clone(), memory);
        let ready = Arc::new(Readiness::default());
        let two_minutes = Duration::from_secs(119);
        let watching = watch_storage(registry, ready, Patience::BUCKET);
        assert!(timeout(two_minutes, watching).await.is_err());
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        let Counted { reads, changes } = &*records.hook;
        assert_eq!((count(reads), count(changes)), (24, 2 * 2));
    }
}
