//! An upload as one request writes it.
//!
//! Its bytes are, in this order: the parts that are sent, the parts that are being sent, the rests, and the
//! chunks in memory. The rests and the chunks together become the next part.

use super::core::Core;
use super::keys;
use super::memory::Held;
use super::plan::MOST_PARTS;
use super::saved::{Rest, Saved};
use super::sending::{Place, Sending};
use crate::bucket::objects::Condition;
use crate::{Failure, Resume};
use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};
use std::collections::VecDeque;
use std::mem::take;
use std::sync::Arc;
use tokio::time::Instant;

/// How many parts of one upload are sent at once.
const AT_ONCE: usize = 2;
/// More rests are joined to one when the bytes are kept.
const MOST_RESTS: usize = 16;

pub(super) struct Writer {
    core: Arc<Core>,
    pub name: String,
    key: String,
    /// What it continued from.
    pub base: Resume,
    saved: Saved,
    sending: VecDeque<Sending>,
    chunks: Vec<Bytes>,
    /// How many bytes are in `chunks`.
    collected: u64,
    held: Held,
    /// How many bytes the upload has.
    pub end: u64,
    pub touched: Instant,
    /// Whether no [`Resume`] names the multipart upload.
    unnamed: bool,
}

impl Writer {
    /// Continues after what `base` names: `saved`.
    pub(super) fn new(
        core: &Arc<Core>,
        name: &str,
        base: &Resume,
        mut saved: Saved,
    ) -> Result<Self, Failure> {
        let key = keys::blob(name)?;
        remove_later(core, take(&mut saved.former));
        Ok(Self {
            core: core.clone(),
            name: name.to_owned(),
            key,
            base: base.clone(),
            end: saved.size(),
            saved,
            sending: VecDeque::new(),
            chunks: Vec::new(),
            collected: 0,
            held: Held::default(),
            touched: Instant::now(),
            unnamed: false,
        })
    }

    /// Sends every part that these chunks fill, and holds the rest.
    pub(super) async fn add(&mut self, chunks: Vec<Bytes>) -> Result<(), Failure> {
        while self.sending.front().is_some_and(Sending::is_done) {
            self.sent().await?;
        }
        for mut chunk in chunks {
            while !chunk.is_empty() {
                let room = self.room();
                if room == 0 {
                    self.send().await?;
                    continue;
                }
                let length = usize::try_from(room).map_or(chunk.len(), |room| room.min(chunk.len()));
                let piece = chunk.split_to(length);
                self.reserve(piece.len() as u64).await?;
                self.collected += piece.len() as u64;
                self.end += piece.len() as u64;
                self.chunks.push(piece);
            }
        }
        Ok(())
    }

    /// Makes all bytes durable, and returns what a writer needs to continue.
    pub(super) async fn keep(mut self) -> Result<Resume, Failure> {
        let size = self.pending();
        if self.collected > 0 && self.core.plan.may_be(self.next(), size) {
            self.send().await?;
        } else {
            self.lay_down().await?;
        }
        if self.saved.rests.len() > MOST_RESTS {
            let (bytes, held) = self.gather().await?;
            self.chunks = bytes;
            self.held = held;
            self.collected = size;
            self.lay_down().await?;
        }
        self.all_sent().await?;
        Ok(self.resume())
    }

    /// Makes the object.
    pub(super) async fn seal(mut self) -> Result<(), Failure> {
        if self.saved.upload.is_some() {
            self.complete().await?;
        } else {
            self.create().await?;
        }
        remove_later(&self.core, take(&mut self.saved.former));
        Ok(())
    }

    /// Writes the chunks in memory as a rest, and gives back their memory.
    pub(super) async fn lay_down(&mut self) -> Result<(), Failure> {
        if self.collected > 0 {
            let key = keys::new_rest(&self.key);
            let payload: object_store::PutPayload = self.chunks.iter().cloned().collect();
            let written = self.core.objects.put(&key, payload, Condition::None).await;
            written.map_err(|why| self.core.failed(why))?;
            let size = take(&mut self.collected);
            self.saved.rests.push(Rest { key, size });
            self.chunks.clear();
        }
        self.held = Held::default();
        Ok(())
    }

    pub(super) fn holds_memory(&self) -> bool {
        self.held.bytes() > 0
    }

    /// Whether one more rest is not too many.
    pub(super) fn may_lay_down(&self) -> bool {
        self.saved.rests.len() < 4 * MOST_RESTS
    }

    pub(super) const fn has_rests(&self) -> bool {
        !self.saved.rests.is_empty()
    }

    fn resume(mut self) -> Resume {
        self.unnamed = false;
        take(&mut self.saved).resume()
    }

    /// The number of the next part.
    fn next(&self) -> usize {
        self.saved.parts.len() + self.sending.len()
    }

    /// How many bytes the next part has.
    fn pending(&self) -> u64 {
        self.saved.rests_size() + self.collected
    }

    /// How many bytes the next part still lacks.
    fn room(&self) -> u64 {
        self.core.plan.size_of(self.next()).saturating_sub(self.pending())
    }

