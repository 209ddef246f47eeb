//! The format of records: a first line of JSON that every record has, then the record as a line of JSON,
//! then, for a manifest, its bytes.
//!
//! The first line has the format's number and a nonce that is new for every write, so no two states of a
//! record have the same bytes. Later versions may add fields there. This version keeps the fields under
//! `more` when it writes the record again. It rejects a record with anything under `critical`, because it
//! knows none of those features. `docs/design/records.md` has the details.

use super::error::Error;
use super::hashing;
use super::keys::{self, Key};
use super::states::blob::BlobRecord;
use super::states::lease::LeaseRecord;
use super::states::link::LinkRecord;
use super::states::manifest::{BriefHeader, ManifestRecord, ManifestState};
use super::states::mark::Mark;
use super::states::pass::PassRecord;
use super::states::probe::Probe;
use super::states::pulls::{PullRecord, PullsBegan};
use super::states::scrub::ScrubRecord;
use super::states::session::Session;
use super::states::tag::{TagRecord, TagState};
use super::states::usage::UsageRecord;
use crate::clock::Timestamp;
use crate::oci::{Algorithm, Digest};
use crate::storage::{Failure, Value, replicas};
use bytes::Bytes;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt::Display;
use std::sync::Arc;

/// A type that is kept as a record.
pub(super) trait Stored: Sized + Send + Sync + 'static {
    /// Appends everything after the first line.
    fn encode(&self, into: &mut Vec<u8>) -> Result<(), serde_json::Error>;
    fn decode(value: &Bytes) -> Result<Self, serde_json::Error>;

    /// Whether lists omit it.
    fn is_hidden(&self) -> bool {
        false
    }

    /// The memory that it needs in addition to the bytes that it was read from.
    fn further_bytes(&self) -> usize {
        0
    }

    /// Whether the content matches the key.
    fn belongs_to(&self, _key: &str) -> bool {
        true
    }

    /// Fills in what an earlier version did not record. `_written` is the time at which the store accepted the
    /// record.
    fn fill_in(&mut self, _written: Timestamp) {}
}

/// A record that is only JSON.
pub(super) trait Json: Serialize + DeserializeOwned + Send + Sync + 'static {
    fn is_hidden(&self) -> bool {
        false
    }

    /// As in [`Stored`].
    fn fill_in(&mut self, _written: Timestamp) {}
}

impl<T: Json> Stored for T {
    fn encode(&self, into: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        serde_json::to_writer(into, self)
    }

    fn decode(value: &Bytes) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(value)
    }

    fn is_hidden(&self) -> bool {
        Json::is_hidden(self)
    }

    fn fill_in(&mut self, written: Timestamp) {
        Json::fill_in(self, written);
    }
}

/// A manifest is written as a line with its header, then its bytes as they were pushed.
impl Stored for ManifestRecord {
    fn encode(&self, into: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        let mut header = serde_json::to_vec(&self.header)?;
        into.reserve_exact(header.len() + self.header.annotations.appended_len() + 1 + self.bytes.len());
        into.append(&mut header);
        self.header.annotations.append_to(into);
        into.push(b'\n');
        into.extend_from_slice(&self.bytes);
        Ok(())
    }

    fn decode(value: &Bytes) -> Result<Self, serde_json::Error> {
        let (header, bytes) = first_line(value)?;
        Ok(Self {
            header: serde_json::from_slice(&header)?,
            bytes,
        })
    }

    fn is_hidden(&self) -> bool {
        matches!(self.header.state, ManifestState::Pend | ManifestState::Dying)
    }

    fn further_bytes(&self) -> usize {
        self.header_bytes()
    }

    fn belongs_to(&self, key: &str) -> bool {
        match keys::Entry::parse(key) {
            Some(keys::Entry::Manifest(_, digest)) if self.protects_references() => {
                hashing::digest_of(digest.algorithm(), &self.bytes) == digest
            }
            _ => true,
        }
    }

    fn fill_in(&mut self, written: Timestamp) {
        self.header.pushed = Some(self.first_push(written).as_millis());
    }
}

impl Json for BlobRecord {}
impl Json for LeaseRecord {}
impl Json for LinkRecord {}
impl Json for Mark {}
impl Json for PassRecord {}
impl Json for Probe {}
impl Json for PullRecord {}
impl Json for ScrubRecord {}
impl Json for Session {}
impl Json for UsageRecord {}

impl Json for PullsBegan {
    fn fill_in(&mut self, written: Timestamp) {
        self.since = Some(self.began(written).as_millis());
    }
}

impl Json for TagRecord {
    fn is_hidden(&self) -> bool {
        self.state == TagState::Deleted
    }
}

/// The line that every record begins with.
#[derive(Serialize, Deserialize)]
struct Head {
    format: Format,
    nonce: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    critical: Vec<String>,
    #[serde(default, skip_serializing_if = "More::is_none")]
    more: More,
}

