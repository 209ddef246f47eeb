//! The bytes of blobs. See [`BlobStore`] for what is promised, and how a bucket can keep it.
//!
//! A blob that fits one part is written by one request, when it is sealed. A larger one is a multipart upload
//! to its name, which begins with the first full part. What is kept before a part is full is a *rest*, an
//! object `d/<first two characters of the name>/<name>.<random>`.

mod core;
mod keys;
mod listing;
mod memory;
mod plan;
mod reading;
mod remains;
mod removing;
mod saved;
mod sending;
mod writer;
mod writers;

use self::core::Core;
use super::Bucket;
use super::objects::Objects;
use super::settings::Parts;
use crate::blocking::blocking;
use crate::{Answer, BlobFile, BlobStore, Failure, Look, Resume, Written};
use ::bytes::Bytes;
use futures_util::FutureExt;
use memory::Memory;
use plan::Plan;
use reading::Reading;
use saved::Saved;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use writer::Writer;
use writers::Writers;

/// Fewer bytes are hashed at once, without a thread of their own.
const HASHED_AT_ONCE: usize = 32 << 10;
/// How often a writer that lacks memory looks for an upload that does not use its own.
const RELIEF: Duration = Duration::from_millis(500);

/// The bytes of all blobs.
pub(super) struct Blobs {
    core: Arc<Core>,
    writers: Writers,
}

impl Blobs {
    pub(super) fn new(objects: &Arc<Objects>, parts: Parts) -> Self {
        Self {
            core: Arc::new(Core {
                objects: objects.clone(),
                memory: Memory::new(parts.memory, plan::LARGEST),
                plan: Plan { equal: parts.equal },
            }),
            writers: Writers::default(),
        }
    }

    async fn write(
        &self,
        name: &str,
        offset: u64,
        resume: &Resume,
        chunks: Vec<Bytes>,
        look: Look,
    ) -> Result<(), Failure> {
        let mut writer = self.writer_at(name, offset, resume).await?;
        let chunks = looked_at(chunks, look).await?;
        self.relieving(writer.add(chunks)).await?;
        self.writers.put(writer);
        Ok(())
    }

    /// The writer that has written up to `offset`, or a new one that continues from there.
    async fn writer_at(&self, name: &str, offset: u64, resume: &Resume) -> Result<Writer, Failure> {
        keys::blob(name)?;
        let present = self.writers.take(name).await;
        let saved = Saved::read(resume).ok_or(Failure::Missing);
        // Where both are possible, all behind what was kept is dropped.
        if let Ok(saved) = saved
            && saved.size() == offset
        {
            drop(present);
            return Writer::new(&self.core, name, resume, saved);
        }
        self.unless(present, |writer| writer.base == *resume && writer.end == offset)
    }

    /// The writer, if it fits. Otherwise it stays as it is.
    fn unless(&self, present: Option<Writer>, fits: impl Fn(&Writer) -> bool) -> Result<Writer, Failure> {
        match present {
            Some(writer) if fits(&writer) => Ok(writer),
            Some(writer) => {
                self.writers.put(writer);
                Err(Failure::Missing)
            }
            None => Err(Failure::Missing),
        }
    }

    /// The writer of exactly these bytes. If there is none, one that continues from `resume`, if that names
    /// them.
    async fn writer_of(&self, name: &str, size: u64, resume: &Resume) -> Result<Writer, Failure> {
        match self.writers.take(name).await {
            None => self.continued(name, size, resume),
            present => self.unless(present, |writer| writer.base == *resume && writer.end == size),
        }
    }

    fn continued(&self, name: &str, size: u64, resume: &Resume) -> Result<Writer, Failure> {
        let saved = Saved::read(resume).ok_or(Failure::Missing)?;
        if resume.is_empty() || saved.size() != size {
            return Err(Failure::Missing);
        }
        Writer::new(&self.core, name, resume, saved)
    }

    async fn keep(&self, name: &str, size: u64, resume: &Resume) -> Result<Resume, Failure> {
        keys::blob(name)?;
        let writer = self.writer_of(name, size, resume).await?;
        self.relieving(writer.keep()).await
    }

    async fn seal(&self, name: &str, size: u64, resume: &Resume) -> Result<(), Failure> {
        let key = keys::blob(name)?;
        let writer = match self.writers.take(name).await {
            None => match self.continued(name, size, resume) {
                Ok(writer) if !writer.has_rests() => writer,
                // It may have been sealed before, and its rests may have been removed then.
                _ if self.is_sealed(&key, size).await? => return Ok(()),
                continued => continued?,
            },
            present => self.unless(present, |writer| writer.base == *resume && writer.end == size)?,
        };
        self.relieving(writer.seal()).await
    }

