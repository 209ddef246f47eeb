//! Removes uploads that were not closed: cancelled, failed or abandoned ones.

use super::super::garbage::Candidate;
use super::super::keys::Entry;
use super::super::states::blob::{BlobRecord, Own};
use super::super::states::session::SessionState;
use super::super::typed_store::Found;
use super::super::upload_id::UploadId;
use super::super::{Error, Registry, keys};
use super::taken::Taken;
use crate::oci::{Digest, RepositoryName};
use crate::storage::{Failure, Show};

impl Registry {
    /// Removes expired uploads with their bytes and returns how many. An upload that a request is writing to
    /// is skipped.
    pub async fn expire_uploads(&self) -> Result<usize, Error> {
        let registry = self.freeing();
        // Run to the end even if the caller is cancelled. Otherwise an empty repository could stay in the
        // catalogue.
        let task = tokio::spawn(async move {
            let mut expired = 0;
            let mut last = None;
            let walked = registry.walk_uploads(&mut expired, &mut last).await;
            registry.all_expired(last).await;
            if registry.settings.shared {
                registry.forget_ended(None).await?;
            }
            walked.map(|()| expired)
        });
        task.await.unwrap_or(Err(Error::Interrupted))
    }

    /// Adds the number of removed uploads to `expired`. `last` is the repository of the last one, which may
    /// have more of them.
    async fn walk_uploads(
        &self,
        expired: &mut usize,
        last: &mut Option<RepositoryName>,
    ) -> Result<(), Error> {
        let mut pages = self.records.pages(keys::all_uploads(), String::new(), Show::All);
        while let Some(page) = pages.next_written().await? {
            for (key, _) in page.iter().filter(|(_, written)| self.has_expired(*written)) {
                let Some(Entry::Upload(repository, id)) = Entry::parse(key.as_str()) else {
                    continue;
                };
                match self.expire(&repository, &id).await {
                    Ok(true) => {
                        *expired += 1;
                        // The keys are sorted by repository.
                        if last.as_ref() != Some(&repository) {
                            self.all_expired(last.replace(repository)).await;
                        }
                    }
                    Ok(false) => {}
                    Err(failed @ Error::Storage(Failure::Stopped | Failure::Full | Failure::Busy)) => {
                        return Err(failed);
                    }
                    // One upload, for example a damaged one, does not stop the expiry of the others.
                    Err(why) => {
                        tracing::error!(
                            "could not check whether an upload has expired, so it was kept: {why}"
                        )
                    }
                }
            }
        }
        Ok(())
    }

    /// Removes the repository from the catalogue if it is empty.
    async fn all_expired(&self, repository: Option<RepositoryName>) {
        let Some(repository) = repository else { return };
        if let Err(why) = self.leave(&repository).await {
            tracing::error!(repo.name = %repository, "uploads of a repository expired, but the repository may stay in the catalogue: {why}");
        }
    }

    /// Removes the upload if it has expired, and returns whether it had.
    pub(in crate::registry) async fn expire(
        &self,
        repository: &RepositoryName,
        id: &UploadId,
    ) -> Result<bool, Error> {
        let claimed = match self.claim_to_end(repository, id).await {
            Err(Error::UploadUnknown) => None, // it ended meanwhile
            claimed => claimed?,
        };
        // The lifetime begins at the last request, whatever state the upload is in.
        let Some((claim, upload)) = claimed.filter(|(_, upload)| self.has_expired(upload.written)) else {
            return Ok(false);
        };
        let registry = self.clone();
        let removed = self.detached(claim, async move { registry.remove_upload(upload).await });
        match removed.await {
            // On a shared store, a request of another process has just written it.
            Err(Error::UploadUnknown) => Ok(false),
            removed => removed.map(|()| true),
        }
    }

    /// Removes the upload, its bytes unless they belong to a blob, and its repository from the catalogue if
    /// that is then empty. The caller holds the claim.
    pub(super) async fn discard(&self, upload: Taken) -> Result<(), Error> {
        let repository = upload.repository.clone();
        self.freeing().remove_upload(upload).await?;
        self.leave(&repository).await
    }

    async fn remove_upload(&self, upload: Taken) -> Result<(), Error> {
        let digest = upload.session.digest.as_ref().map(|digest| digest.0.clone());
        if let Some(digest) = &digest {
            // Its link may be pending, and its bytes may be a blob's.
            let candidates = [
                Candidate::Link(upload.repository.clone(), digest.clone()),
                Candidate::Blob(digest.clone()),
            ];
            self.garbage.note(self.records.now(), candidates);
            if !self.settings.shared && upload.session.state == SessionState::Closed {
                return self.remove_closed(&upload, digest).await;
            }
        }
        // The state is written first. After that, no request continues or publishes the upload.
        let aborting = self
            .advance(&upload, upload.session.clone().aborting())
            .await?
            .ok_or(Error::UploadUnknown)?;
        match &digest {
            Some(digest) => self.hand_over(&aborting, digest).await?,
            None => {
                self.bytes
                    .remove(aborting.id.as_str(), &aborting.session.resume)
                    .await?;
            }
        }
        self.forget_upload(&aborting).await
    }

    /// Gives the bytes of a closed upload to the record of the blob, so that the collector removes them. On a shared
    /// store they must not be removed here, because a request that was stopped between its last look at the session
    /// and its write of the blob may still publish them. That write fails if this one comes first.
    async fn hand_over(&self, upload: &Taken, digest: &Digest) -> Result<(), Error> {
        let own = Own {
            name: upload.id.to_string(),
            size: upload.session.offset,
        };
        let hand_over = |found: Option<Found<BlobRecord>>| {
            Ok(BlobRecord::take_over(found.map(|found| found.record), &own))
        };
        self.records
            .change(&keys::blob(digest), hand_over)
            .await
            .map(drop)
    }

    /// Removes a closed upload, and its bytes if the blob has others. On a shared store only the request that closed
    /// the upload may do so, because no other request publishes its bytes.
    pub(super) async fn remove_closed(&self, upload: &Taken, digest: &Digest) -> Result<(), Error> {
        let blob = self.records.read(&keys::blob(digest)).await?;
        if !blob.is_some_and(|blob| blob.record.has(upload.id.as_str())) {
            self.bytes
                .remove(upload.id.as_str(), &upload.session.resume)
                .await?;
        }
        self.forget_upload(upload).await
    }

    /// Ends a closed upload whose blob is published, for a request that did not close it.
    pub(super) async fn end_published(&self, upload: Taken) -> Result<(), Error> {
        match self.remove_upload(upload).await {
            // The request that closed it has ended it.
            Err(Error::UploadUnknown) => Ok(()),
            removed => removed,
        }
    }

    pub(super) async fn forget_upload(&self, upload: &Taken) -> Result<(), Error> {
        self.records
            .delete(
                &keys::upload(&upload.repository, &upload.id),
                &upload.base.version,
            )
            .await?;
        self.open.ended(&upload.id);
        Ok(())
    }
}
