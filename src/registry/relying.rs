//! HEAD by a caller who may push. Such a client asks what exists so that it can skip it. The answer must stay
//! true until a manifest can refer to the content, so an old record is refreshed and a condemned one is
//! rescued. This never creates a record.

use super::keys::Key;
use super::records::{Stored, unless_unreadable};
use super::states::link::LinkRecord;
use super::states::manifest::ManifestRecord;
use super::states::tag::TagRecord;
use super::states::{Condemnable, Next};
use super::typed_store::until_settled;
use super::{Error, Registry, StoredManifest, keys};
use crate::access::{Create, Permit, Read};
use crate::oci::{Digest, Reference, RepositoryName, Tag};
use crate::storage::Failure;

impl Registry {
    /// The size of a blob whose bytes exist and are not known to be damaged.
    pub async fn keep_blob(
        &self,
        read: &Permit<Read>,
        create: &Permit<Create>,
        digest: &Digest,
    ) -> Result<u64, Error> {
        let link = keys::link(digest, create.repository());
        if unless_unreadable(
            self.relied_on(&link, LinkRecord::rely, |link| !link.is_condemned())
                .await,
        )? != Some(true)
        {
            return Err(Error::BlobUnknown);
        }
        // If the bytes are lost or damaged, the client pushes the blob again, which repairs it.
        match self.held(read, digest).await? {
            Some((name, size)) if self.is_intact(digest, &name, size, None).await? => Ok(size),
            _ => Err(Error::BlobUnknown),
        }
    }

    /// The manifest of a reference. If the reference is a tag, the tag is refreshed too.
    pub async fn keep_manifest(
        &self,
        read: &Permit<Read>,
        create: &Permit<Create>,
        reference: &Reference,
    ) -> Result<StoredManifest, Error> {
        let repository = create.repository();
        until_settled(|| async {
            // If the manifest is damaged, the client pushes it again, which repairs it.
            let stored =
                unless_unreadable(self.manifest(read, reference).await)?.ok_or(Error::ManifestUnknown)?;
            let manifest = keys::manifest(repository, &stored.digest);
            let mut kept = self
                .relied_on(&manifest, ManifestRecord::rely, |manifest| {
                    !manifest.is_condemned()
                })
                .await?;
            if let (true, Reference::Tag(tag)) = (kept, reference) {
                let rely = |found, old| TagRecord::rely(found, &stored.digest, old);
                kept = self
                    .relied_on(&keys::tag(repository, tag), rely, |_| true)
                    .await?;
                if kept {
                    self.keep_back_reference(repository, &stored.digest, tag).await?;
                }
            }
            // If not, the manifest was deleted or the tag was moved meanwhile.
            Ok(kept.then_some(stored))
        })
        .await
    }

    /// Writes the tag's back reference if the push of the tag crashed before it could. Without it, the tag does
    /// not protect its manifest.
    async fn keep_back_reference(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        tag: &Tag,
    ) -> Result<(), Error> {
        let key = keys::back_reference(repository, digest, tag);
        match self.records.mark(&key).await {
            Err(why @ Error::Storage(Failure::Full | Failure::LogHeld | Failure::Stopped)) => {
                tracing::warn!(record.key = %key, "cannot write the entry of a tag, so the garbage collector may delete its manifest: {why}");
                Ok(())
            }
            done => done,
        }
    }

    /// Refreshes or rescues the repository's link to the blob, and returns whether it exists.
    pub(super) async fn keep_link(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, Error> {
        self.records
            .settle(&keys::link(digest, repository), LinkRecord::rely)
            .await
    }

    /// Refreshes or rescues a record by `step`. If the store accepts no changes, the record is used as it is.
    /// A full store still accepts deletions, so there the record must also be `safe` from deletions that are
    /// in progress.
    async fn relied_on<T: Stored + Clone + Send + Sync + 'static>(
        &self,
        key: &Key<T>,
        step: impl Fn(Option<T>, bool) -> Next<T, bool>,
        safe: impl Fn(&T) -> bool,
    ) -> Result<bool, Error> {
        let why = match self.records.settle(key, step).await {
            Err(why @ Error::Storage(Failure::Full | Failure::LogHeld | Failure::Stopped)) => why,
            settled => return settled,
        };
        if why.is_full()
            && !self
                .records
                .read(key)
                .await?
                .is_some_and(|found| safe(&found.record))
        {
            return Err(why);
        }
        tracing::warn!(record.key = %key, "cannot refresh a blob, manifest or tag, so the garbage collector may delete it earlier: {why}");
        Ok(true)
    }
}
