//! Garbage collectors as the protocol has them, mostly without any grace: whatever nobody refers to right now is taken. The careless ones
//! show that the runs would find a broken protocol.

use super::super::super::states::Condemnable;
use super::super::super::states::blob::{BlobRecord, BlobState};
use super::super::*;
use crate::oci::RepositoryName;
use crate::storage::Resume;
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
    let Some(found) = records.read(&key).await? else { return Ok(()) };
    let (link, mut base) = (&found.record, found.base());
    if records.now().since(found.written) < grace {
        return Ok(());
    }
    if care == Care::NoSecondLook && is_needed(registry, repository, digest).await? {
        return Ok(());
    }
    // One that is condemned is left over from another collector.
    if !link.is_condemned() && care != Care::NoCondemning {
        match records.swap(&key, &base, &link.condemned()).await? {
            Some(version) => base = base.at(version),
            None => return Ok(()),
        }
    }
    if care != Care::NoSecondLook && is_needed(registry, repository, digest).await? {
        if link.is_condemned() || care == Care::Full {
            records.swap(&key, &base, &link.rescued()).await?;
        }
        return Ok(());
    }
    records.delete(&key, &base.version).await.map(drop)
}

async fn is_needed(registry: &Registry, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
    let mut keys = registry.records.keys(keys::manifests(repository), Show::All);
    while let Some(key) = keys.next().await? {
        if registry.records.read(&key).await?.is_some_and(|found| found.record.needs_blob(digest)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes the bytes if no repository links them.
pub(super) async fn blob(registry: &Registry, care: Care, digest: &Digest) -> Result<(), Error> {
    let records = &registry.records;
    let key = keys::blob(digest);
    let Some(found) = records.read(&key).await? else { return Ok(()) };
    let (blob, mut base) = (&found.record, found.base());
    let is_linked = async || Ok::<_, Error>(!records.is_empty(&keys::links(digest), Show::All).await?);
    if blob.state != BlobState::Dying {
        if care == Care::NoSecondLook && is_linked().await? {
            return Ok(());
        }
        if !blob.is_condemned() && care != Care::NoCondemning {
            match records.swap(&key, &base, &blob.condemned()).await? {
                Some(version) => base = base.at(version),
                None => return Ok(()),
            }
        }
        if care != Care::NoSecondLook && is_linked().await? {
            return records.swap(&key, &base, &blob.rescued()).await.map(drop);
        }
        match records.swap(&key, &base, &BlobRecord { state: BlobState::Dying, ..blob.clone() }).await? {
            Some(version) => base = base.at(version),
            None => return Ok(()),
        }
    }
    for name in blob.trash.iter().chain([&blob.generation]) {
        registry.bytes.remove(name, &Resume::default()).await?;
    }
    records.delete(&key, &base.version).await.map(drop)
}

/// Takes the manifest if no tag is on it, no index lists it, and it refers to no subject.
pub(super) async fn manifest(registry: &Registry, repository: &RepositoryName, digest: &Digest) -> Result<(), Error> {
    let records = &registry.records;
    let key = keys::manifest(repository, digest);
    let Some(found) = records.read(&key).await? else { return Ok(()) };
    let (manifest, mut base) = (&found.record, found.base());
    if !manifest.is_readable() || manifest.header.subject.is_some() {
        return Ok(());
    }
    if !manifest.is_condemned() {
        match records.swap(&key, &base, &manifest.condemned()).await? {
            Some(version) => base = base.at(version),
            None => return Ok(()),
        }
    }
    // A back reference counts in either state: whoever condemned it has not looked at the tag yet.
    let tagged = !records.is_empty(&keys::back_references(repository, digest), Show::All).await?;
    if tagged || is_listed(registry, repository, digest).await? {
        return records.swap(&key, &base, &manifest.rescued()).await.map(drop);
    }
    registry.bury(repository, digest, &base, manifest).await.map(drop)
}

async fn is_listed(registry: &Registry, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
    let mut keys = registry.records.keys(keys::manifests(repository), Show::All);
    while let Some(key) = keys.next().await? {
        if registry.records.read(&key).await?.is_some_and(|found| found.record.lists(digest)) {
            return Ok(true);
        }
    }
    Ok(false)
}
