//! What the manifests of a repository need.

use super::super::Error;
use super::super::keys::{self, Key};
use super::super::large::worked;
use super::super::records::{self, Stored};
use super::super::states::manifest::ManifestRecord;
use super::Collector;
use crate::oci::{Digest, InvalidManifest, Manifest, RepositoryName};
use crate::storage::Show;
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

    pub(super) fn contain(&self, digest: &Digest) -> bool {
        self.0.contains(digest)
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
        let found = self.registry.records.read(key).await?;
        let Some(found) = found.filter(|found| found.record.protects_references()) else {
            return Ok(None);
        };
        let key = key.clone();
        let references = worked(found.record.bytes.len(), move || {
            References::of(&key, &found.record)
        });
        references.await?.map(Some)
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
                needed.extend(
                    digests
                        .iter()
                        .filter(|digest| references.contain(digest))
                        .cloned(),
                );
            }
        }
        Ok(needed)
    }
}

/// Whether a record cannot be read, so that it is unknown what it needs.
pub(super) const fn is_unknown(why: &Error) -> bool {
    matches!(why, Error::Unreadable { .. })
}
