//! Removing a blob with everything that belongs to it.

use super::core::Core;
use super::keys;
use super::saved::Saved;
use crate::Failure;
use crate::bucket::uploads::Marker;
use futures_util::future::{join, join3, try_join_all};

/// How many rests are removed at once.
const PAGE: usize = 100;

impl Core {
    /// Removes the object, its rests and its multipart uploads. `saved` names an upload in case the service
    /// cannot list them.
    pub(super) async fn remove(&self, name: &str, saved: Option<Saved>) -> Result<(), Failure> {
        let key = keys::blob(name)?;
        let named = saved.and_then(|saved| saved.upload);
        let (uploads, rests, object) = join3(
            self.abort_all(&key, named),
            self.remove_rests(&key),
            self.objects.delete(&key),
        )
        .await;
        object.and(rests).and(uploads).map_err(|why| self.failed(why))
    }

    /// Removes the rests and the multipart uploads of a sealed blob.
    pub(super) async fn remove_remains(&self, name: &str) -> Result<(), Failure> {
        let key = keys::blob(name)?;
        let (uploads, rests) = join(self.abort_all(&key, None), self.remove_rests(&key)).await;
        rests.and(uploads).map_err(|why| self.failed(why))
    }

    async fn remove_rests(&self, key: &str) -> object_store::Result<()> {
        loop {
            let rests = self.objects.list(&keys::rests(key), "", PAGE).await?;
            try_join_all(rests.iter().map(|rest| self.objects.delete(&rest.key))).await?;
            if rests.len() < PAGE {
                return Ok(());
            }
        }
    }

    async fn abort_all(&self, key: &str, named: Option<String>) -> object_store::Result<()> {
        if let Some(upload) = named {
            self.objects.abort(key, &upload).await?;
        }
        let mut next = Some(Marker::default());
        while let Some(marker) = next {
            let page = match self.objects.uploads(key, &marker).await {
                Ok(page) => page,
                // Not every service has this list. A rule of the bucket removes what remains.
                Err(why) => {
                    tracing::debug!("could not list the uploads to the bucket: {why}");
                    return Ok(());
                }
            };
            let of_this = page.found.iter().filter(|found| found.key == key);
            try_join_all(of_this.map(|found| self.objects.abort(key, &found.upload))).await?;
            next = page.next.filter(|next| *next != marker);
        }
        Ok(())
    }
}
