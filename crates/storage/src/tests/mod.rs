//! The contract as tests that every implementation passes, and what each implementation guarantees beyond it.

/// Generates a test for each implementation from each `async fn rule(store: Arc<impl Store>)`, from each
/// `async fn rule(place: impl Place)`, which can open a store several times, and from each
/// `async fn rule(place: impl Timed)`, which can move its clock.
macro_rules! contract {
    (
        stores: [$($rule:ident),* $(,)?],
        places: [$($opened:ident),* $(,)?],
        timed: [$($moved:ident),* $(,)?] $(,)?
    ) => {
        contract!(in memory = InMemory, stores: [$($rule),*], places: [$($opened),* $(, $moved)*]);
        contract!(in local = InFolder, stores: [$($rule),*], places: [$($opened),* $(, $moved)*]);
        contract!(in fake = InFake, stores: [$($rule),*], places: [$($opened),*]);
        contract!(in order = InOrder, stores: [$($rule),*], places: [$($opened),*]);
        contract!(in moto = InMoto, stores: [$($rule),*], places: [$($opened),*]);
        contract!(in seaweedfs = InSeaweedFs, stores: [$($rule),*], places: [$($opened),*]);
    };
    (in $name:ident = $place:ident, stores: [$($rule:ident),*], places: [$($opened:ident),*]) => {
        mod $name {
            use $crate::tests::{Place, $place};
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                if let Some(place) = $place::new() {
                    super::$rule(place.open().await).await;
                }
            })*
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $opened() {
                if let Some(place) = $place::new() {
                    super::$opened(place).await;
                }
            })*
        }
    };
}

pub(crate) mod buckets;
mod bytes;
mod faults;
mod lists;
mod local;
mod memory;
mod parts;
mod records;
mod together;
mod tombstones;

use self::buckets::{InFake, InMoto, InOrder, InSeaweedFs};
use super::local::{Local, Settings};
use super::memory::Memory;
use super::{
    Answer, BlobFile, BlobStore, Change, Failure, Range, Record, RecordStore, Resume, Show, Value, Version,
    Written,
};
use ::bytes::Bytes;
use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use wharfinger_base::clock::{Clock, ManualClock, Timestamp};

const NAME: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "01zzzzzzzzzzzzzzzzzzzzzzzzzzzzzz";

/// The [`Resume`] before anything was kept.
static NEW: Resume = Resume(String::new());

/// The place of a store.
trait Place {
    type Store: RecordStore + BlobStore + 'static;

    /// Opens the store again, as another process does after the first has ended.
    async fn open(&self) -> Arc<Self::Store>;
}

/// A place whose clock the test moves.
trait Timed: Place {
    /// Moves the store's clock.
    fn hand(&self) -> &ManualClock;
}

struct InMemory(Arc<Memory>, ManualClock);

struct InFolder(tempfile::TempDir, Clock, ManualClock);

fn clock() -> (Clock, ManualClock) {
    Clock::manual(Timestamp::from_millis(1_800_000_000_123))
}

impl InMemory {
    #[expect(
        clippy::unnecessary_wraps,
        reason = "other places need a program that may be missing"
    )]
    fn new() -> Option<Self> {
        let (clock, hand) = clock();
        Some(Self(Arc::new(Memory::with_clock(clock)), hand))
    }
}

impl InFolder {
    #[expect(
        clippy::unnecessary_wraps,
        reason = "other places need a program that may be missing"
    )]
    fn new() -> Option<Self> {
        let (clock, hand) = clock();
        Some(Self(tempfile::tempdir().unwrap(), clock, hand))
    }
}

impl Place for InMemory {
    type Store = Memory;

    async fn open(&self) -> Arc<Memory> {
        self.0.clone()
    }
}

impl Timed for InMemory {
    fn hand(&self) -> &ManualClock {
        &self.1
    }
}

impl Place for InFolder {
    type Store = Local;

    async fn open(&self) -> Arc<Local> {
        let settings = Settings {
            clock: self.1.clone(),
            ..Settings::default()
        };
        Arc::new(Local::open_with(self.0.path(), settings).unwrap())
    }
}

impl Timed for InFolder {
    fn hand(&self) -> &ManualClock {
        &self.2
    }
}

fn value_of(text: &'static str) -> Value {
    Bytes::from_static(text.as_bytes()).into()
}

fn hidden(text: &'static str) -> Value {
    Value {
        hidden: true,
        ..value_of(text)
    }
}

/// The visible keys of a range.
async fn list(store: &impl RecordStore, prefix: &str, after: &str, limit: usize) -> Vec<String> {
    store
        .list(Range {
            prefix,
            after,
            limit,
            show: Show::Visible,
        })
        .await
        .unwrap()
}

fn text(value: &'static str) -> Bytes {
    Bytes::from_static(value.as_bytes())
}

fn is_conflict<T: Debug>(result: Result<T, Failure>) -> bool {
    matches!(result, Err(Failure::Conflict))
}

fn is_missing<T>(result: Result<T, Failure>) -> bool {
    matches!(result, Err(Failure::Missing))
}

async fn value(store: &impl RecordStore, key: &str) -> Option<Bytes> {
    store.get(key).await.unwrap().map(|record| record.value)
}

/// Ignores the bytes.
fn write<'a>(store: &'a impl BlobStore, name: &'a str, offset: u64, chunks: Vec<Bytes>) -> Answer<'a, ()> {
    write_on(store, name, offset, &NEW, chunks)
}

/// The same with the [`Resume`] that [`BlobStore::keep`] returned.
fn write_on<'a>(
    store: &'a impl BlobStore,
    name: &'a str,
    offset: u64,
    resume: &'a Resume,
    chunks: Vec<Bytes>,
) -> Answer<'a, ()> {
    store.write(name, offset, resume, chunks, Box::new(|_| ()))
}

async fn all(store: &impl BlobStore, name: &str) -> Vec<u8> {
    all_of(&*store.open(name).await.unwrap()).await
}

async fn all_of(file: &dyn BlobFile) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let part = file.read(bytes.len() as u64, 7).await.unwrap();
        if part.is_empty() {
            assert_eq!(bytes.len() as u64, file.size());
            return bytes;
        }
        bytes.extend_from_slice(&part);
    }
}
