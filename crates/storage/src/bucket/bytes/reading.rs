//! Reading a blob: one request for all bytes from where a reader begins, whose answer is read as fast as the
//! reader takes it. The connection to the service holds back what the reader has not taken, so a reader needs
//! no buffer of its own, however slow its client is.

use super::core::Core;
use crate::bucket::retry::Attempts;
use crate::{Answer, BlobFile, Failure};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{BoxStream, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use wharfinger_base::secret::Secret;

pub(super) struct Reading {
    core: Arc<Core>,
    key: String,
    size: u64,
    place: Mutex<Place>,
}

/// The bytes of an answer, as they come.
pub(super) type Answered = BoxStream<'static, object_store::Result<Bytes>>;

/// Where the reader is.
struct Place {
    at: u64,
    /// The next bytes.
    ahead: Bytes,
    /// What comes after them.
    answer: Option<Answered>,
}

impl Place {
    const fn new(at: u64) -> Self {
        Self {
            at,
            ahead: Bytes::new(),
            answer: None,
        }
    }

    /// Takes bytes that are there.
    fn take(&mut self, most: usize) -> Bytes {
        let bytes = self.ahead.split_to(most.min(self.ahead.len()));
        self.at += bytes.len() as u64;
        bytes
    }

    /// Notes what came. Nothing counts beyond the end of the blob.
    fn note(&mut self, mut bytes: Bytes, size: u64) {
        let left = usize::try_from(size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        bytes.truncate(left);
        self.ahead = bytes;
    }
}

impl Reading {
    pub(super) fn new(core: &Arc<Core>, key: String, size: u64) -> Self {
        Self {
            core: core.clone(),
            key,
            size,
            place: Mutex::new(Place::new(0)),
        }
    }

    /// A reader that begins at `first`, and has asked already.
    pub(super) fn begun(core: &Arc<Core>, key: String, size: u64, first: u64, answer: Answered) -> Self {
        let mut place = Place::new(first);
        place.answer = Some(answer);
        Self {
            place: Mutex::new(place),
            ..Self::new(core, key, size)
        }
    }

    async fn read_at(&self, offset: u64, most: usize) -> Result<Bytes, Failure> {
        if offset >= self.size || most == 0 {
            return Ok(Bytes::new());
        }
        let mut place = self.place.lock().await;
        if place.at != offset {
            *place = Place::new(offset);
        }
        let mut attempts = Attempts::new(self.core.objects.budget());
        while place.ahead.is_empty() {
            let answer = match &mut place.answer {
                Some(answer) => answer,
                None => {
                    let answer = self.begin(offset).await?;
                    place.answer.insert(answer)
                }
            };
            let why = match answer.next().await {
                Some(Ok(bytes)) => {
                    place.note(bytes, self.size);
                    continue;
                }
                Some(Err(why)) => self.core.failed(why),
                None => self.core.objects.failure(Short),
            };
            place.answer = None;
            if !attempts.again(None).await {
                return Err(why);
            }
        }
        Ok(place.take(most))
    }

    /// Asks for all bytes from `offset` on.
    async fn begin(&self, offset: u64) -> Result<Answered, Failure> {
        let answer = self.core.objects.stream(&self.key, offset..self.size).await;
        answer
            .map_err(|why| self.core.failed(why))?
            .ok_or(Failure::Missing)
    }
}

impl BlobFile for Reading {
    fn size(&self) -> u64 {
        self.size
    }

    /// Returns what has arrived.
    fn at_hand(&self, offset: u64, most: usize) -> Option<Bytes> {
        let mut place = self.place.try_lock().ok()?;
        if place.at != offset {
            return None;
        }
        if place.ahead.is_empty()
            && let Some(Some(Ok(bytes))) = place
                .answer
                .as_mut()
                .and_then(|answer| answer.next().now_or_never())
        {
            place.note(bytes, self.size);
        }
        Some(place.take(most)).filter(|bytes| !bytes.is_empty())
    }

    fn read(&self, offset: u64, most: usize) -> Answer<'_, Bytes> {
        self.read_at(offset, most).boxed()
    }

    fn url(&self, lifetime: Duration) -> Answer<'_, Option<Secret>> {
        let signed = self.core.objects.presigned(&self.key, lifetime);
        signed.map(|url| url.map_err(|why| self.core.failed(why))).boxed()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("its answer ended before the end of the object")]
struct Short;
