//! Garbage collectors that follow the protocol, and a scrubber. Without a grace period they delete everything
//! that nothing refers to.

use super::super::super::hashing::digest_of;
use super::super::super::states::Condemnable;
use super::super::super::states::blob::{BlobRecord, BlobState};
use super::super::super::suspecting::Damage;
use super::super::*;
use super::planted::Fault;
use crate::oci::RepositoryName;
use crate::storage::Resume;
use std::time::Duration;

/// How all actors in a crowd behave.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Conduct {
    /// How old a record must be before a collector considers it.
    pub grace: Duration,
    pub fault: Option<Fault>,
}

impl Conduct {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }
}

/// Deletes the repository's link if it is old and no manifest needs it.
pub(super) async fn link(
    registry: &Registry,
    conduct: &Conduct,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<(), Error> {
    let records = &registry.records;
    let key = keys::link(digest, repository);
    let Some(found) = records.read(&key).await? else {
        return Ok(());
    };
    let link = &found.record;
    let mut base = found.base();
    if records.now().since(found.written) < conduct.grace {
        return Ok(());
    }
    let looks_again = !conduct.has(Fault::NoSecondLook);
    if !looks_again && is_needed(registry, repository, digest).await? {
        return Ok(());
    }
    // Another collector left a condemned record.
    if !link.is_condemned() && !conduct.has(Fault::NoCondemning) {
        match records.swap(&key, &base, &link.condemned()).await? {
            Some(version) => base = base.at(version),
            None => return Ok(()),
        }
    }
    if looks_again && is_needed(registry, repository, digest).await? {
        if link.is_condemned() || !conduct.has(Fault::NoCondemning) {
            records.swap(&key, &base, &link.rescued()).await?;
        }
        return Ok(());
    }
    records.delete(&key, &base.version).await.map(drop)
}

async fn is_needed(registry: &Registry, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
    let mut keys = registry.records.keys(keys::manifests(repository), Show::All);
    while let Some(key) = keys.next().await? {
        if registry
            .records
            .read(&key)
            .await?
            .is_some_and(|found| found.record.needs_blob(digest))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Deletes the bytes if no repository links them.
pub(super) async fn blob(registry: &Registry, conduct: &Conduct, digest: &Digest) -> Result<(), Error> {
    let records = &registry.records;
    let key = keys::blob(digest);
    let Some(found) = records.read(&key).await? else {
        return Ok(());
    };
    let blob = &found.record;
    let mut base = found.base();
    let is_linked = async || Ok::<_, Error>(!records.is_empty(&keys::links(digest), Show::All).await?);
    let looks_again = !conduct.has(Fault::NoSecondLook);
    if blob.state != BlobState::Dying {
        if !looks_again && is_linked().await? {
            return Ok(());
        }
        if !blob.is_condemned() && !conduct.has(Fault::NoCondemning) {
            match records.swap(&key, &base, &blob.condemned()).await? {
                Some(version) => base = base.at(version),
                None => return Ok(()),
            }
        }
        if looks_again && is_linked().await? {
            return records.swap(&key, &base, &blob.rescued()).await.map(drop);
        }
        match records
            .swap(
                &key,
                &base,
                &BlobRecord {
                    state: BlobState::Dying,
                    ..blob.clone()
                },
            )
            .await?
        {
            Some(version) => base = base.at(version),
            None => return Ok(()),
        }
    }
    for name in blob.trash.iter().chain([&blob.generation]) {
        registry.bytes.remove(name, &Resume::default()).await?;
    }
    records.delete(&key, &base.version).await.map(drop)
}

/// Deletes the manifest if it is old, no tag points at it, no index lists it, and it has no subject.
pub(super) async fn manifest(
    registry: &Registry,
    conduct: &Conduct,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<(), Error> {
    let records = &registry.records;
    let key = keys::manifest(repository, digest);
    let Some(found) = records.read(&key).await? else {
        return Ok(());
    };
    let manifest = &found.record;
    let mut base = found.base();
    if !manifest.is_readable()
        || manifest.header.subject.is_some()
        || records.now().since(found.written) < conduct.grace
    {
        return Ok(());
    }
    if !manifest.is_condemned() {
        match records.swap(&key, &base, &manifest.condemned()).await? {
            Some(version) => base = base.at(version),
            None => return Ok(()),
        }
    }
    if is_listed(registry, conduct, repository, digest).await?
        || is_tagged(registry, repository, digest).await?
    {
        return records.swap(&key, &base, &manifest.rescued()).await.map(drop);
    }
    registry
        .remove_manifest(repository, digest, &base, manifest)
        .await
        .map(drop)
}

/// Clears the back references that lead nowhere, which normal work leaves behind. Returns whether others
/// remain.
async fn is_tagged(registry: &Registry, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
    let prefix = keys::back_references(repository, digest);
    let mut keys = registry.records.keys(prefix.clone(), Show::All);
    while let Some(key) = keys.next().await? {
        let tag = prefix.rest(&key).parse().unwrap();
        let points_here =
            || async { Ok(registry.tag_target(repository, &tag).await?.as_ref() == Some(digest)) };
        registry.records.clear(&key, points_here).await?;
    }
    Ok(!registry.records.is_empty(&prefix, Show::All).await?)
}

/// The same for the indexes that list it, including those that are being pushed.
async fn is_listed(
    registry: &Registry,
    conduct: &Conduct,
    repository: &RepositoryName,
    child: &Digest,
) -> Result<bool, Error> {
    let prefix = keys::indexes(repository, child);
    let mut keys = registry.records.keys(prefix.clone(), Show::All);
    while let Some(key) = keys.next().await? {
        let index = keys::manifest(repository, &keys::digest_of(prefix.rest(&key)).unwrap());
        if conduct.has(Fault::PendingIsIgnored) {
            if registry
                .records
                .read(&index)
                .await?
                .is_some_and(|found| found.record.is_readable())
            {
                return Ok(true);
            }
            continue;
        }
        let lists_it = || async {
            Ok(registry
                .records
                .read(&index)
                .await?
                .is_some_and(|found| found.record.lists(child)))
        };
        registry.records.clear(&key, lists_it).await?;
    }
    Ok(!conduct.has(Fault::PendingIsIgnored) && !registry.records.is_empty(&prefix, Show::All).await?)
}

/// Returns the name of the blob's bytes if they are damaged, and marks the blob.
pub(super) async fn scrub(registry: &Registry, digest: &Digest) -> Result<Option<String>, Error> {
    let key = keys::blob(digest);
    let Some(name) = registry
        .records
        .read(&key)
        .await?
        .map(|found| found.record.generation)
    else {
        return Ok(None);
    };
    let file = registry.bytes.open(&name).await?;
    let bytes = file.read(0, usize::try_from(file.size()).unwrap()).await?;
    let found = digest_of(digest.algorithm(), &bytes);
    if found == *digest {
        return Ok(None);
    }
    registry.suspect(digest, &name, &Damage::Digest(found)).await;
    Ok(Some(name))
}
