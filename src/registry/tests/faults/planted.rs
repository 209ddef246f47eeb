//! Clients and collectors that omit a step of the protocol, or take two steps in the wrong order. The runs
//! must find each of these faults.

use super::super::super::deleting::listed;
use super::super::super::keys::Key;
use super::super::super::omitted::Step;
use super::super::super::states::blob::{BlobRecord, BlobState};
use super::super::super::states::link::LinkRecord;
use super::super::super::states::manifest::{self, ManifestRecord};
use super::super::super::states::mark::Mark;
use super::super::super::states::{Condemnable, Next};
use super::super::super::typed_store::{Changed, Found, until_settled};
use super::super::*;
use crate::oci::{Condition, Manifest, RepositoryName, Tag};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A push looks for what its manifest needs before it announces the manifest.
    CheckThenWrite,
    /// A push or mount uses a condemned link or blob without restoring it.
    NoRescue,
    /// An upload publishes its bytes a second time.
    GenerationReused,
    /// All tombstones of the bucket are equal.
    PlainTombstones,
    /// Collectors condemn but do not check again.
    NoSecondLook,
    /// Collectors check without condemning first.
    NoCondemning,
    /// A collector deletes a manifest that an index lists which is still being pushed.
    PendingIsIgnored,
    /// A collector clears an entry without condemning it and looking again.
    EntriesAreClearedBlindly,
    /// A push of an index checks the children before it writes their entries.
    CheckedBeforeMarked,
    /// An existing tag is not written again.
    TagIsLeft,
    /// A push replaces a dying manifest whose tags are not all deleted.
    DyingIsNotHelped,
    /// A mount does not check whether the bytes are marked as damaged.
    SuspectIsMounted,
    /// The deletion of an index deletes the entries of its children, although the index may have been pushed
    /// again meanwhile.
    MarksAreTakenBlindly,
    /// A deletion deletes the marker, although another deletion may have begun.
    MarkerIsTakenBlindly,
}

impl Fault {
    /// The step of the registry's own code that is left out.
    pub(super) const fn omitted(self) -> Option<Step> {
        match self {
            Self::CheckThenWrite => Some(Step::Announcing),
            Self::NoRescue => Some(Step::Rescuing),
            Self::GenerationReused => Some(Step::PublishingOnce),
            Self::NoSecondLook => Some(Step::LookAfterwards),
            Self::NoCondemning => Some(Step::Condemning),
            Self::PendingIsIgnored => Some(Step::PendingIndexes),
            Self::EntriesAreClearedBlindly => Some(Step::ClearingWithALook),
            _ => None,
        }
    }

    pub(super) const fn is_in_a_push(self) -> bool {
        matches!(
            self,
            Self::CheckedBeforeMarked | Self::TagIsLeft | Self::DyingIsNotHelped
        )
    }

    pub(super) const fn is_in_a_deletion(self) -> bool {
        matches!(self, Self::MarksAreTakenBlindly | Self::MarkerIsTakenBlindly)
    }
}

/// A push like the registry's, except for the fault. No manifest here has a subject.
pub(super) async fn push(
    registry: &Registry,
    permit: &Permit<Write>,
    tag: &str,
    bytes: Bytes,
    fault: Fault,
) -> Result<(), Error> {
    let repository = permit.repository();
    let digest = sha256(&bytes);
    let tag = tag.parse::<Tag>().unwrap();
    let pushed = ManifestRecord::pending(&Manifest::parse(None, &bytes)?, bytes);
    until_settled(|| async {
        if !commit(registry, repository, &digest, &pushed, fault).await? {
            return Ok(None);
        }
        if fault != Fault::TagIsLeft || registry.tag_target(repository, &tag).await?.as_ref() != Some(&digest)
        {
            registry
                .write_tag(&Condition::default(), permit, &tag, &digest)
                .await?;
        }
        Ok(registry.stays(repository, &digest).await?.then_some(()))
    })
    .await
}

