//! Uploads that have expired.

use super::super::Error;
use super::super::keys::{self, Entry};
use super::super::states::session::Session;
use super::super::upload_id::UploadId;
use super::Collector;
use super::references::is_unknown;
use super::report::{Goes, Item, Notes, Stays};
use crate::oci::RepositoryName;
use crate::storage::{Failure, Show};

impl Collector {
    /// Removes expired uploads and their bytes, unless the bytes belong to a blob. An upload's lifetime does
    /// not depend on the grace period.
    pub(super) async fn uploads(&self, notes: &mut Notes<'_>) -> Result<(), Error> {
        let mut pages = self
            .registry
            .records
            .pages(keys::all_uploads(), String::new(), Show::All);
        while let Some(page) = pages.next_written().await? {
            notes.looked(page.len() as u64);
            for (key, written) in page {
                if !self.registry.has_expired(written) {
                    continue;
                }
                if let Some(Entry::Upload(repository, id)) = Entry::parse(key.as_str()) {
                    self.upload(&repository, &id, notes).await?;
                }
            }
        }
        Ok(())
    }

    async fn upload(
        &self,
        repository: &RepositoryName,
        id: &UploadId,
        notes: &mut Notes<'_>,
    ) -> Result<(), Error> {
        self.breath.take().await;
        let mut item = Item {
            repository: Some(repository),
            name: id.as_str(),
            bytes: 0,
        };
        let session = match self.registry.records.read(&keys::upload(repository, id)).await {
            Err(why) if is_unknown(&why) => {
                notes.stays(&item, Stays::Unreadable);
                return Ok(());
            }
            session => session?,
        };
        let Some(session) = session else { return Ok(()) };
        item.bytes = self.bytes_of(id, &session.record).await?;
        if self.is_dry() {
            notes.goes(&item, Goes::ExpiredUpload);
            return Ok(());
        }
        match self.registry.expire(repository, id).await {
            Ok(true) => {
                notes.goes(&item, Goes::ExpiredUpload);
                self.registry.leave(repository).await?;
            }
            Ok(false) => notes.stays(&item, Stays::Busy),
            Err(why @ Error::Storage(Failure::Stopped)) => return Err(why),
            Err(why) => {
                tracing::warn!(repo.name = %repository, upload.id = %id, "cannot remove an expired upload; the next pass tries again: {why}");
                notes.stays(&item, Stays::NotRemoved);
            }
        }
        Ok(())
    }

    /// How many bytes are removed with the upload.
    async fn bytes_of(&self, id: &UploadId, session: &Session) -> Result<u64, Error> {
        let Some(digest) = &session.digest else {
            return Ok(session.offset);
        };
        let blob = match self.registry.records.read(&keys::blob(&digest.0)).await {
            Err(why) if is_unknown(&why) => return Ok(0),
            blob => blob?,
        };
        let is_a_blobs = blob.is_some_and(|blob| blob.record.has(id.as_str()));
        Ok(if is_a_blobs { 0 } else { session.offset })
    }
}
