//! A manifest: a header as JSON, and the pushed bytes, so that a pull reads one record.

use super::super::text::Text;
use super::{Condemnable, Next};
use crate::clock::Timestamp;
use crate::oci::{Annotations, Digest, Manifest, Referred};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::registry) struct ManifestRecord {
    pub header: ManifestHeader,
    pub bytes: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::registry) struct ManifestHeader {
    pub state: ManifestState,
    pub media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Text<Digest>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Kept only for a manifest with a subject, since only referrers are listed with them.
    /// They are the last member of the record.
    #[serde(default, skip_serializing)]
    pub annotations: Annotations,
    pub blobs: Vec<Text<Digest>>,
    pub manifests: Vec<Text<Digest>>,
    /// It was accepted in a sparse repository, so content that it refers to may be missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sparse: bool,
    /// The time of the first push in milliseconds since the epoch, by the store's clock, for retention. A
    /// later push of the same manifest does not change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed: Option<i64>,
}

/// The part of a header that lists need. The rest is skipped and takes no memory.
#[derive(Deserialize)]
pub(in crate::registry) struct BriefHeader {
    state: ManifestState,
    media_type: String,
    subject: Option<Text<Digest>>,
    artifact_type: Option<String>,
}

impl From<BriefHeader> for ManifestHeader {
    fn from(
        BriefHeader {
            state,
            media_type,
            subject,
            artifact_type,
        }: BriefHeader,
    ) -> Self {
        let annotations = Annotations::default();
        Self {
            state,
            media_type,
            subject,
            artifact_type,
            annotations,
            blobs: Vec::new(),
            manifests: Vec::new(),
            sparse: false,
            pushed: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::registry) enum ManifestState {
    /// Being pushed. Collectors keep what it refers to, but readers do not see it.
    Pend,
    Com,
    Cond,
    /// Deleted, but some of its tags may remain. Readers and collectors ignore it. A push replaces it.
    Dying,
}

impl ManifestState {
    pub(in crate::registry) const fn is_readable(self) -> bool {
        matches!(self, Self::Com | Self::Cond)
    }
}

/// What a push of a manifest finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::registry) enum Found {
    /// It is announced, by this push or an earlier one.
    Pending(ManifestRecord),
    /// It is already committed.
    Committed(ManifestRecord),
}

impl ManifestRecord {
    pub(in crate::registry) fn pending(manifest: &Manifest, bytes: Bytes) -> Self {
        let texts = |referred: &[Referred]| {
            let digests: BTreeSet<&Digest> = referred.iter().map(|referred| &referred.digest).collect();
            digests.into_iter().cloned().map(Text).collect()
        };
        let header = ManifestHeader {
            state: ManifestState::Pend,
            media_type: manifest.media_type.as_str().to_owned(),
            artifact_type: manifest.artifact_type.clone(),
            annotations: if manifest.subject.is_some() {
                manifest.annotations.clone()
            } else {
                Annotations::default()
            },
            subject: manifest
                .subject
                .as_ref()
                .map(|subject| Text(subject.digest.clone())),
            blobs: texts(&manifest.blobs),
            manifests: texts(&manifest.manifests),
            sparse: false,
            pushed: None,
        };
        Self { header, bytes }
    }

    /// The record of a manifest whose content is unknown.
    pub(in crate::registry) fn unknown() -> Self {
        let header = BriefHeader {
            state: ManifestState::Pend,
            media_type: String::new(),
            subject: None,
            artifact_type: None,
        }
        .into();
        Self {
            header,
            bytes: Bytes::new(),
        }
    }

    pub(in crate::registry) const fn sparse(mut self, sparse: bool) -> Self {
        self.header.sparse = sparse;
        self
    }

    /// When it was first pushed. If the record lacks this time, it is regarded as pushed when it was last
    /// `written`.
    pub(in crate::registry) fn first_push(&self, written: Timestamp) -> Timestamp {
        self.header.pushed.map_or(written, Timestamp::from_millis)
    }

    pub(in crate::registry) const fn pushed_at(mut self, pushed: Option<i64>) -> Self {
        self.header.pushed = pushed;
        self
    }

    pub(in crate::registry) const fn is_readable(&self) -> bool {
        self.header.state.is_readable()
    }

    /// Whether the content it refers to must stay: the manifest is pending, committed or condemned, but not
    /// dying.
    pub(in crate::registry) fn protects_references(&self) -> bool {
        self.header.state != ManifestState::Dying
    }

    pub(in crate::registry) fn needs_blob(&self, digest: &Digest) -> bool {
        self.protects_references()
            && (self.header.blobs.iter().any(|blob| blob.0 == *digest) || self.embeds(digest))
    }

    /// Whether it carries the blob as `data`. Versions up to 0.1 left such a blob out of the header.
    fn embeds(&self, digest: &Digest) -> bool {
        let named = std::str::from_utf8(&self.bytes).is_ok_and(|text| text.contains(digest.as_str()));
        let parsed = named
            .then(|| Manifest::parse(Some(&self.header.media_type), &self.bytes).ok())
            .flatten();
        parsed.is_some_and(|manifest| {
            manifest
                .blobs
                .iter()
                .any(|blob| blob.embedded && blob.digest == *digest)
        })
    }

