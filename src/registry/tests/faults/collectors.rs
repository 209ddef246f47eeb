//! Garbage collectors as the protocol has them, mostly without any grace: whatever nobody refers to right now is taken. The careless ones
//! show that the runs would find a broken protocol.

use super::super::super::marks::LISTED;
use super::super::super::records::{BlobRecord, BlobState, LinkRecord, LinkState, ManifestRecord, ManifestState};
use super::super::*;
use crate::oci::RepositoryName;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// Condemns, looks, decides.
    Full,
    /// Condemns and does not look again.
    NoSecondLook,
    /// Looks and does not condemn before.
    NoCondemning,
}

/// Takes the repository's link if it is old and no manifest needs it.
pub(super) async fn link(
    registry: &Registry,
    care: Care,
    grace: Duration,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<(), Error> {
    let records = &registry.records;
    let key = keys::link(digest, repository);
    let Some((version, link)) = records.read::<LinkRecord>(&key).await? else { return Ok(()) };
    if registry.clock.now().since(Timestamp::from_millis(link.at)) < grace {
        return Ok(());
    }
    if care == Care::NoSecondLook && is_needed(registry, repository, digest).await? {
        return Ok(());
    }
    let condemned = match link.state {
        LinkState::Cond => Some(version), // left over from another collector
        _ if care == Care::NoCondemning => Some(version),
        _ => records.swap(&key, version, &LinkRecord { state: LinkState::Cond, ..link.clone() }).await?,
    };
    let Some(condemned) = condemned else { return Ok(()) };
    if care != Care::NoSecondLook && is_needed(registry, repository, digest).await? {
        if link.state == LinkState::Cond || care == Care::Full {
            records.swap(&key, condemned, &link.rescued()).await?;
        }
        return Ok(());
    }
    records.delete(&key, condemned).await.map(drop)
}

async fn is_needed(registry: &Registry, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
    for key in registry.records.list(&keys::manifests(repository), "", LISTED).await? {
        let Some((_, manifest)) = registry.records.read::<ManifestRecord>(&key).await? else { continue };
        if manifest.counts() && manifest.header.blobs.iter().any(|blob| blob.0 == *digest) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes the bytes if no repository links them.
pub(super) async fn blob(registry: &Registry, care: Care, digest: &Digest) -> Result<(), Error> {
    let records = &registry.records;
    let key = keys::blob(digest);
    let Some((version, blob)) = records.read::<BlobRecord>(&key).await? else { return Ok(()) };
    let is_linked = async || Ok::<_, Error>(!records.list(&keys::links(digest), "", 1).await?.is_empty());
    let state = |state| BlobRecord { state, ..blob.clone() };
    let dying = match blob.state {
        BlobState::Dying => Some(version),
        BlobState::Live | BlobState::Cond => {
            if care == Care::NoSecondLook && is_linked().await? {
                return Ok(());
            }
            let condemned = match blob.state {
                BlobState::Cond => Some(version),
                _ if care == Care::NoCondemning => Some(version),
                _ => records.swap(&key, version, &state(BlobState::Cond)).await?,
            };
            let Some(condemned) = condemned else { return Ok(()) };
            if care != Care::NoSecondLook && is_linked().await? {
                records.swap(&key, condemned, &state(BlobState::Live)).await?;
                return Ok(());
            }
            records.swap(&key, condemned, &state(BlobState::Dying)).await?
        }
    };
    let Some(dying) = dying else { return Ok(()) };
    for name in blob.trash.iter().chain([&blob.generation]) {
        registry.bytes.remove(name).await?;
    }
    records.delete(&key, dying).await.map(drop)
}

/// Takes the manifest if no tag is on it, no index lists it, and it refers to no subject.
pub(super) async fn manifest(registry: &Registry, repository: &RepositoryName, digest: &Digest) -> Result<(), Error> {
    let records = &registry.records;
    let key = keys::manifest(repository, digest);
    let Some((version, manifest)) = records.read::<ManifestRecord>(&key).await? else { return Ok(()) };
    if !manifest.is_readable() || manifest.header.subject.is_some() {
        return Ok(());
    }
    let condemned = match manifest.header.state {
        ManifestState::Cond => Some(version),
        _ => records.swap(&key, version, &manifest.clone().in_state(ManifestState::Cond)).await?,
    };
    let Some(condemned) = condemned else { return Ok(()) };
    // A back reference counts in either state: whoever condemned it has not looked at the tag yet.
    let tagged = !records.list(&keys::back_references(repository, digest), "", 1).await?.is_empty();
    if tagged || is_listed(registry, repository, digest).await? {
        records.swap(&key, condemned, &manifest.in_state(ManifestState::Com)).await?;
        return Ok(());
    }
    registry.bury(repository, digest, condemned, manifest).await.map(drop)
}

async fn is_listed(registry: &Registry, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
    for key in registry.records.list(&keys::manifests(repository), "", LISTED).await? {
        let Some((_, index)) = registry.records.read::<ManifestRecord>(&key).await? else { continue };
        if index.counts() && index.header.manifests.iter().any(|child| child.0 == *digest) {
            return Ok(true);
        }
    }
    Ok(false)
}
