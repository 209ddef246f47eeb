//! What a manifest refers to: whether the repository has it, as which kind, and with which size.

use super::manifests::Pushing;
use super::records::unless_unreadable;
use super::states::manifest::ManifestRecord;
use super::{Error, Registry, keys};
use crate::oci::{Digest, Flaw, InvalidManifest, Manifest, Place, RepositoryName};
use futures_util::future::try_join_all;
use std::collections::{HashMap, HashSet};

/// How many records are checked side by side. It bounds the memory of a push with many layers.
const AT_ONCE: usize = 32;

impl Registry {
    /// Protects what the manifest needs. Returns what is missing if the repository is sparse. Otherwise
    /// missing content is an error.
    pub(super) async fn missing(
        &self,
        repository: &RepositoryName,
        record: &ManifestRecord,
        pushed: &Pushing,
    ) -> Result<Vec<Digest>, Error> {
        let mut missing = Vec::new();
        let mut held = HashMap::new();
        for blobs in record.header.blobs.chunks(AT_ONCE) {
            let sizes = try_join_all(blobs.iter().map(|blob| self.hold_blob(repository, &blob.0)));
            for (blob, size) in blobs.iter().zip(sizes.await?) {
                match size {
                    Some(size) => drop(held.insert(&blob.0, size)),
                    None => missing.push(blob.0.clone()),
                }
            }
        }
        for children in record.header.manifests.chunks(AT_ONCE) {
            let sizes = try_join_all(
                children
                    .iter()
                    .map(|child| self.hold_manifest(repository, &child.0)),
            );
            for (child, size) in children.iter().zip(sizes.await?) {
                match size {
                    Some(size) => drop(held.insert(&child.0, size)),
                    None => missing.push(child.0.clone()),
                }
            }
        }
        if record.header.sparse {
            return Ok(missing);
        }
        if !missing.is_empty() {
            let other_kind = self
                .of_another_kind(repository, &pushed.manifest, &missing)
                .await?;
            return Err(other_kind.map_or(Error::MissingReferences(missing), |flaw| {
                InvalidManifest::from(flaw).into()
            }));
        }
        if pushed.checked {
            self.check_sizes(repository, &pushed.manifest, &held).await?;
        }
        Ok(missing)
    }

    /// Finds missing content that exists as the other kind: a manifest where a blob is needed, or a blob
    /// where a manifest is needed. A client cannot fix this by pushing the content again.
    async fn of_another_kind(
        &self,
        repository: &RepositoryName,
        manifest: &Manifest,
        missing: &[Digest],
    ) -> Result<Option<Flaw>, Error> {
        let missing: HashSet<&Digest> = missing.iter().collect();
        for blob in manifest
            .blobs
            .iter()
            .filter(|blob| missing.contains(&blob.digest))
        {
            if self.size_of_manifest(repository, &blob.digest).await?.is_some() {
                return Ok(Some(Flaw::IsManifest {
                    place: blob.place,
                    digest: blob.digest.clone(),
                }));
            }
        }
        for child in manifest
            .manifests
            .iter()
            .filter(|child| missing.contains(&child.digest))
        {
            if self.size_of_blob(repository, &child.digest).await?.is_some() {
                return Ok(Some(Flaw::IsBlob {
                    place: child.place,
                    digest: child.digest.clone(),
                }));
            }
        }
        Ok(None)
    }

    /// Compares the sizes in the descriptors with those of the content. `held` has the sizes that are already
    /// known.
    async fn check_sizes(
        &self,
        repository: &RepositoryName,
        manifest: &Manifest,
        held: &HashMap<&Digest, u64>,
    ) -> Result<(), Error> {
        let foreign = manifest
            .foreign
            .iter()
            .map(|layer| &layer.digest)
            .collect::<HashSet<_>>();
        for referred in manifest.referred() {
            let place = referred.place;
            let digest = &referred.digest;
            let found = match held.get(digest) {
                Some(size) => Some(*size),
                None if foreign.contains(digest) => self.size_of_blob(repository, digest).await?,
                None => self.size_of_manifest(repository, digest).await?,
            };
            if let (Some(said), Some(held)) = (referred.size, found)
                && said != held
            {
                return Err(InvalidManifest::from(Flaw::OtherSize {
                    place,
                    digest: digest.clone(),
                    said,
                    held,
                })
                .into());
            }
        }
        Ok(())
    }

    /// A child of an index is treated as a blob if its media type is not a manifest's, unless the repository
    /// has it only as a manifest.
    pub(super) async fn sort_children(
        &self,
        repository: &RepositoryName,
        manifest: &mut Manifest,
    ) -> Result<(), Error> {
        let mut blobs = Vec::new();
        let mut manifests = Vec::new();
        for blob in std::mem::take(&mut manifest.blobs) {
            let is_manifest = matches!(blob.place, Place::Manifest(_))
                && self.size_of_blob(repository, &blob.digest).await?.is_none()
                && self.size_of_manifest(repository, &blob.digest).await?.is_some();
            if is_manifest {
                manifests.push(blob)
            } else {
                blobs.push(blob)
            }
        }
        manifest.blobs = blobs;
        manifest.manifests.append(&mut manifests);
        Ok(())
    }

    /// The size of a readable manifest.
    async fn size_of_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<u64>, Error> {
        let found =
            unless_unreadable(self.records.look_up(&keys::manifest(repository, digest)).await)?.flatten();
        Ok(found
            .filter(|found| found.record.is_readable())
            .map(|found| found.record.bytes.len() as u64))
    }

    /// The size of a blob that the repository serves.
    async fn size_of_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<u64>, Error> {
        let found = unless_unreadable(self.records.look_up(&keys::link(digest, repository)).await)?.flatten();
        Ok(found
            .filter(|found| found.record.generation.is_some())
            .map(|found| found.record.size))
    }
}