    async fn is_sealed(&self, key: &str, size: u64) -> Result<bool, Failure> {
        let found = self.core.objects.size(key).await;
        Ok(found.map_err(|why| self.core.failed(why))? == Some(size))
    }

    async fn open(&self, name: &str) -> Result<Arc<dyn BlobFile>, Failure> {
        let key = keys::blob(name)?;
        let size = self
            .core
            .objects
            .size(&key)
            .await
            .map_err(|why| self.core.failed(why))?;
        Ok(Arc::new(Reading::new(
            &self.core,
            key,
            size.ok_or(Failure::Missing)?,
        )))
    }

    /// One request for the bytes and their number.
    async fn open_at(&self, name: &str, first: u64) -> Result<Arc<dyn BlobFile>, Failure> {
        let key = keys::blob(name)?;
        match self.core.objects.stream_from(&key, first).await {
            Ok(Some((size, answer))) => Ok(Arc::new(Reading::begun(&self.core, key, size, first, answer))),
            Ok(None) => Err(Failure::Missing),
            // The object may be shorter than the caller thinks. Its size shows that.
            Err(_) => self.open(name).await,
        }
    }

    async fn remove(&self, name: &str, resume: &Resume) -> Result<(), Failure> {
        drop(self.writers.take(name).await);
        self.core.remove(name, Saved::read(resume)).await
    }

    /// Runs `work`. While it waits for memory, takes that from uploads which do not use theirs.
    async fn relieving<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            if let Ok(done) = tokio::time::timeout(RELIEF, &mut work).await {
                return done;
            }
            if self.core.memory.is_wanted() {
                self.writers.relieve().await;
            }
        }
    }
}

/// Shows `look` the chunks, and returns them.
async fn looked_at(chunks: Vec<Bytes>, mut look: Look) -> Result<Vec<Bytes>, Failure> {
    let size: usize = chunks.iter().map(Bytes::len).sum();
    let seen = move || {
        chunks.iter().for_each(|chunk| look(chunk));
        Ok(chunks)
    };
    if size <= HASHED_AT_ONCE {
        seen()
    } else {
        blocking(seen).await
    }
}

impl fmt::Debug for Blobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blobs")
            .field("core", &self.core)
            .finish_non_exhaustive()
    }
}

impl Bucket {
    /// How much of the memory for parts is in use, in bytes.
    #[cfg(test)]
    pub(crate) fn memory_in_use(&self) -> u64 {
        self.blobs.core.memory.used()
    }
}

impl BlobStore for Bucket {
    fn write<'a>(
        &'a self,
        name: &'a str,
        offset: u64,
        resume: &'a Resume,
        chunks: Vec<Bytes>,
        look: Look,
    ) -> Answer<'a, ()> {
        self.blobs.write(name, offset, resume, chunks, look).boxed()
    }

    fn keep<'a>(&'a self, name: &'a str, size: u64, resume: &'a Resume) -> Answer<'a, Resume> {
        self.blobs.keep(name, size, resume).boxed()
    }

    fn seal<'a>(&'a self, name: &'a str, size: u64, resume: &'a Resume) -> Answer<'a, ()> {
        self.blobs.seal(name, size, resume).boxed()
    }

    fn open<'a>(&'a self, name: &'a str) -> Answer<'a, Arc<dyn BlobFile>> {
        self.blobs.open(name).boxed()
    }

    fn open_at<'a>(&'a self, name: &'a str, first: u64) -> Answer<'a, Arc<dyn BlobFile>> {
        self.blobs.open_at(name, first).boxed()
    }

    fn remove<'a>(&'a self, name: &'a str, resume: &'a Resume) -> Answer<'a, ()> {
        self.blobs.remove(name, resume).boxed()
    }

    fn list_bytes<'a>(&'a self, after: &'a str, limit: usize) -> Answer<'a, Vec<Written>> {
        self.blobs.core.list(after, limit).boxed()
    }

    fn list_remains<'a>(&'a self, after: &'a str, limit: usize) -> Answer<'a, Vec<Written>> {
        self.blobs.core.list_remains(after, limit).boxed()
    }

    fn remove_remains<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        self.blobs.core.remove_remains(name).boxed()
    }

    fn least_chunk(&self) -> Option<u64> {
        Some(self.blobs.core.plan.least())
    }
}
