//! What a caller is told who may push here. A client asks what is here in order to skip it, so the answer must hold until a manifest can
//! refer to it: an old record is written again, and a condemned one is rescued. Creates nothing.

use super::states::link::LinkRecord;
use super::states::manifest::ManifestRecord;
use super::typed_store::until_settled;
use super::{Error, Registry, StoredManifest, keys};
use crate::access::{Create, Permit, Read};
use crate::oci::{Digest, Reference, RepositoryName};
use crate::storage::Failure;

impl Registry {
    /// The size of a blob. Its bytes are there and, as far as is known, not damaged.
    pub async fn keep_blob(&self, read: &Permit<Read>, create: &Permit<Create>, digest: &Digest) -> Result<u64, Error> {
        let repository = create.repository();
        if !unless_read_only(self.keep_link(repository, digest).await, repository, digest)? {
            return Err(Error::BlobUnknown);
        }
        // Lost or damaged: whoever pushes it again makes it whole.
        match self.held(read, digest).await? {
            Some((name, size)) if self.is_intact(digest, &name, size).await? => Ok(size),
            _ => Err(Error::BlobUnknown),
        }
    }

    /// The manifest that a reference leads to.
    pub async fn keep_manifest(
        &self,
        read: &Permit<Read>,
        create: &Permit<Create>,
        reference: &Reference,
    ) -> Result<StoredManifest, Error> {
        let repository = create.repository();
        until_settled(|| async {
            let stored = self.manifest(read, reference).await?;
            let kept = unless_read_only(self.keep_stored(repository, &stored.digest).await, repository, &stored.digest)?;
            // Else it was deleted meanwhile. A tag may be on another one now.
            Ok(kept.then_some(stored))
        })
        .await
    }

    /// Whether the repository holds the blob, for long enough to be relied on from now on.
    pub(super) async fn keep_link(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        self.records.settle(&keys::link(digest, repository), LinkRecord::rely).await
    }

    async fn keep_stored(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        self.records.settle(&keys::manifest(repository, digest), ManifestRecord::rely).await
    }
}

/// A store that takes no changes loses nothing either, and goes on to be read.
fn unless_read_only(kept: Result<bool, Error>, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
    match kept {
        Err(why @ Error::Storage(Failure::Full | Failure::Stopped)) => {
            tracing::warn!(repo.name = %repository, content.digest = %digest, "a blob or manifest is not kept for longer: {why}");
            Ok(true)
        }
        kept => kept,
    }
}