/// Fields of a later version, which this one keeps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct More(Option<serde_json::Map<String, serde_json::Value>>);

impl More {
    fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

/// The format's number. This version reads every format from the first one of shared stores to the newest that
/// it knows, because after an upgrade a store has records of both. Other numbers are rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
struct Format(u8);

/// Whether this version reads records of this format.
fn is_known(format: u64) -> bool {
    (u64::from(replicas::FIRST)..=u64::from(replicas::newest())).contains(&format)
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        match u8::try_from(number) {
            Ok(format) if is_known(number) => Ok(Self(format)),
            _ => Err(D::Error::custom(format_args!(
                "expected record format {}, found {number}",
                replicas::newest()
            ))),
        }
    }
}

/// Turns the error for an unreadable record into `None` and logs it. Returns all other errors.
pub(super) fn unless_unreadable<T>(read: Result<T, Error>) -> Result<Option<T>, Error> {
    match read {
        Err(why @ Error::Unreadable { .. }) => {
            tracing::error!("{why}");
            Ok(None)
        }
        read => read.map(Some),
    }
}

fn unreadable(key: &str, why: impl Display, newer: bool) -> Error {
    Error::Unreadable {
        key: key.to_owned(),
        why: why.to_string(),
        newer,
    }
}

/// The error for a record whose value is lost.
pub(super) fn lost(key: &str, what: &str) -> Error {
    unreadable(key, what, false)
}

fn unwritable(why: serde_json::Error) -> Error {
    Error::Storage(Failure::Io(Arc::new(why)))
}

/// Encodes a record with a new nonce, in the first format.
pub(super) fn encode<T: Stored>(key: &Key<T>, record: &T, more: &More) -> Result<Value, Error> {
    encode_in(replicas::FIRST, key, record, more)
}

/// Encodes a record with a new nonce.
pub(super) fn encode_in<T: Stored>(format: u8, _: &Key<T>, record: &T, more: &More) -> Result<Value, Error> {
    let head = Head {
        format: Format(format),
        nonce: format!("{:016x}", fastrand::u64(..)),
        critical: Vec::new(),
        more: more.clone(),
    };
    let mut bytes = serde_json::to_vec(&head).map_err(unwritable)?;
    bytes.push(b'\n');
    record.encode(&mut bytes).map_err(unwritable)?;
    Ok(Value {
        bytes: bytes.into(),
        hidden: record.is_hidden(),
        frees: false,
    })
}

/// The bytes of the record after `change`, with the same first line. So they follow from the record alone. Fails if
/// the content does not match the key.
pub(super) fn rewritten<T: Stored + Clone + PartialEq>(
    key: &Key<T>,
    value: &Bytes,
    change: impl FnOnce(&mut T),
) -> Result<Bytes, Error> {
    let (before, _) = decode_checked(key, value)?;
    let mut record = before.clone();
    change(&mut record);
    if record == before {
        return Ok(value.clone());
    }
    let (head, _) = first_line(value).map_err(unwritable)?;
    let mut bytes = head.to_vec();
    bytes.push(b'\n');
    record.encode(&mut bytes).map_err(unwritable)?;
    Ok(bytes.into())
}

pub(super) fn decode<T: Stored>(key: &Key<T>, value: &Bytes) -> Result<(T, More), Error> {
    read(value).map_err(|why| unreadable(key.as_str(), why, is_newer(value)))
}

/// Like [`decode`], but also fails if the content does not match the key. For a manifest, this computes the
/// digest.
pub(super) fn decode_checked<T: Stored>(key: &Key<T>, value: &Bytes) -> Result<(T, More), Error> {
    let (record, more) = decode(key, value)?;
    Ok((belonging(key, record)?, more))
}

/// Decodes only the part of a manifest's record that lists need. If the header is longer than `most`, the
/// annotations are skipped. Returns whether they are included. Fails if the content does not match the key.
pub(super) fn decode_brief(
    key: &Key<ManifestRecord>,
    value: &Bytes,
    most: usize,
) -> Result<(ManifestRecord, bool), Error> {
    let brief = || {
        let (header, bytes) = first_line(&rest(value)?.1)?;
        let short = header.len() <= most;
        let header = if short {
            serde_json::from_slice(&header)?
        } else {
            serde_json::from_slice::<BriefHeader>(&header)?.into()
        };
        Ok((ManifestRecord { header, bytes }, short))
    };
    let (record, short) =
        brief().map_err(|why: serde_json::Error| unreadable(key.as_str(), why, is_newer(value)))?;
    belonging(key, record).map(|record| (record, short))
}

fn belonging<T: Stored>(key: &Key<T>, record: T) -> Result<T, Error> {
    if T::belongs_to(&record, key.as_str()) {
        Ok(record)
    } else {
        Err(unreadable(
            key.as_str(),
            "its content does not match its digest",
            false,
        ))
    }
}