    pub(in crate::registry) fn lists(&self, child: &Digest) -> bool {
        self.protects_references() && self.header.manifests.iter().any(|listed| listed.0 == *child)
    }

    /// Whether the header agrees with the bytes.
    pub(in crate::registry) fn says(&self, manifest: &Manifest) -> bool {
        let own = &self.header;
        let read = Self::pending(manifest, Bytes::new()).header;
        // A child of an index whose media type is not a manifest's may be recorded as either kind. Earlier
        // versions left out embedded content.
        let kept: BTreeSet<&Digest> = own
            .blobs
            .iter()
            .chain(&own.manifests)
            .map(|kept| &kept.0)
            .collect();
        let mut needed: BTreeSet<&Digest> = read
            .blobs
            .iter()
            .chain(&read.manifests)
            .map(|needed| &needed.0)
            .collect();
        for embedded in manifest
            .referred()
            .filter(|referred| referred.embedded && !kept.contains(&referred.digest))
        {
            needed.remove(&embedded.digest);
        }
        kept == needed
            && (&own.media_type, &own.subject, &own.artifact_type)
                == (&read.media_type, &read.subject, &read.artifact_type)
            && own.annotations.say_the_same_as(&read.annotations)
    }

    /// The memory that its header needs in addition to the record's own bytes.
    pub(in crate::registry) fn header_bytes(&self) -> usize {
        let one = |digest: &Text<Digest>| size_of::<Digest>() + digest.0.as_str().len();
        let header = &self.header;
        let types = header.media_type.len() + header.artifact_type.as_ref().map_or(0, String::len);
        types
            + header.annotations.len()
            + header
                .blobs
                .iter()
                .chain(&header.manifests)
                .map(one)
                .sum::<usize>()
    }

    /// Announces a push, so that collectors keep what the manifest refers to. A committed manifest that is
    /// `old` is written again.
    pub(in crate::registry) fn announce(found: Option<Self>, pushed: &Self, old: bool) -> Next<Self, Found> {
        match found {
            None => Next::Write(pushed.clone(), Found::Pending(pushed.clone())),
            // Both have the same digest in their key, so the stored bytes are damaged.
            Some(found) if found.is_readable() && found.bytes != pushed.bytes => {
                let repaired = pushed.committed().pushed_at(found.header.pushed);
                Next::Write(repaired.clone(), Found::Committed(repaired))
            }
            Some(found) => match found.header.state {
                ManifestState::Pend => Next::Keep(Found::Pending(found)),
                ManifestState::Com if !old => Next::Keep(Found::Committed(found)),
                ManifestState::Com | ManifestState::Cond => {
                    Next::Write(found.rescued(), Found::Committed(found.rescued()))
                }
                ManifestState::Dying => Next::Write(pushed.clone(), Found::Pending(pushed.clone())),
            },
        }
    }

    /// The record of a complete push.
    pub(in crate::registry) fn committed(&self) -> Self {
        self.clone().in_state(ManifestState::Com)
    }

    /// Keeps the manifest because an index or a tag is about to refer to it. Returns whether it is there.
    pub(in crate::registry) fn hold(found: Option<Self>) -> Next<Self, bool> {
        match found {
            Some(found) if found.header.state == ManifestState::Com => Next::Keep(true),
            Some(found) if found.is_condemned() => Next::Write(found.rescued(), true),
            _ => Next::Keep(false),
        }
    }

    /// Like [`hold`](Self::hold), for a client that is about to learn that the manifest exists. An `old`
    /// record is written again.
    pub(in crate::registry) fn rely(found: Option<Self>, old: bool) -> Next<Self, bool> {
        match found {
            Some(found) if found.header.state == ManifestState::Com && old => Next::Write(found, true),
            other => Self::hold(other),
        }
    }

    /// Deletes it. The deletion still needs the header, but not the bytes.
    pub(in crate::registry) fn dying(&self) -> Self {
        Self {
            bytes: Bytes::new(),
            header: self.header.clone(),
        }
        .in_state(ManifestState::Dying)
    }

    pub(in crate::registry) fn in_state(mut self, state: ManifestState) -> Self {
        self.header.state = state;
        self
    }
}

impl Condemnable for ManifestRecord {
    fn is_condemned(&self) -> bool {
        self.header.state == ManifestState::Cond
    }

    fn condemned(&self) -> Self {
        self.clone().in_state(ManifestState::Cond)
    }

    fn rescued(&self) -> Self {
        self.committed()
    }
}

#[cfg(test)]
mod tests {
    use super::ManifestState::{Com, Cond, Dying, Pend};
    use super::*;