    /// Makes sure that there is memory for so many more bytes.
    async fn reserve(&mut self, bytes: u64) -> Result<(), Failure> {
        let lacks = (self.collected + bytes).saturating_sub(self.held.bytes());
        if lacks == 0 {
            return Ok(());
        }
        if let Some(more) = self.core.memory.try_take(lacks) {
            self.held.add(more);
            return Ok(());
        }
        self.lay_down().await?;
        // Enough for a whole part, rests included, so that this part need not wait again.
        self.held = self.core.memory.take(self.core.plan.size_of(self.next())).await;
        Ok(())
    }

    /// Takes the bytes of the next part with their memory. The rests are read.
    async fn gather(&mut self) -> Result<(Vec<Bytes>, Held), Failure> {
        let lacks = self.pending().saturating_sub(self.held.bytes());
        if lacks > 0 {
            match self.core.memory.try_take(lacks) {
                Some(more) => self.held.add(more),
                None => {
                    self.lay_down().await?;
                    self.held = self.core.memory.take(self.pending()).await;
                }
            }
        }
        let core = &self.core;
        let mut bytes = try_join_all(self.saved.rests.iter().map(|rest| read(core, rest))).await?;
        bytes.append(&mut self.chunks);
        self.collected = 0;
        let read = take(&mut self.saved.rests);
        self.saved.former.extend(read.into_iter().map(|rest| rest.key));
        Ok((bytes, take(&mut self.held)))
    }

    /// Begins to send the next part, when fewer than [`AT_ONCE`] are under way.
    async fn send(&mut self) -> Result<(), Failure> {
        while self.sending.len() >= AT_ONCE {
            self.sent().await?;
        }
        let number = self.next();
        if number >= MOST_PARTS {
            return Err(Failure::Io(Arc::new(TooLarge)));
        }
        let upload = match &self.saved.upload {
            Some(upload) => upload.clone(),
            None => {
                let begun = self.core.objects.begin(&self.key).await;
                let upload = begun.map_err(|why| self.core.failed(why))?;
                self.saved.upload = Some(upload.clone());
                self.unnamed = true;
                upload
            }
        };
        let (bytes, held) = self.gather().await?;
        let place = Place {
            key: &self.key,
            upload: &upload,
            number,
        };
        self.sending
            .push_back(Sending::start(&self.core, &place, bytes, held));
        Ok(())
    }

    /// Waits for the first of the parts under way.
    async fn sent(&mut self) -> Result<(), Failure> {
        if let Some(sending) = self.sending.pop_front() {
            self.saved.parts.push(sending.end().await?);
        }
        Ok(())
    }

    async fn all_sent(&mut self) -> Result<(), Failure> {
        while !self.sending.is_empty() {
            self.sent().await?;
        }
        Ok(())
    }

    /// Makes the object of all parts. What remains is the last one.
    async fn complete(&mut self) -> Result<(), Failure> {
        if self.pending() > 0 {
            self.send().await?;
        }
        self.all_sent().await?;
        // Its outcome may be unknown.
        self.unnamed = false;
        let tags: Vec<_> = self.saved.parts.iter().map(|part| part.tag.text()).collect();
        let upload = self.saved.upload.as_deref().ok_or(Failure::Missing)?;
        self.core.complete(&self.key, upload, &tags, self.end).await
    }

    /// Makes the object of bytes that fit one part.
    async fn create(&mut self) -> Result<(), Failure> {
        if let ([rest], 0) = (&*self.saved.rests, self.collected)
            && self.core.copy(&rest.key, &self.key).await?
        {
            self.saved.former.push(rest.key.clone());
            return Ok(());
        }
        let (bytes, _held) = self.gather().await?;
        self.core.create(&self.key, bytes).await
    }
}

impl Drop for Writer {
    /// Nobody can continue a multipart upload that no [`Resume`] names.
    fn drop(&mut self) {
        let Some(upload) = take(&mut self.saved.upload).filter(|_| self.unnamed) else {
            return;
        };
        let objects = self.core.objects.clone();
        let key = take(&mut self.key);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(why) = objects.abort(&key, &upload).await {
                    tracing::debug!("could not abort an upload to the bucket; a sweep will do it: {why}");
                }
            });
        }
    }
}

async fn read(core: &Core, rest: &Rest) -> Result<Bytes, Failure> {
    match core.objects.read(&rest.key, 0..rest.size).await {
        Ok(bytes) if bytes.len() as u64 == rest.size => Ok(bytes),
        Ok(_) | Err(object_store::Error::NotFound { .. }) => Err(Failure::Missing),
        Err(why) => Err(core.failed(why)),
    }
}

/// Removes rests that nobody needs any more. If that fails, they go with the blob.
fn remove_later(core: &Arc<Core>, rests: Vec<String>) {
    if rests.is_empty() {
        return;
    }
    let objects = core.objects.clone();
    tokio::spawn(async move {
        let removed = join_all(rests.iter().map(|key| objects.delete(key))).await;
        if let Some(why) = removed.into_iter().find_map(Result::err) {
            tracing::debug!("could not remove the rest of an upload; it goes with the blob: {why}");
        }
    });
}

#[derive(Debug, thiserror::Error)]
#[error("the blob is too large for this store: it would need more than {MOST_PARTS} parts")]
struct TooLarge;
