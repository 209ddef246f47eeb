//! The registry's own transitions, for the small records of the model. Each small record is converted to a
//! real one, the real transition is applied, and the result is converted back.

use super::super::states;
pub(super) use super::super::states::Next;
use super::super::states::blob::{BlobRecord, BlobState as RealBlobState, Own};
use super::super::states::link::{Announced as RealAnnounced, LinkRecord, LinkState as RealLinkState};
use super::super::states::manifest::{Found as RealFound, ManifestHeader, ManifestRecord, ManifestState};
use super::super::states::mark::{Mark as RealMark, MarkState};
use super::super::states::tag::{Event, TagRecord, TagState};
use super::super::text::Text;
use super::values::{Blob, BlobState, Link, LinkState, Manifest, Mark, Tag};
use crate::oci::{Algorithm, Annotations, Digest};
use bytes::Bytes;
use std::sync::LazyLock;

/// A small record, and the real one that it stands for.
pub(super) trait Small: Copy {
    type Real;

    fn real(self) -> Self::Real;
    fn of(real: &Self::Real) -> Self;
}

fn small<T: Small, R, S>(next: Next<T::Real, R>, result: impl FnOnce(R) -> S) -> Next<T, S> {
    match next {
        Next::Keep(found) => Next::Keep(result(found)),
        Next::Write(record, found) => Next::Write(T::of(&record), result(found)),
        Next::Delete(found) => Next::Delete(result(found)),
        Next::Again(record) => Next::Again(T::of(&record)),
    }
}

/// A record that is condemned before an actor checks whether it may be deleted, and rescued by an actor that
/// needs it.
pub(super) trait Condemnable: Small {
    fn is_condemned(self) -> bool;
    fn condemned(self) -> Self;
    fn rescued(self) -> Self;
}

impl<T: Small<Real: states::Condemnable>> Condemnable for T {
    fn is_condemned(self) -> bool {
        states::Condemnable::is_condemned(&self.real())
    }

    fn condemned(self) -> Self {
        Self::of(&states::Condemnable::condemned(&self.real()))
    }

    fn rescued(self) -> Self {
        Self::of(&states::Condemnable::rescued(&self.real()))
    }
}

pub(super) enum Announced {
    Pending { new: bool },
    Live { generation: u8 },
}

pub(super) fn announce_link(found: Option<Link>) -> Next<Link, Announced> {
    small(
        LinkRecord::announce(found.map(Small::real)),
        |announced| match announced {
            RealAnnounced::Pending { new } => Announced::Pending { new },
            RealAnnounced::Live { generation, .. } => Announced::Live {
                generation: number(&generation),
            },
        },
    )
}

pub(super) fn hold_link(found: Option<Link>) -> Next<Link, bool> {
    small(LinkRecord::hold(found.map(Small::real)), |held| held)
}

pub(super) fn rely_on_link(found: Option<Link>, old: bool) -> Next<Link, bool> {
    small(LinkRecord::rely(found.map(Small::real), old), |held| held)
}

/// Returns the generation that the blob has afterwards, and whether this step published `own`.
pub(super) fn settle_blob(found: Option<Blob>, own: Option<u8>) -> Next<Blob, Option<(u8, bool)>> {
    let own = own.map(|own| Own {
        name: own.to_string(),
        size: 0,
    });
    let usable = found.is_some_and(Blob::is_usable);
    small(
        BlobRecord::settle(found.map(Small::real), true, own.as_ref()),
        |settled| settled.map(|blob| (number(&blob.generation), !usable)),
    )
}

pub(super) fn suspect_blob(found: Option<Blob>, name: u8) -> Next<Blob, bool> {
    small(
        BlobRecord::suspected(found.map(Small::real), &name.to_string()),
        |suspected| suspected,
    )
}

pub(super) fn clear_blob(found: Option<Blob>, name: u8) -> Next<Blob, bool> {
    small(
        BlobRecord::cleared(found.map(Small::real), &name.to_string()),
        |cleared| cleared,
    )
}

pub(super) enum Found {
    Pending,
    Committed,
}

pub(super) fn announce_manifest(found: Option<Manifest>, old: bool) -> Next<Manifest, Found> {
    small(
        ManifestRecord::announce(found.map(Small::real), &Manifest::Pend.real(), old),
        |found| match found {
            RealFound::Pending(_) => Found::Pending,
            RealFound::Committed(_) => Found::Committed,
        },
    )
}

pub(super) fn hold_manifest(found: Option<Manifest>) -> Next<Manifest, bool> {
    small(ManifestRecord::hold(found.map(Small::real)), |held| held)
}

pub(super) fn rely_on_manifest(found: Option<Manifest>, old: bool) -> Next<Manifest, bool> {
    small(ManifestRecord::rely(found.map(Small::real), old), |held| held)
}

pub(super) fn want_mark(found: Option<Mark>) -> Next<Mark, ()> {
    small(RealMark::wanted(found.map(Small::real)), |()| ())
}

/// Also returns the manifest at which the tag pointed before, if it was another one.
pub(super) fn put_tag(found: Option<Tag>, manifest: u8, event: u8) -> Next<Tag, Option<u8>> {
    let put = TagRecord::put(
        found.map(Small::real),
        &DIGESTS[usize::from(manifest)],
        &written_by(event),
        hash,
    );
    small(put, |previous| previous.as_ref().map(digested))
}

