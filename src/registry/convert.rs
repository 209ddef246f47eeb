//! Converts records of format 1, which no other module knows.
//!
//! What is new in format 2 is derived from the old records: a session's key names its repository, each child
//! of an index gets an entry for the index, a manifest that is being deleted gets a marker, and each tag is
//! at its first event.

use super::Error;
use super::keys::{self, Entry, Key};
use super::records::{self, More, Stored};
use super::states::blob::BlobRecord;
use super::states::link::LinkRecord;
use super::states::manifest::{ManifestHeader, ManifestRecord};
use super::states::mark::Mark;
use super::states::probe::Probe;
use super::states::session::{Session, SessionState};
use super::states::tag::{TagRecord, TagState};
use super::text::Text;
use super::upload_id::{InvalidUploadId, UploadId};
use crate::clock::Timestamp;
use crate::oci::{Algorithm, Digest, InvalidName, RepositoryName};
use crate::storage::local::{Converted, Unconverted};
use crate::storage::{Resume, STORE_ID};
use bytes::Bytes;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use std::time::Duration;

/// Why a record cannot be converted.
#[derive(Debug, thiserror::Error)]
pub enum Unconvertible {
    #[error("no record of format 1 has this key")]
    Key,
    #[error("the value is not one of format 1: {0}")]
    Value(#[from] serde_json::Error),
    #[error("the manifest's header has no end")]
    Header,
    #[error("the upload's repository: {0}")]
    Repository(#[from] InvalidName),
    #[error(transparent)]
    Upload(#[from] InvalidUploadId),
    /// The conversion failed; the record may be valid.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<Unconvertible> for Unconverted {
    fn from(why: Unconvertible) -> Self {
        match why {
            Unconvertible::Failed(why) => Self::Failed(why.into()),
            why => Self::Unreadable(why.into()),
        }
    }
}

/// Whether an unreadable record of format 1 is kept as it is. An upload is dropped: no image needs it, and
/// without its record its repository is unknown.
pub fn keeps(key: &str) -> bool {
    !key.starts_with(UPLOADS)
}

/// The records of format 2 that replace a record of format 1. They keep the time of the old record. If it had
/// none, they get `now`.
pub fn convert(key: &str, value: &Bytes, now: Timestamp) -> Result<Vec<Converted>, Unconvertible> {
    if key == STORE_ID {
        return Ok(vec![Converted {
            key: key.to_owned(),
            value: value.clone().into(),
            written: now,
        }]);
    }
    if let Some(id) = key.strip_prefix(UPLOADS) {
        return Ok(vec![session(&id.parse()?, value, now)?]);
    }
    match Entry::parse(key).ok_or(Unconvertible::Key)? {
        Entry::Own => Ok(vec![written(&keys::probe(), &Probe {}, now)?]),
        Entry::Blob(_) => same::<BlobRecord>(key, value, now),
        Entry::Link(..) => same::<LinkRecord>(key, value, now),
        Entry::Catalog(_) | Entry::BackReference(..) | Entry::Referrer(..) => {
            Ok(vec![mark(key, value, now)?])
        }
        Entry::Manifest(repository, digest) => manifest(&repository, &digest, value, now),
        Entry::Tag(repository, tag) => {
            let old: Old<OldTag> = serde_json::from_slice(value)?;
            let event = UploadId::random()?.to_string();
            let at = old.at(now);
            let OldTag { digest, by } = old.record;
            let record = TagRecord {
                state: TagState::Live,
                digest,
                by,
                at: at.as_millis(),
                seq: 1,
                event,
                previous: None,
            };
            Ok(vec![written(&keys::tag(&repository, &tag), &record, at)?])
        }
        Entry::Upload(..)
        | Entry::Deletion(..)
        | Entry::Usage(_)
        | Entry::Past(..)
        | Entry::Index(..)
        | Entry::Pass
        | Entry::Scrub
        | Entry::StoreUsage
        | Entry::Pulls(..) => Err(Unconvertible::Key),
    }
}

/// Converts a record whose fields are the same in both formats.
fn same<T: Stored + DeserializeOwned>(
    key: &str,
    value: &Bytes,
    now: Timestamp,
) -> Result<Vec<Converted>, Unconvertible> {
    let old: Old<T> = serde_json::from_slice(value)?;
    Ok(vec![written(
        &Key::new(key.to_owned()),
        &old.record,
        old.at(now),
    )?])
}

/// An unreadable entry is replaced. Nothing is lost, because an entry is only a hint.
fn mark(key: &str, value: &Bytes, now: Timestamp) -> Result<Converted, Error> {
    let record = match serde_json::from_slice::<Old<Mark>>(value) {
        Ok(old) => old.record,
        Err(why) => {
            tracing::warn!(
                record.key = key,
                "could not read the entry, so it is rewritten: {why}"
            );
            Mark::LIVE
        }
    };
    written(&Key::new(key.to_owned()), &record, now)
}

fn manifest(
    repository: &RepositoryName,
    digest: &Digest,
    value: &Bytes,
    now: Timestamp,
) -> Result<Vec<Converted>, Unconvertible> {
    let end = value
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or(Unconvertible::Header)?;
    let old: Old<ManifestHeader> = serde_json::from_slice(&value.slice(..end))?;
    let at = old.at(now);
    let record = ManifestRecord {
        header: old.record,
        bytes: value.slice(end + 1..),
    };
    let mut converted = vec![written(&keys::manifest(repository, digest), &record, at)?];
    if record.protects_references() {
        for child in &record.header.manifests {
            converted.push(written(
                &keys::index(repository, &child.0, digest),
                &Mark::LIVE,
                at,
            )?);
        }
    } else {
        converted.push(written(&keys::deletion(repository, digest), &Mark::LIVE, at)?);
    }
    Ok(converted)
}

/// Gives the session the time of its last chunk, so the upload expires when it would have expired before.
fn session(id: &UploadId, value: &Bytes, now: Timestamp) -> Result<Converted, Unconvertible> {
    let old: Old<OldSession> = serde_json::from_slice(value)?;
    let OldSession {
        state,
        repository,
        owner,
        algorithm,
        offset,
        hash,
        expires,
        digest,
    } = old.record;
    let record = Session {
        state,
        owner,
        algorithm,
        offset,
        hash,
        resume: Resume::default(),
        digest,
    };
    let last = Timestamp::from_millis(expires).minus(LIFETIME).min(now);
    Ok(written(&keys::upload(&repository.parse()?, id), &record, last)?)
}

fn written<T: Stored>(key: &Key<T>, record: &T, written: Timestamp) -> Result<Converted, Error> {
    Ok(Converted {
        key: key.to_string(),
        value: records::encode(key, record, &More::default())?,
        written,
    })
}

/// A record of format 1 with its format and, for some kinds of record, the time when it was written.
#[derive(Deserialize)]
struct Old<T> {
    #[serde(rename = "format")]
    _format: Format,
    at: Option<i64>,
    #[serde(flatten)]
    record: T,
}

impl<T> Old<T> {
    /// Never later than `now`. Otherwise a record from a clock that was ahead would not become old for a long
    /// time.
    fn at(&self, now: Timestamp) -> Timestamp {
        self.at.map_or(now, Timestamp::from_millis).min(now)
    }
}

#[derive(Deserialize)]
struct OldTag {
    digest: Text<Digest>,
    by: String,
}

#[derive(Deserialize)]
struct OldSession {
    state: SessionState,
    repository: String,
    owner: String,
    algorithm: Text<Algorithm>,
    offset: u64,
    hash: String,
    expires: i64,
    digest: Option<Text<Digest>>,
}

struct Format;

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            1 => Ok(Self),
            other => Err(D::Error::custom(format_args!(
                "expected record format 1, found {other}"
            ))),
        }
    }
}

/// In format 1, the keys of sessions begin with this and do not name the repository.
const UPLOADS: &str = "u/";
/// How long an upload lived after its last chunk.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
