//! Typed records over the store. A key determines the type of its record. `TypedStore::change` is the one
//! loop that changes a record.

mod damaged;
mod kept;
mod marks;
mod walk;

pub(super) use kept::{Extract, Room};

use super::Error;
use super::keys::{Key, Prefix};
use super::large::{LARGE, Turn, Turns, worked};
use super::records::{self, More, Stored};
use super::states::{Condemnable, FRESH, Next};
use crate::clock::Timestamp;
use crate::storage::replicas::InUse;
use crate::storage::{self, Failure, Range, RecordStore, Show, Version};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use kept::Kept;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

/// How often a compare-and-swap is tried while other writers change the record.
pub(super) const TRIES: usize = 100;
/// How many keys are listed at once.
const LISTED: usize = 1000;

/// The store's answers to several changes.
type Answers = Vec<Result<Option<Version>, Failure>>;

/// Decodes a record's bytes.
type Decode<T, D> = fn(&Key<T>, &Bytes) -> Result<D, Error>;

/// Cheap to clone. All clones share the cache of decoded records.
#[derive(Clone)]
pub(super) struct TypedStore {
    store: Arc<dyn RecordStore>,
    decoded: Arc<Kept>,
    /// Turns for decoding large records.
    decoding: Turns,
    /// Whether what is written through this handle helps to free space.
    frees: bool,
    /// An older record is written again before a client may rely on it.
    fresh: Duration,
    /// The format of what is written.
    format: InUse,
}

/// A record as it was read.
#[derive(Clone, Debug)]
pub(super) struct Found<T> {
    pub record: T,
    pub version: Version,
    /// When the store accepted it.
    pub written: Timestamp,
    more: More,
}

/// A decoded record, or a part of it.
struct Decoded<D> {
    value: D,
    version: Version,
    written: Timestamp,
    /// The length of the encoded record.
    length: usize,
}

/// What a later write of the record needs: the version to swap from, and the fields to keep.
#[derive(Clone, Debug)]
pub(super) struct Base {
    pub version: Version,
    more: More,
}

impl Base {
    /// A record that this process has just created.
    pub(super) fn created(version: Version) -> Self {
        Self {
            version,
            more: More::default(),
        }
    }

    /// The same record in its next state.
    pub(super) fn at(&self, version: Version) -> Self {
        Self {
            version,
            more: self.more.clone(),
        }
    }
}

impl<T> Found<T> {
    pub(super) fn base(&self) -> Base {
        Base {
            version: self.version.clone(),
            more: self.more.clone(),
        }
    }
}

/// Which state of a record a read returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The present one.
    Present,
    /// One of the last few seconds, if the store keeps that at hand. Only for what a client reads.
    Recent,
}

/// The result of [`TypedStore::judge`].
pub(super) enum Judged {
    /// There is no record, or none that may be deleted.
    Absent,
    /// Something needs the record, so it was restored.
    Needed,
    /// It was deleted.
    Taken,
}

/// The result of one of several changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Changed {
    /// Not done: the record was in another state.
    Lost,
    Deleted,
    Written(Version),
}

/// The error after [`TRIES`] lost tries. Nothing is damaged, and the client may try again.
pub(super) const fn contended() -> Error {
    Error::Storage(Failure::Conflict)
}

/// Repeats an attempt that returned `None` because another writer was faster.
pub(super) async fn until_settled<R, F>(mut attempt: impl FnMut() -> F) -> Result<R, Error>
where
    F: Future<Output = Result<Option<R>, Error>>,
{
    for _ in 0..TRIES {
        if let Some(answer) = attempt().await? {
            return Ok(answer);
        }
    }
    Err(contended())
}

fn unless_conflict<T>(answer: Result<T, Failure>) -> Result<Option<T>, Error> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(Failure::Conflict) => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

impl TypedStore {
    pub(super) fn new(store: Arc<dyn RecordStore>) -> Self {
        Self {
            store,
            decoded: Arc::default(),
            decoding: Turns::new(),
            frees: false,
            fresh: FRESH,
            format: InUse::default(),
        }
    }

    /// The same records, written in this format.
    pub(super) fn with_format(&self, format: &InUse) -> Self {
        Self {
            format: format.clone(),
            ..self.clone()
        }
    }

    /// The same records for collectors with this grace period. A client may rely on an answer for half of it.
    /// Without a grace period no client can rely on any answer.
    pub(super) fn with_grace(&self, grace: Option<Duration>) -> Self {
        let half = grace.filter(|grace| !grace.is_zero()).map(|grace| grace / 2);
        Self {
            fresh: half.map_or(FRESH, |half| half.min(FRESH)),
            ..self.clone()
        }
    }

