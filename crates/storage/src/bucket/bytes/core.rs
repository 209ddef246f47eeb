//! What all operations on bytes share, and how failures of the service are reported.

use super::memory::Memory;
use super::plan::Plan;
use crate::Failure;
use crate::bucket::objects::{Condition, Objects};
use crate::bucket::retry::{Attempts, Verdict, verdict};
use bytes::Bytes;
use object_store::PutPayload;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Core {
    pub objects: Arc<Objects>,
    pub memory: Memory,
    pub plan: Plan,
}

impl Core {
    pub(super) fn failed(&self, why: object_store::Error) -> Failure {
        self.objects.failure(why)
    }

    /// Makes the object `key` of these bytes. It never replaces an object, because another writer of the
    /// upload may have made it, and its bytes may be published: [`Failure::Missing`] if there is one with
    /// other bytes.
    pub(super) async fn create(&self, key: &str, bytes: Vec<Bytes>) -> Result<(), Failure> {
        let payload: PutPayload = bytes.into_iter().collect();
        let mut attempts = Attempts::new(self.objects.budget());
        loop {
            let Err(why) = self.objects.put(key, payload.clone(), Condition::Absent).await else {
                return Ok(());
            };
            let wait = match verdict(&why) {
                Verdict::Passing { wait } => wait,
                Verdict::Refused | Verdict::Unusable => None,
                Verdict::Final => return Err(self.failed(why)),
            };
            // The outcome is unknown: the object may be this one.
            match self
                .is_same(key, &payload)
                .await
                .map_err(|why| self.failed(why))?
            {
                Some(true) => return Ok(()),
                Some(false) => return Err(Failure::Missing),
                None if attempts.again(wait).await => {}
                None => return Err(self.failed(why)),
            }
        }
    }

    /// Lets the service make the object `to` of the object `from`. `false` if it cannot.
    pub(super) async fn copy(&self, from: &str, to: &str) -> Result<bool, Failure> {
        match self.objects.copy(from, to).await {
            Ok(()) => Ok(true),
            Err(why) if is_refused(&why) => Err(Failure::Missing),
            Err(why) if verdict(&why) == Verdict::Final => Ok(false),
            Err(why) => Err(self.failed(why)),
        }
    }

    /// `None` if there is no object.
    async fn is_same(&self, key: &str, payload: &PutPayload) -> object_store::Result<Option<bool>> {
        let size = payload.content_length() as u64;
        match self.objects.size(key).await? {
            None => return Ok(None),
            Some(found) if found != size => return Ok(Some(false)),
            Some(0) => return Ok(Some(true)),
            Some(_) => {}
        }
        let found = self.objects.read(key, 0..size).await?;
        let mut rest = &found[..];
        let same = payload.iter().all(|chunk| {
            let begins = rest.strip_prefix(&chunk[..]);
            rest = begins.unwrap_or_default();
            begins.is_some()
        });
        Ok(Some(same && rest.is_empty()))
    }

    /// Makes an object of exactly these parts. Not an error if that was done before. [`Failure::Missing`] if
    /// the parts are no longer there.
    pub(super) async fn complete(
        &self,
        key: &str,
        upload: &str,
        tags: &[String],
        size: u64,
    ) -> Result<(), Failure> {
        let Err(why) = self.objects.complete(key, upload, tags).await else {
            return Ok(());
        };
        match self.objects.size(key).await {
            Ok(Some(found)) if found == size => Ok(()),
            Ok(_) if is_refused(&why) => Err(Failure::Missing),
            _ => Err(self.failed(why)),
        }
    }
}

/// Whether the upload does not exist, or lacks one of the parts that were named.
pub(super) fn is_refused(why: &object_store::Error) -> bool {
    let text = why.to_string();
    let absent = matches!(why, object_store::Error::NotFound { .. }) && !text.contains("NoSuchBucket");
    absent
        || ["NoSuchUpload", "InvalidPart"]
            .iter()
            .any(|code| text.contains(code))
}
