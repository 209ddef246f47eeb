//! The requests of multipart uploads.

use super::super::uploads::{Marker, Uploads};
use super::{Objects, generic, unexpected, unless_absent};
use object_store::PutPayload;
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::signer::SignedUrlOptions;

impl Objects {
    /// Begins a multipart upload and returns its ID.
    pub(in crate::bucket) async fn begin(&self, key: &str) -> object_store::Result<String> {
        let path = self.path(key)?;
        self.check_fence(&path)?;
        self.retried(|| self.service.create_multipart(&path)).await
    }

    /// Returns the part's entity tag. Numbers begin with 0.
    pub(in crate::bucket) async fn put_part(
        &self,
        key: &str,
        upload: &str,
        number: usize,
        bytes: impl Into<PutPayload>,
    ) -> object_store::Result<String> {
        let path = self.path(key)?;
        self.check_fence(&path)?;
        let upload = upload.to_owned();
        let bytes = bytes.into();
        let part = self
            .retried(|| self.sending.put_part(&path, &upload, number, bytes.clone()))
            .await?;
        Ok(part.content_id)
    }

    /// Makes an object of the parts with these entity tags, from number 0 on.
    pub(in crate::bucket) async fn complete(
        &self,
        key: &str,
        upload: &str,
        parts: &[String],
    ) -> object_store::Result<()> {
        let parts: Vec<_> = parts
            .iter()
            .map(|tag| PartId {
                content_id: tag.clone(),
            })
            .collect();
        let path = self.path(key)?;
        self.check_fence(&path)?;
        let upload = upload.to_owned();
        self.retried(|| self.service.complete_multipart(&path, &upload, parts.clone()))
            .await?;
        Ok(())
    }

    /// Not an error if there is no such upload.
    pub(in crate::bucket) async fn abort(&self, key: &str, upload: &str) -> object_store::Result<()> {
        let path = self.path(key)?;
        self.check_fence(&path)?;
        let upload = upload.to_owned();
        let aborted = self
            .retried(|| self.service.abort_multipart(&path, &upload))
            .await;
        unless_absent(aborted).map(drop)
    }

    /// The multipart uploads that are neither completed nor aborted, under keys with the prefix, after
    /// `after`: one page of the service.
    pub(in crate::bucket) async fn uploads(
        &self,
        prefix: &str,
        after: &Marker,
    ) -> object_store::Result<Uploads> {
        let under = format!("{}{prefix}", self.root);
        let mut query = vec![("uploads", ""), ("prefix", &under)];
        if !after.key.is_empty() {
            query.push(("key-marker", &after.key));
        }
        if !after.upload.is_empty() {
            query.push(("upload-id-marker", &after.upload));
        }
        let options = SignedUrlOptions::new().with_query(query);
        let path = &Path::default();
        let options = &options;
        let listed = self.retried(|| async move {
            let answer = self.signed(http::Method::GET, path, options).await?;
            match answer.status() {
                status if status.is_success() => answer.into_body().bytes().await.map_err(generic),
                _ => Err(unexpected(answer).await),
            }
        });
        Uploads::parse(&listed.await?, &self.root).map_err(generic)
    }
}
