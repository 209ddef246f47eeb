//! What the manifests of a repository need.

use super::super::Error;
use super::super::keys::{self, Key, Prefix};
use super::super::large::worked;
use super::super::records::{self, Stored};
use super::super::states::manifest::ManifestRecord;
use super::super::typed_store::Found;
use super::Collector;
use crate::oci::{Digest, InvalidManifest, Manifest, RepositoryName};
use crate::storage::{Failure, Show};
use std::collections::HashSet;

/// All digests that a manifest refers to, except its subject. Layers that a registry need not store are
/// included, because a client may have pushed them.
pub(super) struct References(HashSet<Digest>);

impl References {
    /// Combines the record's header with the manifest's bytes, so that damage to one of them loses no
    /// reference. Fails if the bytes do not have the digest, or are not a manifest.
    fn of(key: &Key<ManifestRecord>, record: &ManifestRecord) -> Result<Self, Error> {
        if !record.belongs_to(key.as_str()) {
            return Err(records::lost(
                key.as_str(),
                "its content does not match its digest",
            ));
        }
        let header = &record.header;
        let named = header.blobs.iter().chain(&header.manifests);
        let mut digests: HashSet<Digest> = named.map(|named| named.0.clone()).collect();
        match Manifest::parse(Some(&header.media_type), &record.bytes) {
            Ok(manifest) => {
                let further = manifest
                    .blobs
                    .into_iter()
                    .chain(manifest.foreign)
                    .chain(manifest.manifests);
                digests.extend(further.map(|further| further.digest));
            }
            // Earlier versions accepted such manifests.
            Err(InvalidManifest::Lacks { .. } | InvalidManifest::Surplus { .. }) => {}
            Err(why) => {
                let why = format!("its bytes are not a valid manifest: {why}");
                return Err(records::lost(key.as_str(), &why));
            }
        }
        Ok(Self(digests))
    }

    pub(super) fn into_digests(self) -> HashSet<Digest> {
        self.0
    }
}

impl Collector {
    /// What the manifest needs. `None` if there is no manifest, or if it is being deleted. Does not use the
    /// cache of decoded records, because a pass would evict everything else from it.
    pub(super) async fn references(&self, key: &Key<ManifestRecord>) -> Result<Option<References>, Error> {
        self.breath.take().await;
        if self.is_pretended(key.as_str()) {
            return Ok(None);
        }
        let found = self.read_manifest(key).await?;
        let Some(found) = found.filter(|found| found.record.protects_references()) else {
            return Ok(None);
        };
        let key = key.clone();
        let references = worked(found.record.bytes.len(), move || {
            References::of(&key, &found.record)
        });
        references.await?.map(Some)
    }

    /// Reads a manifest. A large one has a file of its own in the store, so a failure to read it stops the
    /// collection of its repository, and not of the store.
    pub(super) async fn read_manifest(
        &self,
        key: &Key<ManifestRecord>,
    ) -> Result<Option<Found<ManifestRecord>>, Error> {
        match self.registry.records.read(key).await {
            Err(Error::Storage(why @ Failure::Io(_))) if !why.lacks_descriptors() => Err(Error::Unread {
                key: key.to_string(),
                why,
            }),
            found => found,
        }
    }

    /// Whether the manifest exists or is being pushed. True if it cannot be read. A visible manifest is not
    /// read, because it may be large and thousands of others may refer to it.
    pub(super) async fn is_there(&self, key: &Key<ManifestRecord>) -> Result<bool, Error> {
        self.breath.take().await;
        if self.is_pretended(key.as_str()) {
            return Ok(false);
        }
        let only = Prefix::<ManifestRecord>::new(key.to_string());
        if !self.registry.records.is_empty(&only, Show::Visible).await? {
            return Ok(true);
        }
        match self.read_manifest(key).await {
            Err(why) if is_unknown(&why) => Ok(true),
            found => Ok(found?.is_some_and(|found| found.record.protects_references())),
        }
    }

    /// Finds the `digests` that a manifest of the repository needs. Manifests that are being pushed are
    /// included. Fails if a manifest cannot be read, because it may need anything.
    pub(super) async fn needed(
        &self,
        repository: &RepositoryName,
        digests: &HashSet<Digest>,
    ) -> Result<HashSet<Digest>, Error> {
        let mut needed = HashSet::new();
        let mut manifests = self.registry.records.keys(keys::manifests(repository), Show::All);
        while let Some(key) = manifests.next().await? {
            if let Some(references) = self.references(&key).await? {
                // A manifest refers to few digests, and there may be thousands of others to find.
                let found = references.into_digests().into_iter();
                needed.extend(found.filter(|digest| digests.contains(digest)));
            }
        }
        Ok(needed)
    }
}

/// Whether a record cannot be read, so that it is unknown what it needs.
pub(super) const fn is_unknown(why: &Error) -> bool {
    matches!(why, Error::Unreadable { .. } | Error::Unread { .. })
}
