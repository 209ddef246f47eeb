//! Blobs that no repository links, and bytes that were replaced.

use super::super::Error;
use super::super::garbage::Candidate;
use super::super::keys::{self, Key};
use super::super::omitted::Step;
use super::super::states::blob::{BlobRecord, BlobState};
use super::super::typed_store::{Base, Changed, Found};
use super::Collector;
use super::references::is_unknown;
use super::report::{Goes, Item, Notes, Stays};
use crate::oci::Digest;
use crate::storage::{Failure, Resume, Show};

/// A blob whose record is `dying`. No reader or writer can reach its bytes any more.
struct Dying {
    digest: Digest,
    key: Key<BlobRecord>,
    base: Base,
    record: BlobRecord,
}

impl Collector {
    /// Removes these blobs if they are old and no repository links them. Also removes the replaced bytes of
    /// all of these blobs.
    pub(in crate::registry) async fn blobs(
        &self,
        digests: &[Digest],
        notes: &mut Notes<'_>,
    ) -> Result<(), Error> {
        let mut old = Vec::new();
        let mut dying = Vec::new();
        for digest in digests {
            let key = keys::blob(digest);
            let found = match self.registry.records.read(&key).await {
                Err(why) if is_unknown(&why) => {
                    notes.stays(&item(digest, 0), Stays::Unreadable);
                    continue;
                }
                found => found?,
            };
            let Some(found) = found else { continue };
            if found.record.state == BlobState::Dying {
                // A collector stopped before it removed this blob, or is removing it right now.
                dying.push(Dying {
                    digest: digest.clone(),
                    base: found.base(),
                    record: found.record,
                    key,
                });
            } else if self.is_linked(digest).await? {
                self.empty_trash(digest, &key, found, notes).await?;
            } else if self.is_young(found.written) {
                notes.stays(&item(digest, found.record.size), Stays::Young);
                self.wait_for(found.written, Candidate::Blob(digest.clone()));
            } else {
                old.push((key, found));
            }
        }
        self.doom(old, &mut dying, notes).await?;
        self.remove(dying, notes).await
    }

    /// Swaps each of these blobs to `dying` if it still has no link after it was condemned.
    async fn doom(
        &self,
        old: Vec<(Key<BlobRecord>, Found<BlobRecord>)>,
        dying: &mut Vec<Dying>,
        notes: &mut Notes<'_>,
    ) -> Result<(), Error> {
        let mut linked = Vec::new();
        let mut unlinked = Vec::new();
        for one in self.condemn(old).await? {
            let Some(digest) = digest_of(&one.key) else {
                continue;
            };
            // Check for links only after condemning. A push that writes a link later then finds the record
            // condemned.
            if !self.registry.omitted.has(Step::LookAfterwards) && self.is_linked(&digest).await? {
                notes.stays(&item(&digest, one.record.size), Stays::Needed);
                linked.push(one);
            } else {
                unlinked.push(one);
            }
        }
        self.restore(&linked).await?;
        let swapped = self.decide(&unlinked, |blob| Some(blob.dying())).await?;
        for (one, base) in unlinked.into_iter().zip(swapped) {
            let Some(digest) = digest_of(&one.key) else {
                continue;
            };
            match base {
                Some(base) => dying.push(Dying {
                    digest,
                    key: one.key,
                    base,
                    record: one.record,
                }),
                None => notes.stays(&item(&digest, one.record.size), Stays::Needed),
            }
        }
        Ok(())
    }

    async fn remove(&self, dying: Vec<Dying>, notes: &mut Notes<'_>) -> Result<(), Error> {
        for page in dying.chunks(AT_ONCE) {
            let mut removed = Vec::new();
            let mut changes = Vec::new();
            for one in page {
                let names = one.record.trash.iter().chain([&one.record.generation]);
                if self.remove_all(names, &one.digest).await? {
                    changes.push(self.registry.records.planned(&one.key, Some(&one.base), None)?);
                    removed.push(one);
                } else {
                    notes.stays(&item(&one.digest, one.record.size), Stays::NotRemoved);
                }
            }
            let done = if self.is_dry() {
                vec![Changed::Deleted; removed.len()]
            } else {
                self.registry.records.change_each(changes).await?
            };
            for (one, done) in removed.into_iter().zip(done) {
                // Otherwise another collector was faster and counts the blob, or a push has replaced the record
                // and brought its own bytes. The old ones are gone anyway.
                if done == Changed::Deleted {
                    self.pretend(one.key.as_str());
                    if !self.is_dry() {
                        self.registry.usage.lost_blob(&one.digest, one.record.size);
                    }
                    notes.goes(&item(&one.digest, one.record.size), Goes::UnlinkedBlob);
                }
            }
        }
        Ok(())
    }

    /// Removes the replaced bytes of a live blob. Their names leave the record only after that.
    async fn empty_trash(
        &self,
        digest: &Digest,
        key: &Key<BlobRecord>,
        found: Found<BlobRecord>,
        notes: &mut Notes<'_>,
    ) -> Result<(), Error> {
        let blob = &found.record;
        if blob.trash.is_empty() {
            return Ok(());
        }
        if !self.remove_all(blob.trash.iter(), digest).await? {
            notes.stays(&item(digest, blob.size), Stays::NotRemoved);
            return Ok(());
        }
        // If the record has changed, another collector has emptied it and counts the bytes, or it keeps naming
        // them until the next pass. That does no harm.
        let emptied = self.is_dry()
            || self
                .registry
                .records
                .swap(key, &found.base(), &blob.emptied())
                .await?
                .is_some();
        if emptied {
            notes.goes(&item(digest, blob.size), Goes::ReplacedBytes);
        }
        Ok(())
    }

    /// Returns whether all these bytes are gone. A failure is logged, so that one blob does not stop the
    /// others.
    async fn remove_all(&self, names: impl Iterator<Item = &String>, digest: &Digest) -> Result<bool, Error> {
        if self.is_dry() {
            return Ok(true);
        }
        for name in names {
            self.breath.take().await;
            match self.registry.bytes.remove(name, &Resume::default()).await {
                Ok(()) => {}
                Err(why @ Failure::Stopped) => return Err(why.into()),
                Err(why) => {
                    tracing::warn!(blob.digest = %digest, blob.bytes = %name, "cannot remove the bytes of an unreferenced blob; the next pass tries again: {why}");
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Whether any repository links the blob, even with a link that is pending or condemned.
    async fn is_linked(&self, digest: &Digest) -> Result<bool, Error> {
        self.breath.take().await;
        let links = keys::links(digest);
        if !self.is_dry() {
            return Ok(!self.registry.records.is_empty(&links, Show::All).await?);
        }
        let mut links = self.registry.records.keys(links, Show::All);
        while let Some(link) = links.next().await? {
            if !self.is_pretended(link.as_str()) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn item(digest: &Digest, bytes: u64) -> Item<'_> {
    Item {
        repository: None,
        name: digest.as_str(),
        bytes,
    }
}

fn digest_of(key: &Key<BlobRecord>) -> Option<Digest> {
    match keys::Entry::parse(key.as_str()) {
        Some(keys::Entry::Blob(digest)) => Some(digest),
        _ => None,
    }
}

/// How many records are deleted at once.
const AT_ONCE: usize = 100;