/// Whether the first line is complete and says that this version cannot read the record.
fn is_newer(value: &Bytes) -> bool {
    #[derive(Deserialize)]
    struct FirstLine {
        format: u64,
        #[serde(default)]
        critical: Vec<String>,
    }
    let said = first_line(value)
        .ok()
        .and_then(|(head, _)| serde_json::from_slice::<FirstLine>(&head).ok());
    said.is_some_and(|said| !is_known(said.format) || !said.critical.is_empty())
}

fn read<T: Stored>(value: &Bytes) -> Result<(T, More), serde_json::Error> {
    let (more, rest) = rest(value)?;
    Ok((T::decode(&rest)?, more))
}

/// Returns everything after the first line.
fn rest(value: &Bytes) -> Result<(More, Bytes), serde_json::Error> {
    let (head, rest) = first_line(value)?;
    let head: Head = serde_json::from_slice(&head)?;
    match head.critical.first() {
        Some(name) => Err(serde_json::Error::custom(format_args!(
            "it needs `{name}`, which this version does not know"
        ))),
        None => Ok((head.more, rest)),
    }
}

fn first_line(value: &Bytes) -> Result<(Bytes, Bytes), serde_json::Error> {
    let end = value
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or_else(|| serde_json::Error::custom("its first line is not complete"))?;
    Ok((value.slice(..end), value.slice(end + 1..)))
}

/// The hash of a tag's record, which the next event refers to.
pub(super) fn hash(record: &TagRecord) -> Digest {
    // A record of text and numbers can always be written.
    hashing::digest_of(Algorithm::Sha256, &serde_json::to_vec(record).unwrap_or_default())
}

/// For the fuzzer: decodes the value, encodes it and decodes it again, and returns whether the record is the
/// same. `None` if the value is not a record of this type.
pub(super) fn survives<T: Stored + PartialEq>(value: &Bytes) -> Option<bool> {
    let (record, more) = read::<T>(value).ok()?;
    let key = Key::<T>::new(String::new());
    let again = encode(&key, &record, &more).and_then(|written| decode::<T>(&key, &written.bytes));
    Some(again.is_ok_and(|again| again == (record, more)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Manifest;

    fn mark(head: &str) -> Result<(Mark, More), serde_json::Error> {
        read(&Bytes::from(format!("{head}\n{{\"state\":\"live\"}}")))
    }

    #[test]
    fn a_record_of_another_format_is_rejected() {
        assert!(mark(r#"{"format":2,"nonce":"1"}"#).is_ok());
        let other = mark(r#"{"format":3,"nonce":"1"}"#).unwrap_err();
        assert!(
            other.to_string().starts_with("expected record format 2, found 3"),
            "{other}"
        );
        assert!(read::<Mark>(&Bytes::from_static(br#"{"format":1,"state":"live"}"#)).is_err());
    }

    #[test]
    fn fields_of_a_later_version_are_kept_and_critical_ones_are_rejected() {
        let key = Key::<Mark>::new("k".to_owned());
        let (record, more) = mark(r#"{"format":2,"nonce":"1","more":{"later":[1,{"a":"b"}]}}"#).unwrap();
        let written = encode(&key, &record, &more).unwrap().bytes;
        let text = String::from_utf8(written.to_vec()).unwrap();
        assert!(text.contains(r#""more":{"later":[1,{"a":"b"}]}"#), "{text}");
        let refused = mark(r#"{"format":2,"nonce":"1","critical":["lease"]}"#).unwrap_err();
        assert!(
            refused
                .to_string()
                .starts_with("it needs `lease`, which this version does not know"),
            "{refused}"
        );
    }

    #[test]
    fn no_two_writes_of_a_record_have_the_same_bytes() {
        let key = Key::<Mark>::new("k".to_owned());
        let written = || encode(&key, &Mark::LIVE, &More::default()).unwrap().bytes;
        assert_ne!(written(), written());
    }

    #[test]
    fn a_manifest_keeps_its_exact_bytes_and_is_hidden_while_pending_or_dying() {
        let bytes = Bytes::from_static(b"{ \"schemaVersion\": 2,\n\n\"manifests\": [] }\n");
        let record = ManifestRecord::pending(&Manifest::parse(None, &bytes).unwrap(), bytes.clone());
        let key = Key::<ManifestRecord>::new("k".to_owned());
        for (state, hidden) in [
            (ManifestState::Pend, true),
            (ManifestState::Com, false),
            (ManifestState::Cond, false),
            (ManifestState::Dying, true),
        ] {
            let record = record.clone().in_state(state);
            let written = encode(&key, &record, &More::default()).unwrap();
            assert_eq!(written.hidden, hidden, "{state:?}");
            let (again, _) = decode(&key, &written.bytes).unwrap();
            assert_eq!((&again, &again.bytes), (&record, &bytes));
        }
    }
}