    fn pushed() -> ManifestRecord {
        let bytes = Bytes::from_static(br#"{"schemaVersion":2,"manifests":[]}"#);
        ManifestRecord::pending(&Manifest::parse(None, &bytes).unwrap(), bytes)
    }

    fn found(state: ManifestState) -> ManifestRecord {
        if state == Dying {
            pushed().dying()
        } else {
            pushed().in_state(state)
        }
    }

    #[test]
    fn announcing() {
        let announced = || Next::Write(pushed(), Found::Pending(pushed()));
        let there = || Found::Committed(found(Com));
        for (state, next, next_when_old) in [
            (None, announced(), announced()),
            (
                Some(Pend),
                Next::Keep(Found::Pending(found(Pend))),
                Next::Keep(Found::Pending(found(Pend))),
            ),
            (Some(Com), Next::Keep(there()), Next::Write(found(Com), there())),
            (
                Some(Cond),
                Next::Write(found(Com), there()),
                Next::Write(found(Com), there()),
            ),
            (Some(Dying), announced(), announced()),
        ] {
            assert_eq!(
                ManifestRecord::announce(state.map(found), &pushed(), false),
                next,
                "{state:?}"
            );
            assert_eq!(
                ManifestRecord::announce(state.map(found), &pushed(), true),
                next_when_old,
                "{state:?}"
            );
        }
        for state in [Com, Cond] {
            let damaged = ManifestRecord {
                bytes: Bytes::from_static(b"{"),
                ..found(state)
            };
            assert_eq!(
                ManifestRecord::announce(Some(damaged), &pushed(), false),
                Next::Write(found(Com), there()),
                "{state:?}"
            );
        }
    }

    #[test]
    fn the_time_of_the_first_push_stays_until_the_manifest_is_deleted() {
        let again = pushed().pushed_at(Some(9));
        for (state, old, expected) in [
            (Com, true, Some(5)),
            (Cond, false, Some(5)),
            (Dying, false, Some(9)),
        ] {
            let first = found(state).pushed_at(Some(5));
            let Next::Write(written, _) = ManifestRecord::announce(Some(first.clone()), &again, old) else {
                panic!("{state:?} is written")
            };
            assert_eq!(written.header.pushed, expected, "{state:?}");
            if state != Dying {
                let damaged = ManifestRecord {
                    bytes: Bytes::from_static(b"{"),
                    ..first
                };
                let Next::Write(written, _) = ManifestRecord::announce(Some(damaged), &again, old) else {
                    panic!("{state:?} is repaired")
                };
                assert_eq!(written.header.pushed, expected, "{state:?}");
            }
        }
        let first = found(Com).pushed_at(Some(5));
        for next in [
            ManifestRecord::rely(Some(first.clone()), true),
            ManifestRecord::hold(Some(first.condemned())),
        ] {
            let Next::Write(written, _) = next else {
                panic!("it is written")
            };
            assert_eq!(written.header.pushed, Some(5));
        }
    }

    /// The push may still be rejected.
    #[test]
    fn announcing_keeps_a_record_of_an_earlier_version() {
        let bytes = Bytes::from_static(br#"{"schemaVersion":2,"config":{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#);
        let pushed = ManifestRecord::pending(&Manifest::parse(None, &bytes).unwrap(), bytes);
        let mut earlier = pushed.committed();
        earlier.header.blobs.clear();
        assert_eq!(
            ManifestRecord::announce(Some(earlier.clone()), &pushed, false),
            Next::Keep(Found::Committed(earlier))
        );
    }

    #[test]
    fn the_weight_includes_every_text_of_the_header() {
        let mut record = pushed();
        let before = record.header_bytes();
        record.header.artifact_type = Some("a".repeat(5000));
        assert_eq!(record.header_bytes(), before + 5000);
    }

    #[test]
    fn holding_and_relying() {
        for (state, hold, rely_when_old) in [
            (None, Next::Keep(false), Next::Keep(false)),
            (Some(Pend), Next::Keep(false), Next::Keep(false)),
            (Some(Com), Next::Keep(true), Next::Write(found(Com), true)),
            (
                Some(Cond),
                Next::Write(found(Com), true),
                Next::Write(found(Com), true),
            ),
            (Some(Dying), Next::Keep(false), Next::Keep(false)),
        ] {
            assert_eq!(ManifestRecord::hold(state.map(found)), hold, "{state:?}");
            assert_eq!(ManifestRecord::rely(state.map(found), false), hold, "{state:?}");
            assert_eq!(
                ManifestRecord::rely(state.map(found), true),
                rely_when_old,
                "{state:?}"
            );
        }
    }

    #[test]
    fn which_states_protect_references_and_which_are_readable() {
        for (state, protects, readable) in [
            (Pend, true, false),
            (Com, true, true),
            (Cond, true, true),
            (Dying, false, false),
        ] {
            assert_eq!(
                (found(state).protects_references(), found(state).is_readable()),
                (protects, readable),
                "{state:?}"
            );
        }
        assert!(found(Dying).bytes.is_empty());
        assert_eq!(found(Com).condemned().rescued(), found(Com));
    }
}
