//! What the records say. Each is JSON with a format number, and carries the states of the collector's protocol: a writer announces
//! itself (`pend`), a collector condemns (`cond`) before it looks and decides, and a writer who meets a condemned record rescues it.

use super::hashing::digest_of;
use super::keys;
use crate::clock::Timestamp;
use crate::oci::{Digest, Manifest};
use bytes::Bytes;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

/// Something that is kept as a record.
pub(super) trait Stored: Sized {
    fn encode(&self) -> Result<Bytes, serde_json::Error>;
    fn decode(value: &Bytes) -> Result<Self, serde_json::Error>;

    /// Whether it is what lies under this key, as far as the key tells.
    fn belongs_to(&self, _key: &str) -> bool {
        true
    }
}

/// A record that is JSON and nothing else.
pub(super) trait Json: Serialize + DeserializeOwned {}

impl<T: Json> Stored for T {
    fn encode(&self) -> Result<Bytes, serde_json::Error> {
        serde_json::to_vec(self).map(Bytes::from)
    }

    fn decode(value: &Bytes) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(value)
    }
}

/// The format of all records of this version: the number 1, and nothing else is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format;

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            1 => Ok(Self),
            other => Err(D::Error::custom(format_args!("expected record format 1, found {other}"))),
        }
    }
}

/// Kept as its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text<T>(pub(super) T);

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Text).map_err(D::Error::custom)
    }
}

/// Where a digest's bytes lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BlobRecord {
    pub format: Format,
    pub state: BlobState,
    /// The name of the bytes.
    pub generation: String,
    pub size: u64,
    /// Names of bytes that were replaced and wait for the collector.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trash: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum BlobState {
    Live,
    Cond,
    /// The bytes are being removed.
    Dying,
}

impl BlobRecord {
    /// Whether the bytes `name` are, or were, the blob's: they are not the upload's that wrote them any more.
    pub(super) fn has(&self, name: &str) -> bool {
        self.generation == name || self.trash.iter().any(|replaced| replaced == name)
    }
}

/// A repository may serve a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LinkRecord {
    pub format: Format,
    pub state: LinkState,
    /// Absent until the link has been live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    pub size: u64,
    pub at: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LinkState {
    /// Somebody is about to publish the blob for this repository.
    Pend,
    Live,
    Cond,
}

impl LinkRecord {
    pub(super) const fn pending(now: Timestamp) -> Self {
        Self { format: Format, state: LinkState::Pend, generation: None, size: 0, at: now.as_millis() }
    }

    pub(super) const fn live(generation: String, size: u64, now: Timestamp) -> Self {
        Self { format: Format, state: LinkState::Live, generation: Some(generation), size, at: now.as_millis() }
    }

    /// Nothing condemns it, and no collector will think of it soon.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        self.state != LinkState::Cond && now.since(Timestamp::from_millis(self.at)) < FRESH
    }

    pub(super) fn refreshed(self, now: Timestamp) -> Self {
        Self { at: now.as_millis(), ..self.rescued() }
    }

    /// In the state in which it was condemned.
    pub(super) fn rescued(self) -> Self {
        let state = if self.generation.is_some() { LinkState::Live } else { LinkState::Pend };
        Self { state, ..self }
    }
}

/// Half of the time after which a collector takes what nothing refers to: so long, at least, somebody who was told that a blob is here
/// may rely on it.
const FRESH: Duration = Duration::from_secs(12 * 60 * 60);

/// A manifest: this header as a line of JSON, then the bytes as they came, so that one read serves a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ManifestRecord {
    pub header: ManifestHeader,
    pub bytes: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ManifestHeader {
    pub format: Format,
    pub state: ManifestState,
    pub media_type: String,
    pub at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Text<Digest>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Of a manifest with a subject only: nobody else's are listed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    pub blobs: Vec<Text<Digest>>,
    pub manifests: Vec<Text<Digest>>,
    /// It was accepted where manifests may lack what they refer to.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sparse: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ManifestState {
    /// Being pushed: collectors count it, readers do not see it.
    Pend,
    Com,
    Cond,
    /// Deleted, and its tags may not all be gone yet. Nobody sees or counts it; a push begins anew on top of it.
    Dying,
}