pub(super) fn delete_tag(found: Tag, event: u8) -> Next<Tag, bool> {
    small(
        TagRecord::deleted(found.real(), &written_by(event), hash),
        |deleted| deleted,
    )
}

impl Blob {
    pub(super) fn is_usable(self) -> bool {
        self.real().is_usable()
    }
}

impl Manifest {
    pub(super) fn is_readable(self) -> bool {
        self.real().is_readable()
    }

    pub(super) fn protects_references(self) -> bool {
        self.real().protects_references()
    }

    pub(super) fn committed(self) -> Self {
        Self::of(&self.real().committed())
    }

    pub(super) fn dying(self) -> Self {
        Self::of(&self.real().dying())
    }
}

impl Small for Blob {
    type Real = BlobRecord;

    fn real(self) -> BlobRecord {
        let state = match self.state {
            BlobState::Live => RealBlobState::Live,
            BlobState::Cond => RealBlobState::Cond,
            BlobState::Dying => RealBlobState::Dying,
        };
        let trash = (0..16)
            .filter(|name| self.trash & 1 << name != 0)
            .map(|name| name.to_string())
            .collect();
        BlobRecord {
            state,
            generation: self.generation.to_string(),
            size: 0,
            suspect: self.suspect,
            trash,
        }
    }

    fn of(real: &BlobRecord) -> Self {
        let state = match real.state {
            RealBlobState::Live => BlobState::Live,
            RealBlobState::Cond => BlobState::Cond,
            RealBlobState::Dying => BlobState::Dying,
        };
        let trash = real.trash.iter().fold(0, |all, name| all | 1 << number(name));
        Self {
            state,
            generation: number(&real.generation),
            suspect: real.suspect,
            trash,
        }
    }
}

impl Small for Link {
    type Real = LinkRecord;

    fn real(self) -> LinkRecord {
        let state = match self.state {
            LinkState::Pend => RealLinkState::Pend,
            LinkState::Live => RealLinkState::Live,
            LinkState::Cond => RealLinkState::Cond,
        };
        LinkRecord {
            state,
            generation: self.generation.map(|generation| generation.to_string()),
            size: 0,
        }
    }

    fn of(real: &LinkRecord) -> Self {
        let state = match real.state {
            RealLinkState::Pend => LinkState::Pend,
            RealLinkState::Live => LinkState::Live,
            RealLinkState::Cond => LinkState::Cond,
        };
        Self {
            state,
            generation: real.generation.as_deref().map(number),
        }
    }
}

impl Small for Manifest {
    type Real = ManifestRecord;

    fn real(self) -> ManifestRecord {
        let state = match self {
            Self::Pend => ManifestState::Pend,
            Self::Com => ManifestState::Com,
            Self::Cond => ManifestState::Cond,
            Self::Dying => ManifestState::Dying,
        };
        let header = ManifestHeader {
            state,
            media_type: String::new(),
            subject: None,
            artifact_type: None,
            annotations: Annotations::default(),
            blobs: Vec::new(),
            manifests: Vec::new(),
            sparse: false,
            pushed: None,
        };
        ManifestRecord {
            header,
            bytes: Bytes::new(),
        }
    }

    fn of(real: &ManifestRecord) -> Self {
        match real.header.state {
            ManifestState::Pend => Self::Pend,
            ManifestState::Com => Self::Com,
            ManifestState::Cond => Self::Cond,
            ManifestState::Dying => Self::Dying,
        }
    }
}

impl Small for Mark {
    type Real = RealMark;

    fn real(self) -> RealMark {
        RealMark {
            state: if self == Self::Live {
                MarkState::Live
            } else {
                MarkState::Cond
            },
        }
    }

    fn of(real: &RealMark) -> Self {
        match real.state {
            MarkState::Live => Self::Live,
            MarkState::Cond => Self::Cond,
        }
    }
}

impl Small for Tag {
    type Real = TagRecord;

    fn real(self) -> TagRecord {
        TagRecord {
            state: if self.live {
                TagState::Live
            } else {
                TagState::Deleted
            },
            digest: Text(DIGESTS[usize::from(self.manifest)].clone()),
            by: String::new(),
            at: 0,
            seq: u64::from(self.sequence),
            event: self.event.to_string(),
            previous: self
                .previous
                .map(|previous| Text(DIGESTS[usize::from(previous)].clone())),
        }
    }

    fn of(real: &TagRecord) -> Self {
        Self {
            live: real.state == TagState::Live,
            manifest: digested(&real.digest.0),
            sequence: u8::try_from(real.seq).expect("few events"),
            event: number(&real.event),
            previous: real.previous.as_ref().map(|previous| digested(&previous.0)),
        }
    }
}

/// A digest for each number.
static DIGESTS: LazyLock<Vec<Digest>> = LazyLock::new(|| {
    (0..=255)
        .map(|number| Digest::from_hash(Algorithm::Sha256, &[number; 32]).expect("32 bytes"))
        .collect()
});

fn digested(digest: &Digest) -> u8 {
    DIGESTS
        .iter()
        .position(|known| known == digest)
        .and_then(|number| u8::try_from(number).ok())
        .expect("one of them")
}

/// Stands for the hash of a record: the model uses the record's event instead.
fn hash(record: &TagRecord) -> Digest {
    DIGESTS[usize::from(number(&record.event))].clone()
}

fn written_by(event: u8) -> Event {
    Event {
        by: String::new(),
        at: 0,
        id: event.to_string(),
    }
}

fn number(name: &str) -> u8 {
    name.parse().expect("a number")
}
