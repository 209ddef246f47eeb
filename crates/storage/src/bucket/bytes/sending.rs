//! A part on its way. It is sent by a task of its own, while its writer receives the next part.

use super::core::{Core, is_refused};
use super::memory::Held;
use super::saved::{Part, Tag};
use crate::Failure;
use bytes::Bytes;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Dropping it stops the task.
pub(super) struct Sending {
    task: JoinHandle<Result<String, Failure>>,
    size: u64,
}

/// The part of an upload that is sent.
pub(super) struct Place<'a> {
    pub key: &'a str,
    pub upload: &'a str,
    pub number: usize,
}

impl Sending {
    /// Gives back the memory as soon as the part is sent.
    pub(super) fn start(core: &Arc<Core>, place: &Place<'_>, bytes: Vec<Bytes>, held: Held) -> Self {
        let size = bytes.iter().map(|chunk| chunk.len() as u64).sum();
        let core = core.clone();
        let key = place.key.to_owned();
        let upload = place.upload.to_owned();
        let number = place.number;
        let task = tokio::spawn(async move {
            let payload: object_store::PutPayload = bytes.into_iter().collect();
            let sent = core.objects.put_part(&key, &upload, number, payload).await;
            drop(held);
            sent.map_err(|why| {
                if is_refused(&why) {
                    Failure::Missing
                } else {
                    core.failed(why)
                }
            })
        });
        Self { task, size }
    }

    pub(super) fn is_done(&self) -> bool {
        self.task.is_finished()
    }

    /// [`Failure::Missing`] if the upload is gone.
    pub(super) async fn end(mut self) -> Result<Part, Failure> {
        match (&mut self.task).await {
            Ok(Ok(tag)) => Ok(Part {
                tag: Tag::new(tag),
                size: self.size,
            }),
            Ok(Err(why)) => Err(why),
            Err(why) => Err(Failure::Io(Arc::new(why))),
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.task.abort();
    }
}