impl ManifestRecord {
    pub(super) fn pending(manifest: Manifest, bytes: Bytes, now: Timestamp) -> Self {
        let texts = |mut digests: Vec<Digest>| {
            digests.sort_unstable();
            digests.dedup();
            digests.into_iter().map(Text).collect()
        };
        let header = ManifestHeader {
            format: Format,
            state: ManifestState::Pend,
            media_type: manifest.media_type.as_str().to_owned(),
            at: now.as_millis(),
            artifact_type: manifest.artifact_type,
            annotations: if manifest.subject.is_some() { manifest.annotations } else { BTreeMap::new() },
            subject: manifest.subject.map(Text),
            blobs: texts(manifest.blobs),
            manifests: texts(manifest.manifests),
            sparse: false,
        };
        Self { header, bytes }
    }

    pub(super) const fn sparse(mut self, sparse: bool) -> Self {
        self.header.sparse = sparse;
        self
    }

    pub(super) fn is_readable(&self) -> bool {
        matches!(self.header.state, ManifestState::Com | ManifestState::Cond)
    }

    /// Whether the header says what is read in the bytes.
    pub(super) fn says(&self, manifest: &Manifest) -> bool {
        let read = Self::pending(manifest.clone(), Bytes::new(), Timestamp::from_millis(self.header.at)).sparse(self.header.sparse);
        read.in_state(self.header.state).header == self.header
    }

    /// Committed, condemned or being pushed: what it needs must stay.
    pub(super) fn counts(&self) -> bool {
        self.header.state != ManifestState::Dying
    }

    /// Deleted. Its header is still needed, its bytes are not.
    pub(super) fn dying(self) -> Self {
        Self { bytes: Bytes::new(), ..self.in_state(ManifestState::Dying) }
    }

    pub(super) fn in_state(mut self, state: ManifestState) -> Self {
        self.header.state = state;
        self
    }
}

impl Stored for ManifestRecord {
    fn encode(&self) -> Result<Bytes, serde_json::Error> {
        let mut value = serde_json::to_vec(&self.header)?;
        value.push(b'\n');
        value.extend_from_slice(&self.bytes);
        Ok(value.into())
    }

    fn decode(value: &Bytes) -> Result<Self, serde_json::Error> {
        let end = value.iter().position(|byte| *byte == b'\n').ok_or_else(|| serde_json::Error::custom("the header does not end"))?;
        Ok(Self { header: serde_json::from_slice(&value.slice(..end))?, bytes: value.slice(end + 1..) })
    }

    fn belongs_to(&self, key: &str) -> bool {
        match keys::Entry::parse(key) {
            Some(keys::Entry::Manifest(_, digest)) if self.counts() => digest_of(digest.algorithm(), &self.bytes) == digest,
            _ => true,
        }
    }
}

/// What a tag points at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TagRecord {
    pub format: Format,
    pub digest: Text<Digest>,
    /// Who moved it last.
    pub by: String,
    pub at: i64,
}

/// An entry of an index: a back reference, a referrer, a repository of the catalogue. What it leads to is the truth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub format: Format,
    pub state: MarkState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum MarkState {
    Live,
    Cond,
}

impl Json for BlobRecord {}
impl Json for LinkRecord {}
impl Json for TagRecord {}
impl Json for Mark {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_another_format_is_not_read() {
        assert!(Mark::decode(&Bytes::from_static(br#"{"format":1,"state":"live"}"#)).is_ok());
        let other = Mark::decode(&Bytes::from_static(br#"{"format":2,"state":"live"}"#)).unwrap_err();
        assert!(other.to_string().starts_with("expected record format 1, found 2"), "{other}");
    }

    #[test]
    fn a_manifest_keeps_its_exact_bytes() {
        let bytes = Bytes::from_static(b"{ \"schemaVersion\": 2,\n\n\"manifests\": [] }\n");
        let manifest = Manifest::parse(None, &bytes).unwrap();
        let record = ManifestRecord::pending(manifest, bytes.clone(), Timestamp::from_secs(1));
        let again = ManifestRecord::decode(&record.encode().unwrap()).unwrap();
        assert_eq!(again, record);
        assert_eq!(again.bytes, bytes);
    }
}