    /// The same records. Every write through this handle [frees](storage::Value::frees) space, so it works on
    /// a full disk. It is for deletions, for the end of uploads, and for collectors.
    pub(super) fn freeing(&self) -> Self {
        Self {
            frees: true,
            ..self.clone()
        }
    }

    fn encode<T: Stored>(&self, key: &Key<T>, record: &T, more: &More) -> Result<storage::Value, Error> {
        Ok(storage::Value {
            frees: self.frees,
            ..records::encode_in(self.format.get(), key, record, more)?
        })
    }

    /// A change for [`change_all`](Self::change_all) from the state `base` to `record`. Without `base` it creates
    /// the record. Without `record` it deletes it.
    pub(super) fn planned<T: Stored>(
        &self,
        key: &Key<T>,
        base: Option<&Base>,
        record: Option<&T>,
    ) -> Result<storage::Change, Error> {
        let more = base.map(|base| base.more.clone()).unwrap_or_default();
        let value = record.map(|record| self.encode(key, record, &more)).transpose()?;
        Ok(storage::Change {
            key: key.to_string(),
            expected: base.map(|base| base.version.clone()),
            value,
        })
    }

    /// Fails if this process must not change the store now. Makes no request.
    pub(super) fn may_change(&self) -> Result<(), Error> {
        Ok(self.store.may_change()?)
    }

    /// The store's present time.
    pub(super) fn now(&self) -> Timestamp {
        self.store.now()
    }

    /// Whether a record must be written again before a client may rely on it.
    pub(super) fn is_old(&self, written: Timestamp) -> bool {
        self.now().since(written) >= self.fresh
    }

    /// Reads a record that the caller will not change. Uses the cache of decoded records.
    pub(super) async fn look_up<T: Stored>(&self, key: &Key<T>) -> Result<Option<Arc<Found<T>>>, Error> {
        self.look_up_by(Reading::Present, key).await
    }

    /// Like [`look_up`](Self::look_up), for what a client reads. A recent state is returned only if it is
    /// `usable`. Otherwise the present one decides.
    pub(super) async fn look_up_for<T: Stored>(
        &self,
        reading: Reading,
        key: &Key<T>,
        usable: impl Fn(&T) -> bool,
    ) -> Result<Option<Arc<Found<T>>>, Error> {
        let found = self.look_up_by(reading, key).await;
        match &found {
            _ if reading == Reading::Present => found,
            Ok(None) => found,
            Ok(Some(recent)) if usable(&recent.record) => found,
            _ => self.look_up(key).await,
        }
    }

    async fn look_up_by<T: Stored>(
        &self,
        reading: Reading,
        key: &Key<T>,
    ) -> Result<Option<Arc<Found<T>>>, Error> {
        let Some(record) = self.get_by(reading, key).await? else {
            return Ok(None);
        };
        if let Some(known) = self.decoded.get(Room::Large, &record.version) {
            return Ok(Some(known));
        }
        let Some((found, length)) = self.decode_record(key, record, records::decode_checked).await? else {
            return Ok(None);
        };
        let weight = length + found.record.further_bytes();
        Ok(Some(self.decoded.put(
            Room::Large,
            found.version.clone(),
            found,
            weight,
        )))
    }

    /// Like [`look_up`](Self::look_up), for a part of the record.
    pub(super) async fn look_up_as<M: Extract>(&self, key: &Key<M::Record>) -> Result<Option<Arc<M>>, Error> {
        let Some(record) = self.get(key).await? else {
            return Ok(None);
        };
        if let Some(known) = self.decoded.get(M::ROOM, &record.version) {
            return Ok(Some(known));
        }
        let Some(Decoded { value, version, .. }) = self.decode(key, record, M::decode).await? else {
            return Ok(None);
        };
        let weight = value.weight();
        Ok(Some(self.decoded.put(M::ROOM, version, value, weight)))
    }

    /// Also returns the length of the record.
    async fn decode_record<T: Stored>(
        &self,
        key: &Key<T>,
        record: storage::Record,
        decode: Decode<T, (T, More)>,
    ) -> Result<Option<(Found<T>, usize)>, Error> {
        let Some(decoded) = self.decode(key, record, decode).await? else {
            return Ok(None);
        };
        let Decoded {
            version,
            written,
            length,
            ..
        } = decoded;
        let (mut record, more) = decoded.value;
        record.fill_in(written);
        Ok(Some((
            Found {
                record,
                version,
                written,
                more,
            },
            length,
        )))
    }

