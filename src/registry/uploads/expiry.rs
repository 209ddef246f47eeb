//! The end of uploads that are not closed: cancelled, failed, or forgotten.

use super::super::keys::Entry;
use super::super::states::session::SessionState;
use super::super::upload_id::UploadId;
use super::super::{Error, Registry, keys};
use super::taken::Taken;
use crate::oci::{Digest, RepositoryName};
use crate::storage::{Failure, Show};

impl Registry {
    /// Removes the uploads that have expired, with their bytes, and says how many. One that a request is
    /// writing to is left alone.
    pub async fn expire_uploads(&self) -> Result<usize, Error> {
        let registry = self.freeing();
        // To its end even if the caller is given up: nobody would come back to a repository that has to leave
        // the catalogue.
        let task = tokio::spawn(async move {
            let mut expired = 0;
            let mut last = None;
            let walked = registry.walk_uploads(&mut expired, &mut last).await;
            registry.all_expired(last).await;
            walked.map(|()| expired)
        });
        task.await.unwrap_or(Err(Error::Interrupted))
    }

    /// Counts those that have `expired`. `last` is the repository of the last one, which may have more of
    /// them.
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
                        // They come by repository.
                        if last.as_ref() != Some(&repository) {
                            self.all_expired(last.replace(repository)).await;
                        }
                    }
                    Ok(false) => {}
                    Err(failed @ Error::Storage(Failure::Stopped | Failure::Full | Failure::Busy)) => {
                        return Err(failed);
                    }
                    // One that is damaged, say: the others' time is up all the same.
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

    /// Takes the repository from the catalogue unless something is in it.
    async fn all_expired(&self, repository: Option<RepositoryName>) {
        let Some(repository) = repository else { return };
        if let Err(why) = self.leave(&repository).await {
            tracing::error!(repo.name = %repository, "uploads of a repository expired, but the repository may stay in the catalogue: {why}");
        }
    }

    /// Whether it had expired.
    async fn expire(&self, repository: &RepositoryName, id: &UploadId) -> Result<bool, Error> {
        let claimed = match self.claims.claim(&self.records, repository, id).await {
            Err(Error::UploadUnknown) => None, // it ended meanwhile
            claimed => claimed?,
        };
        // An upload lives for so long after its last request, in whatever state that left it.
        let Some((claim, upload)) = claimed.filter(|(_, upload)| self.has_expired(upload.written)) else {
            return Ok(false);
        };
        let registry = self.clone();
        self.detached(claim, async move { registry.remove_upload(upload).await })
            .await?;
        Ok(true)
    }

    /// Removes the upload and its bytes, unless they have become a blob's, and its repository from the
    /// catalogue if nothing else is in it. The caller holds the claim.
    pub(super) async fn discard(&self, upload: Taken) -> Result<(), Error> {
        let repository = upload.repository.clone();
        self.freeing().remove_upload(upload).await?;
        self.leave(&repository).await
    }

    async fn remove_upload(&self, upload: Taken) -> Result<(), Error> {
        if let (SessionState::Closed, Some(digest)) = (upload.session.state, &upload.session.digest) {
            return self.remove_closed(&upload, &digest.0.clone()).await;
        }
        let aborting = self
            .advance(&upload, upload.session.clone().aborting())
            .await?
            .ok_or(Error::UploadUnknown)?;
        self.bytes
            .remove(aborting.id.as_str(), &aborting.session.resume)
            .await?;
        self.records
            .delete(
                &keys::upload(&aborting.repository, &aborting.id),
                &aborting.base.version,
            )
            .await?;
        self.open.ended(&aborting.id);
        Ok(())
    }

    /// Removes a closed upload, and its bytes if the blob has others.
    pub(super) async fn remove_closed(&self, upload: &Taken, digest: &Digest) -> Result<(), Error> {
        let blob = self.records.read(&keys::blob(digest)).await?;
        if !blob.is_some_and(|blob| blob.record.has(upload.id.as_str())) {
            self.bytes
                .remove(upload.id.as_str(), &upload.session.resume)
                .await?;
        }
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
