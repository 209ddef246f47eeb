//! HEAD by a caller who may push. Such a client asks what is here in order to skip it, so the answer
//! must hold until a manifest can refer to it: an old record is written again, and a condemned one is
//! rescued. Creates nothing.

use super::keys::Key;
use super::records::{Stored, unless_unreadable};
use super::states::link::LinkRecord;
use super::states::manifest::ManifestRecord;
use super::states::tag::TagRecord;
use super::states::{Condemnable, Next};
use super::typed_store::until_settled;
use super::{Error, Registry, StoredManifest, keys};
use crate::access::{Create, Permit, Read};
use crate::oci::{Digest, Reference, RepositoryName};
use crate::storage::Failure;

impl Registry {
    /// The size of a blob. Its bytes are there and, as far as is known, not damaged.
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
        // Lost or damaged: whoever pushes it again makes it whole.
        match self.held(read, digest).await? {
            Some((name, size)) if self.is_intact(digest, &name, size, None).await? => Ok(size),
            _ => Err(Error::BlobUnknown),
        }
    }

    /// The manifest that a reference leads to. A tag that leads to it is kept, too.
    pub async fn keep_manifest(
        &self,
        read: &Permit<Read>,
        create: &Permit<Create>,
        reference: &Reference,
    ) -> Result<StoredManifest, Error> {
        let repository = create.repository();
        until_settled(|| async {
            // Damaged: whoever pushes it again makes it whole.
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
            }
            // Otherwise it was deleted or the tag was moved meanwhile.
            Ok(kept.then_some(stored))
        })
        .await
    }

    /// Whether the repository holds the blob, for long enough to be relied on from now on.
    pub(super) async fn keep_link(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, Error> {
        self.records
            .settle(&keys::link(digest, repository), LinkRecord::rely)
            .await
    }

    /// Applies the step that makes a record safe to rely on. A store that takes no changes is read all the
    /// same. A full one still takes deletions, so only a record that is `safe` from the deletions under way
    /// can be relied on there.
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
        tracing::warn!(record.key = %key, "could not refresh a blob, manifest or tag, so a collector may delete it earlier: {why}");
        Ok(true)
    }
}