    /// `None` if the record was deleted while a large one waited for its turn.
    async fn decode<T: Stored, D: Send + 'static>(
        &self,
        key: &Key<T>,
        mut record: storage::Record,
        decode: Decode<T, D>,
    ) -> Result<Option<Decoded<D>>, Error> {
        let mut turn: Turn = None;
        if record.value.len() > LARGE {
            let length = record.value.len();
            // Many requests may wait here, so none holds the bytes.
            drop(record);
            turn = self.decoding.take(length).await;
            match self.get(key).await? {
                Some(again) => record = again,
                None => return Ok(None),
            }
        }
        let storage::Record {
            version,
            value,
            written,
        } = record;
        let key = key.clone();
        let length = value.len();
        let value = worked(length, move || decode(&key, &value)).await??;
        drop(turn);
        Ok(Some(Decoded {
            value,
            version,
            written,
            length,
        }))
    }

    /// Most stores answer without waiting. This gives way to other tasks on the thread when one task reads
    /// thousands of records.
    async fn get<T>(&self, key: &Key<T>) -> Result<Option<storage::Record>, Error> {
        self.get_by(Reading::Present, key).await
    }

    async fn get_by<T>(&self, reading: Reading, key: &Key<T>) -> Result<Option<storage::Record>, Error> {
        tokio::task::consume_budget().await;
        let asked = match reading {
            Reading::Present => self.store.get(key.as_str()),
            Reading::Recent => self.store.get_recent(key.as_str()),
        };
        match asked.await {
            Err(Failure::Lost { what, .. }) => Err(records::lost(key.as_str(), &what)),
            found => Ok(found?),
        }
    }

    pub(super) async fn read<T: Stored>(&self, key: &Key<T>) -> Result<Option<Found<T>>, Error> {
        let Some(record) = self.get(key).await? else {
            return Ok(None);
        };
        Ok(self
            .decode_record(key, record, records::decode)
            .await?
            .map(|(found, _)| found))
    }

    /// `None` if the record exists.
    pub(super) async fn create<T: Stored>(&self, key: &Key<T>, record: &T) -> Result<Option<Version>, Error> {
        unless_conflict(
            self.store
                .create(key.as_str(), self.encode(key, record, &More::default())?)
                .await,
        )
    }

    /// `None` if the record has changed.
    pub(super) async fn swap<T: Stored>(
        &self,
        key: &Key<T>,
        base: &Base,
        record: &T,
    ) -> Result<Option<Version>, Error> {
        unless_conflict(
            self.store
                .swap(key.as_str(), &base.version, self.encode(key, record, &base.more)?)
                .await,
        )
    }

    /// `false` if the record has changed.
    pub(super) async fn delete<T>(&self, key: &Key<T>, expected: &Version) -> Result<bool, Error> {
        Ok(unless_conflict(self.store.delete(key.as_str(), expected).await)?.is_some())
    }

    /// Makes several changes in this order. Each one succeeds or fails alone, and the caller must not need the
    /// result of one to decide on another. The later ones do not happen if an earlier one cannot be written.
    pub(super) async fn change_all(&self, changes: Vec<storage::Change>) -> Result<Vec<Changed>, Error> {
        self.changed(changes, |store, changes| store.change_all(changes))
            .await
    }

    /// Like [`change_all`](Self::change_all), in any order. The store may make the changes at the same time.
    pub(super) async fn change_each(&self, changes: Vec<storage::Change>) -> Result<Vec<Changed>, Error> {
        self.changed(changes, |store, changes| store.change_each(changes))
            .await
    }

    async fn changed(
        &self,
        mut changes: Vec<storage::Change>,
        make: impl FnOnce(&dyn RecordStore, Vec<storage::Change>) -> BoxFuture<'_, Answers>,
    ) -> Result<Vec<Changed>, Error> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        changes
            .iter_mut()
            .filter_map(|change| change.value.as_mut())
            .for_each(|value| value.frees = self.frees);
        let changed = |one: Option<Option<Version>>| {
            one.map_or(Changed::Lost, |version| {
                version.map_or(Changed::Deleted, Changed::Written)
            })
        };
        let done = make(&*self.store, changes).await;
        done.into_iter()
            .map(|one| Ok(changed(unless_conflict(one)?)))
            .collect()
    }

    /// Lets the store remove what it has for its own use: [`RecordStore::sweep`].
    pub(super) async fn sweep(&self, position: &str) -> Result<Option<String>, Error> {
        Ok(self.store.sweep(position).await?)
    }

    /// Reads the record, lets `decide` say what to do, and does it. Starts again if another writer was
    /// faster. Returns the result, and the record's version if there is a record then.
    pub(super) async fn change<T: Stored, R>(
        &self,
        key: &Key<T>,
        mut decide: impl FnMut(Option<Found<T>>) -> Result<Next<T, R>, Error>,
    ) -> Result<(R, Option<Base>), Error> {
        self.change_after(key, |found| ready(decide(found))).await
    }

    /// Like [`change`](Self::change), for a decision that reads something else.
    pub(super) async fn change_after<T: Stored, R, F>(
        &self,
        key: &Key<T>,
        decide: impl FnMut(Option<Found<T>>) -> F,
    ) -> Result<(R, Option<Base>), Error>
    where
        F: Future<Output = Result<Next<T, R>, Error>>,
    {
        self.change_seen(key, None, decide).await
    }

    /// Like [`change_after`](Self::change_after). The first attempt starts from `seen`: a state that was read
    /// before, or the guess that there is no record. A wrong guess costs one more request.
    pub(super) async fn change_seen<T: Stored, R, F>(
        &self,
        key: &Key<T>,
        mut seen: Option<Option<Found<T>>>,
        mut decide: impl FnMut(Option<Found<T>>) -> F,
    ) -> Result<(R, Option<Base>), Error>
    where
        F: Future<Output = Result<Next<T, R>, Error>>,
    {
        for _ in 0..TRIES {
            let found = match seen.take() {
                Some(seen) => seen,
                None => self.read(key).await?,
            };
            let base = found.as_ref().map(Found::base);
            let (record, result) = match decide(found).await? {
                Next::Keep(result) => return Ok((result, base)),
                Next::Delete(result) => match base {
                    Some(base) if !self.delete(key, &base.version).await? => continue,
                    _ => return Ok((result, None)),
                },
                Next::Write(record, result) => (record, Some(result)),
                Next::Again(record) => (record, None),
            };
            let more = base.as_ref().map(|base| base.more.clone()).unwrap_or_default();
            let written = match &base {
                Some(base) => self.swap(key, base, &record).await?,
                None => self.create(key, &record).await?,
            };
            if let (Some(version), Some(result)) = (written, result) {
                return Ok((result, Some(Base { version, more })));
            }
        }
        Err(contended())
    }

    /// Applies a step that makes a record safe to rely on. `step` gets the record and whether it is old. Most
    /// records need no change and are already decoded, so the record is looked up first.
    pub(super) async fn settle<T: Stored + Clone>(
        &self,
        key: &Key<T>,
        step: impl Fn(Option<T>, bool) -> Next<T, bool>,
    ) -> Result<bool, Error> {
        let decide = |found: Option<&Found<T>>| {
            let old = found.is_some_and(|found| self.is_old(found.written));
            step(found.map(|found| found.record.clone()), old)
        };
        if let Next::Keep(there) = decide(self.look_up(key).await?.as_deref()) {
            return Ok(there);
        }
        Ok(self.change(key, |found| Ok(decide(found.as_ref()))).await?.0)
    }

    /// Condemns the record, then calls `needed`, and deletes the record if it is not needed. A writer that
    /// needs it meanwhile finds it condemned and rescues it, so the deletion fails. `may` says whether the
    /// record may be deleted at all. This works on a full disk.
    pub(super) async fn judge<T, F>(
        &self,
        key: &Key<T>,
        may: impl Fn(&T) -> bool,
        needed: impl Fn() -> F,
    ) -> Result<Judged, Error>
    where
        T: Stored + Condemnable,
        F: Future<Output = Result<bool, Error>>,
    {
        let freeing = self.freeing();
        until_settled(|| freeing.judge_once(key, &may, &needed)).await
    }

    async fn judge_once<T, F>(
        &self,
        key: &Key<T>,
        may: &impl Fn(&T) -> bool,
        needed: &impl Fn() -> F,
    ) -> Result<Option<Judged>, Error>
    where
        T: Stored + Condemnable,
        F: Future<Output = Result<bool, Error>>,
    {
        let found = self.read(key).await?.filter(|found| may(&found.record));
        let Some(found) = found else {
            return Ok(Some(Judged::Absent));
        };
        let mut base = found.base();
        let condemned = found.record.condemned();
        // An already condemned record was left by a process that died, or another one is deciding now. The
        // first to write decides.
        if !found.record.is_condemned() {
            match self.swap(key, &base, &condemned).await? {
                Some(version) => base.version = version,
                None => return Ok(None),
            }
        }
        match needed().await {
            Ok(false) => {}
            needed => {
                self.swap(key, &base, &condemned.rescued()).await?;
                return needed.map(|_| Some(Judged::Needed));
            }
        }
        Ok(self.delete(key, &base.version).await?.then_some(Judged::Taken))
    }

    pub(super) async fn is_empty<T>(&self, prefix: &Prefix<T>, show: Show) -> Result<bool, Error> {
        Ok(self
            .store
            .list(Range {
                prefix: prefix.as_str(),
                after: "",
                limit: 1,
                show,
            })
            .await?
            .is_empty())
    }
}
