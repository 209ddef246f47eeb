//! The parts of a manifest that are needed for lists. Caching these instead of whole manifests saves memory.

use super::Error;
use super::keys::Key;
use super::records;
use super::states::manifest::ManifestRecord;
use super::typed_store::{Extract, Room};
use crate::oci::{Annotations, Digest};
use bytes::Bytes;

/// The annotations of a header that is longer than this are not cached.
const SHORT: usize = 8 * 1024;

/// Enough to decide whether a manifest is listed.
pub(super) struct Listed {
    /// The size of the record in bytes.
    pub(super) length: usize,
    /// `None` if the manifest has no subject or cannot be read by clients yet.
    pub(super) referring: Option<Referring>,
}

/// A manifest with a subject.
pub(super) struct Referring {
    pub(super) subject: Digest,
    pub(super) media_type: String,
    /// The size of the manifest in bytes.
    pub(super) size: u64,
    pub(super) artifact_type: Option<String>,
    /// `None` if the header is long. Then the annotations are read only for an answer that includes them.
    pub(super) annotations: Option<Annotations>,
}

impl Extract for Listed {
    type Record = ManifestRecord;
    const ROOM: Room = Room::Small;

    fn decode(key: &Key<ManifestRecord>, value: &Bytes) -> Result<Self, Error> {
        let (ManifestRecord { header, bytes }, whole) = records::decode_brief(key, value, SHORT)?;
        let readable = header.state.is_readable();
        let referring = header.subject.filter(|_| readable).map(|subject| Referring {
            subject: subject.0,
            media_type: header.media_type,
            size: bytes.len() as u64,
            artifact_type: header.artifact_type,
            annotations: whole.then_some(header.annotations),
        });
        Ok(Self {
            length: value.len(),
            referring,
        })
    }

    fn weight(&self) -> usize {
        self.referring.as_ref().map_or(0, |referring| {
            let types = referring.media_type.len() + referring.artifact_type.as_ref().map_or(0, String::len);
            referring.subject.as_str().len()
                + types
                + referring.annotations.as_ref().map_or(0, Annotations::len)
        })
    }
}

impl Listed {
    /// `None` if the manifest has another subject or artifact type.
    pub(super) fn wanted(&self, subject: &Digest, artifact_type: Option<&str>) -> Option<&Referring> {
        let is_wanted = |text: Option<&str>| artifact_type.is_none_or(|wanted| text == Some(wanted));
        let referring = self
            .referring
            .as_ref()
            .filter(|referring| referring.subject == *subject);
        referring.filter(|referring| is_wanted(referring.artifact_type.as_deref()))
    }
}

/// The annotations of a manifest with a long header. The content was already compared with the digest when
/// [`Listed`] was made.
pub(super) struct Annotated(pub(super) Annotations);

impl Extract for Annotated {
    type Record = ManifestRecord;
    const ROOM: Room = Room::Large;

    fn decode(key: &Key<ManifestRecord>, value: &Bytes) -> Result<Self, Error> {
        Ok(Self(records::decode(key, value)?.0.header.annotations))
    }

    fn weight(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Manifest;
    use crate::registry::hashing::digest_of;
    use crate::registry::{keys, records};
    use serde_json::json;

    /// The record of a referrer with these types and annotations.
    fn written(artifact_type: &str, note: &str) -> (Key<ManifestRecord>, Bytes, ManifestRecord) {
        let digest = digest_of(crate::oci::Algorithm::Sha256, b"x");
        let manifest = json!({
            "schemaVersion": 2, "artifactType": artifact_type, "annotations": {"note": note}, "layers": [],
            "config": {"digest": digest.as_str(), "size": 1}, "subject": {"digest": digest.as_str(), "size": 1},
        });
        let bytes = Bytes::from(manifest.to_string());
        let key = keys::manifest(
            &"a".parse().unwrap(),
            &digest_of(crate::oci::Algorithm::Sha256, &bytes),
        );
        let record = ManifestRecord::pending(&Manifest::parse(None, &bytes).unwrap(), bytes).committed();
        let value = records::encode(&key, &record, &records::More::default())
            .unwrap()
            .bytes;
        (key, value, record)
    }

    #[test]
    fn long_annotations_are_left_out_and_read_when_they_are_needed() {
        for (length, whole) in [(10, true), (2 * SHORT, false)] {
            let (key, value, record) = written("a/type", &"n".repeat(length));
            let listed = Listed::decode(&key, &value).unwrap();
            assert_eq!(listed.length, value.len());
            let referring = listed
                .wanted(&record.header.subject.clone().unwrap().0, Some("a/type"))
                .unwrap();
            assert_eq!(
                (&referring.media_type, referring.size),
                (&record.header.media_type, record.bytes.len() as u64)
            );
            assert_eq!(
                referring.annotations,
                whole.then_some(record.header.annotations.clone())
            );
            assert!(listed.weight() < SHORT);
            assert_eq!(
                Annotated::decode(&key, &value).unwrap().0,
                record.header.annotations
            );
        }
    }

    #[test]
    fn the_weight_includes_every_cached_text() {
        let weight = |artifact_type: &str, note: &str| {
            let (key, value, _) = written(artifact_type, note);
            (
                Listed::decode(&key, &value).unwrap().weight(),
                Annotated::decode(&key, &value).unwrap().weight(),
            )
        };
        let (listed, annotated) = weight("t", "n");
        assert_eq!(weight(&"t".repeat(5001), "n"), (listed + 5000, annotated));
        assert_eq!(weight("t", &"n".repeat(5001)), (listed + 5000, annotated + 5000));
        assert_eq!(
            weight(&"t".repeat(50_001), "n").0,
            listed + 50_000 - annotated,
            "its annotations are not cached"
        );
    }

    #[test]
    fn only_committed_manifests_with_the_right_content_are_listed() {
        let (key, _, record) = written("a/type", "n");
        for (readable, record) in [(true, record.clone()), (false, record.dying())] {
            let value = records::encode(&key, &record, &records::More::default())
                .unwrap()
                .bytes;
            assert_eq!(
                Listed::decode(&key, &value).unwrap().referring.is_some(),
                readable
            );
        }
        let other = ManifestRecord {
            bytes: Bytes::from_static(b"{}"),
            ..record
        };
        let value = records::encode(&key, &other, &records::More::default())
            .unwrap()
            .bytes;
        assert!(Listed::decode(&key, &value).is_err_and(|why| why.is_damage()));
    }
}
