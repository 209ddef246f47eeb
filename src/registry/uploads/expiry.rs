//! The end of uploads that are not closed: cancelled, failed, or forgotten.

use super::super::marks::LISTED;
use super::super::records::BlobRecord;
use super::super::{Error, Registry, keys};
use super::UploadId;
use super::session::{Session, SessionState};
use crate::oci::{Digest, RepositoryName};
use crate::storage::{Failure, Version};
use std::collections::BTreeSet;

impl Registry {
    /// Removes the uploads that have expired, with their bytes, and says how many. One that a request is writing to is left alone.
    pub async fn expire_uploads(&self) -> Result<usize, Error> {
        let mut expired = 0;
        let mut after = String::new();
        loop {
            let page = self.records.list(keys::UPLOADS, &after, LISTED).await?;
            let Some(last) = page.last().cloned() else { return Ok(expired) };
            let (mut left, mut end) = (BTreeSet::new(), Ok(()));
            for id in page.iter().filter_map(|key| key.strip_prefix(keys::UPLOADS)?.parse::<UploadId>().ok()) {
                match self.expire(id).await {
                    Ok(Some(repository)) => {
                        expired += 1;
                        left.insert(repository);
                    }
                    Ok(None) => {}
                    Err(failed @ Error::Storage(Failure::Stopped | Failure::Full | Failure::Busy)) => {
                        end = Err(failed);
                        break;
                    }
                    // One that is damaged, say: the others' time is up all the same.
                    Err(why) => tracing::error!("an upload was not looked at, which may have expired: {why}"),
                }
            }
            self.leave_all(left).await;
            end?;
            after = last;
        }
    }

    /// Takes these repositories from the catalogue unless something is in them: once for all uploads of one, since it looks through every
    /// upload that there is. Goes on to its end even if the caller is given up, for nobody would come back to it.
    async fn leave_all(&self, repositories: BTreeSet<String>) {
        let registry = self.clone();
        let leaving = tokio::spawn(async move {
            for repository in repositories.iter().filter_map(|name| name.parse().ok()) {
                if let Err(why) = registry.leave(&repository).await {
                    tracing::error!(repo.name = %repository, "a repository whose uploads expired may stay in the catalogue: {why}");
                }
            }
        });
        // It ends early only when the runtime does.
        drop(leaving.await);
    }

    /// The repository that it was for, if it has expired.
    async fn expire(&self, id: UploadId) -> Result<Option<String>, Error> {
        let Ok(lock) = self.locks.take(&id) else { return Ok(None) };
        let Some((version, session)) = self.records.read::<Session>(&keys::upload(&id)).await? else { return Ok(None) };
        // Open ones live out their time; what is left of the others is what a crash interrupted.
        if !session.has_expired(self.clock.now()) {
            return Ok(None);
        }
        let (registry, repository) = (self.clone(), session.repository.clone());
        self.detached(lock, async move { registry.remove_upload(&id, version, session).await }).await?;
        Ok(Some(repository))
    }

    /// Removes the upload and its bytes, unless they have become a blob's, and its repository from the catalogue if nothing else is in
    /// it. The caller holds the lock.
    pub(super) async fn discard(&self, id: &UploadId, version: Version, session: Session) -> Result<(), Error> {
        let repository = session.repository.parse::<RepositoryName>();
        self.remove_upload(id, version, session).await?;
        match repository {
            Ok(repository) => self.leave(&repository).await,
            Err(_) => Ok(()),
        }
    }

    async fn remove_upload(&self, id: &UploadId, version: Version, session: Session) -> Result<(), Error> {
        if let (SessionState::Closed, Some(digest)) = (session.state, &session.digest) {
            self.remove_closed(id, version, &digest.0.clone()).await?;
        } else {
            // Said before it is done, so that no half removed upload is taken up again after a crash.
            let aborting = Session { state: SessionState::Aborting, ..session };
            let Some(version) = self.records.swap(&keys::upload(id), version, &aborting).await? else {
                return Err(Error::UploadUnknown);
            };
            self.bytes.remove(id.as_str()).await?;
            self.records.delete(&keys::upload(id), version).await?;
        }
        Ok(())
    }

    /// Removes a closed upload, and its bytes if the blob has others.
    pub(super) async fn remove_closed(&self, id: &UploadId, version: Version, digest: &Digest) -> Result<(), Error> {
        let blob = self.records.read::<BlobRecord>(&keys::blob(digest)).await?;
        if !blob.is_some_and(|(_, blob)| blob.has(id.as_str())) {
            self.bytes.remove(id.as_str()).await?;
        }
        self.records.delete(&keys::upload(id), version).await?;
        Ok(())
    }
}