async fn commit(
    registry: &Registry,
    repository: &RepositoryName,
    digest: &Digest,
    pushed: &ManifestRecord,
    fault: Fault,
) -> Result<bool, Error> {
    let records = &registry.records;
    let key = keys::manifest(repository, digest);
    let announce = |found: Option<Found<ManifestRecord>>| {
        Ok(ManifestRecord::announce(
            found.map(|found| found.record),
            pushed,
            false,
        ))
    };
    let (record, base) = match records.change(&key, announce).await? {
        (manifest::Found::Pending(record), Some(base)) => (record, base),
        (manifest::Found::Committed(_), _) => return Ok(true),
        (manifest::Found::Pending(_), None) => return Ok(false),
    };
    let marks: Vec<_> = record
        .header
        .manifests
        .iter()
        .map(|child| keys::index(repository, &child.0, digest))
        .collect();
    if fault != Fault::CheckedBeforeMarked {
        records.mark_all(&marks).await?;
    }
    let mut missing = Vec::new();
    for child in &record.header.manifests {
        if !registry.stays(repository, &child.0).await? {
            missing.push(child.0.clone());
        }
    }
    for blob in &record.header.blobs {
        if registry.hold_blob(repository, &blob.0).await?.is_none() {
            missing.push(blob.0.clone());
        }
    }
    if !missing.is_empty() {
        registry
            .remove_manifest(repository, digest, &base, &record)
            .await?;
        return Err(Error::MissingReferences(missing));
    }
    if fault == Fault::CheckedBeforeMarked {
        records.mark_all(&marks).await?;
    }
    records.mark(&keys::in_catalog(repository.as_str())).await?;
    Ok(records.swap(&key, &base, &record.committed()).await?.is_some())
}

/// A deletion like the registry's, except for the fault. It does not check the indexes that may list the
/// manifest.
pub(super) async fn delete(
    registry: &Registry,
    repository: &RepositoryName,
    digest: &Digest,
    fault: Fault,
) -> Result<(), Error> {
    let records = &registry.records;
    let key = keys::manifest(repository, digest);
    let marker = keys::deletion(repository, digest);
    let found = records
        .read(&key)
        .await?
        .filter(|found| found.record.is_readable())
        .ok_or(Error::ManifestUnknown)?;
    let dying = [records.planned(&key, Some(&found.base()), Some(&found.record.dying()))?]
        .into_iter()
        .chain(records.wanted(&marker).await?);
    let Some(Changed::Written(version)) = records.change_all(dying.collect()).await?.into_iter().next()
    else {
        return Err(Error::ManifestUnknown);
    };
    records.mark(&marker).await?;
    registry.untag(repository, digest).await?;
    for mark in listed(repository, digest, &found.record) {
        match fault {
            Fault::MarksAreTakenBlindly => take(registry, &mark).await?,
            _ => {
                records
                    .clear(&mark, async || Ok(!registry.is_dying(repository, digest).await?))
                    .await?
            }
        }
    }
    records.delete(&key, &version).await?;
    match fault {
        Fault::MarkerIsTakenBlindly => take(registry, &marker).await,
        _ => {
            records
                .clear(&marker, || registry.is_dying(repository, digest))
                .await
        }
    }
}

async fn take(registry: &Registry, mark: &Key<Mark>) -> Result<(), Error> {
    let Some(found) = registry.records.read(mark).await? else {
        return Ok(());
    };
    registry.records.delete(mark, &found.version).await.map(drop)
}

/// A mount like the registry's, except for the fault. Returns whether the repository has the blob now.
pub(super) async fn mount(
    registry: &Registry,
    from: &RepositoryName,
    to: &RepositoryName,
    digest: &Digest,
) -> Result<bool, Error> {
    let records = &registry.records;
    let Some(link) = records.read(&keys::link(digest, from)).await? else {
        return Ok(false);
    };
    let key = keys::link(digest, to);
    let (_, base) = records
        .change(&key, |found| {
            Ok(LinkRecord::announce(found.map(|found| found.record)))
        })
        .await?;
    let decide = |found: Option<Found<BlobRecord>>| {
        Ok(match found.map(|found| found.record) {
            Some(blob) if blob.state == BlobState::Dying => Next::Keep(None),
            Some(blob) if blob.is_condemned() => Next::Write(blob.rescued(), Some(blob.rescued())),
            live => Next::Keep(live),
        })
    };
    let (blob, _) = records.change(&keys::blob(digest), decide).await?;
    let (Some(base), Some(blob)) = (base, blob) else {
        return Ok(false);
    };
    if link.record.generation.as_ref() != Some(&blob.generation) {
        return Ok(false);
    }
    Ok(records
        .swap(&key, &base, &LinkRecord::live(blob.generation, blob.size))
        .await?
        .is_some())
}
