//! Appending to an upload. The body is hashed and written in batches; the next batch arrives while the last
//! one is written. A batch holds memory of the budget for bodies until it is written. When memory is scarce,
//! batches are smaller, and each waits for the one before.

use super::super::body::Wanted;
use super::super::hashing::{Hasher, Hashing};
use super::super::large::worked;
use super::super::states::session::SessionState;
use super::super::suspecting::differs;
use super::super::upload_id::UploadId;
use super::super::usage::Adds;
use super::super::{Body, BodyError, Error, Registry};
use super::Upload;
use super::taken::Taken;
use crate::access::{Create, Permit};
use crate::budget::Held;
use crate::oci::{ContentRange, RepositoryName};
use crate::storage::{BlobFile, Failure, Resume};
use bytes::{Bytes, BytesMut};
use futures_util::future::join;

/// A batch is complete when it has at least this many bytes. At most two batches are in memory, and each may
/// exceed this by a part of its last frame.
const BATCH: usize = 1024 * 1024;
/// Smaller chunks are copied: a chunk is a part of a buffer of its connection, and keeps all of that in
/// memory.
const COPIED: usize = 4 * 1024;
/// How many copied bytes lie in one allocation.
const COPIES: usize = 8 * 1024;
/// The smallest buffer that hyper reads into, which is what a chunk keeps in memory at least.
const READ_BUFFER: usize = 8 * 1024;
/// The memory that a chunk needs in addition to its bytes.
const CHUNK_COST: usize = 128;

/// A body of which the first `length` bytes are hashed. `next` came after them.
pub(super) struct Begun {
    pub hasher: Hasher,
    pub length: u64,
    next: Batch,
}

impl Begun {
    pub(super) async fn new(hasher: Hasher, body: &mut Body) -> Self {
        Self {
            hasher,
            length: 0,
            next: collect(body).await,
        }
    }
}

/// The result of receiving a body.
pub(super) struct Received {
    pub hasher: Hasher,
    pub length: u64,
    pub end: Result<(), BodyError>,
}

/// What is done with a body's bytes in addition to hashing them.
#[derive(Clone, Copy)]
enum Sink<'a> {
    Written(To<'a>),
    Compared(&'a dyn BlobFile),
}

/// The result of comparing a body with stored bytes.
pub(super) enum Compared {
    Same(Received),
    /// The bytes in `next` differ or could not be compared.
    Differs(Begun),
}

/// Where bytes are written.
#[derive(Clone, Copy)]
pub(in crate::registry) struct To<'a> {
    name: &'a str,
    offset: u64,
    resume: &'a Resume,
    /// The repository, and what it may get.
    quotas: (&'a RepositoryName, Adds),
}

impl<'a> To<'a> {
    pub(super) fn further(self, by: u64) -> Self {
        Self {
            offset: self.offset + by,
            ..self
        }
    }

    /// After the bytes that the upload already has.
    pub(super) fn of(upload: &'a Taken) -> Self {
        Self {
            name: upload.id.as_str(),
            offset: upload.session.offset,
            resume: &upload.session.resume,
            quotas: (&upload.repository, Adds::PERHAPS),
        }
    }

    /// Returns the target with the bytes that this digest would add to the quotas.
    pub(super) fn adding(self, adds: Adds) -> Self {
        Self {
            quotas: (self.quotas.0, adds),
            ..self
        }
    }
}

#[derive(Default)]
struct Batch {
    chunks: Vec<Bytes>,
    /// The last small chunks, copied together. They follow `chunks`.
    copies: BytesMut,
    size: usize,
    /// The memory that the batch needs.
    cost: usize,
    /// Set when the body ended after these bytes.
    end: Option<Result<(), BodyError>>,
    /// The memory that is reserved for the batch.
    held: Option<Held>,
}

impl Batch {
    fn add(&mut self, chunk: Bytes) {
        self.size += chunk.len();
        if chunk.len() >= COPIED {
            self.end_copies();
            self.cost += chunk.len().max(READ_BUFFER) + CHUNK_COST;
            self.chunks.push(chunk);
            return;
        }
        if self.copies.capacity() - self.copies.len() < chunk.len() {
            self.end_copies();
            self.copies = BytesMut::with_capacity(COPIES);
            self.cost += COPIES;
        }
        self.copies.extend_from_slice(&chunk);
    }

    /// Makes a chunk of the copied bytes. Later copies use the rest of its allocation.
    fn end_copies(&mut self) {
        if !self.copies.is_empty() {
            self.cost += CHUNK_COST;
            self.chunks.push(self.copies.split().freeze());
        }
    }

    /// Whether the file has other bytes at `at`.
    async fn differs(&self, file: &dyn BlobFile, mut at: u64) -> bool {
        for chunk in &self.chunks {
            tokio::task::consume_budget().await;
            if differs(file, at, chunk).await.is_some() {
                return true;
            }
            at += chunk.len() as u64;
        }
        false
    }

    /// How much memory it still needs, in bytes.
    fn lacks(&self) -> usize {
        let held = self.held.as_ref().map_or(0, Held::bytes);
        self.cost.saturating_sub(held)
    }
}

impl Registry {
    /// Appends a chunk, whose `range` must begin at the upload's offset, or a stream of any length. If the
    /// body ends early, the received bytes are kept. If its length is not the announced one, none are kept.
    pub async fn append(
        &self,
        permit: &Permit<Create>,
        id: &UploadId,
        range: Option<ContentRange>,
        content_length: Option<u64>,
        body: Body,
    ) -> Result<Upload, Error> {
        let (claim, upload) = self.claim(permit, id).await?;
        if upload.session.state != SessionState::Open {
            return Err(Error::UploadUnknown);
        }
        check_range(range, upload.session.offset)?;
        let announced = range.map(ContentRange::len);
        if announced
            .zip(content_length)
            .is_some_and(|(range, length)| range != length)
        {
            return Err(Error::SizeMismatch);
        }
        let registry = self.clone();
        self.detached(claim, async move {
            let appended = registry
                .append_claimed(upload.clone(), announced.or(content_length), body)
                .await;
            registry.after(upload, appended).await
        })
        .await
    }

    async fn append_claimed(
        &self,
        upload: Taken,
        announced: Option<u64>,
        mut body: Body,
    ) -> Result<Upload, Error> {
        let hasher = upload.session.hasher().ok_or(Error::UploadUnknown)?;
        self.check_room(To::of(&upload), body.least())?;
        let begun = Begun::new(hasher, &mut body).await;
        let received = self.receive(To::of(&upload), begun, &mut body, announced).await?;
        let id = upload.id.clone();
        let offset = self.keep(upload, &received).await?;
        received.end?;
        Ok(Upload { id, offset })
    }

    /// Fails if a quota has no room for what the upload has and so many bytes more.
    pub(super) fn check_room(&self, to: To<'_>, more: u64) -> Result<(), Error> {
        let (repository, adds) = to.quotas;
        Ok(self
            .usage
            .check(repository, adds, to.offset.saturating_add(more))?)
    }

    /// Cleans up after a failed request and returns the result. If the upload's bytes are gone, the upload
    /// ends, and the client must start again. If the disk is full, the bytes of this request are removed at
    /// once.
    pub(super) async fn after<T>(&self, upload: Taken, done: Result<T, Error>) -> Result<T, Error> {
        match done {
            Err(Error::Storage(Failure::Missing)) => {
                let discarded = self.discard(upload.clone()).await;
                if matches!(discarded, Err(Error::UploadUnknown)) {
                    return Err(self.taken_over(&upload).await);
                }
                tracing::error!(repo.name = %upload.repository, "the bytes of an upload are missing, so the upload was cancelled");
                if let Err(why) = discarded {
                    tracing::warn!(
                        "could not remove an upload that has lost its bytes; it remains until it expires: {why}"
                    );
                }
                Err(Error::UploadUnknown)
            }
            Err(why @ Error::QuotaExceeded(_)) => {
                // Its bytes would only take space until it expires.
                if let Err(why) = Box::pin(self.end(&upload)).await {
                    tracing::warn!(
                        "could not remove an upload that exceeds a quota; it remains until it expires: {why}"
                    );
                }
                Err(why)
            }
            Err(why) if why.is_full() => {
                if let Err(why) = self.cut_back(&upload).await {
                    tracing::warn!(
                        "could not remove the unfinished part of an upload; it remains until the upload expires: {why}"
                    );
                }
                Err(why)
            }
            done => done,
        }
    }

    /// Discards the upload, whatever has become of it.
    async fn end(&self, upload: &Taken) -> Result<(), Error> {
        match Taken::read(&self.records, &upload.repository, &upload.id).await {
            Err(Error::UploadUnknown) => Ok(()),
            now => self.discard(now?).await,
        }
    }

    /// Removes the bytes of a request that were not recorded. The client may send them again.
    async fn cut_back(&self, upload: &Taken) -> Result<(), Error> {
        let now = match Taken::read(&self.records, &upload.repository, &upload.id).await {
            Err(Error::UploadUnknown) => return Ok(()),
            now => now?,
        };
        if now.session.state != SessionState::Open {
            return self.discard(now).await;
        }
        // If the store has dropped the bytes, they must not be created again.
        if matches!(
            self.bytes.open_unsealed(now.id.as_str()).await,
            Err(Failure::Missing)
        ) {
            return Ok(());
        }
        let kept = &now.session;
        Ok(self
            .bytes
            .write(
                now.id.as_str(),
                kept.offset,
                &kept.resume,
                Vec::new(),
                Box::new(|_| ()),
            )
            .await?)
    }

    /// Adds the received bytes to the upload. They are made durable before the session records them, because
    /// its hash state covers them.
    pub(super) async fn keep(&self, upload: Taken, received: &Received) -> Result<u64, Error> {
        let offset = upload.session.offset + received.length;
        if received.length == 0 {
            return Ok(offset);
        }
        let kept = self
            .bytes
            .keep(upload.id.as_str(), offset, &upload.session.resume)
            .await;
        let (upload, resume) = self.unless_full(upload, kept).await?;
        let advanced = upload.session.clone().advanced(offset, &received.hasher, resume);
        self.advance_claimed(&upload, advanced).await?;
        Ok(offset)
    }

    /// Returns the result of a write. If the store is full, also ends the upload, because the store has then
    /// dropped all its bytes, even earlier ones.
    pub(super) async fn unless_full<T>(
        &self,
        upload: Taken,
        done: Result<T, Failure>,
    ) -> Result<(Taken, T), Error> {
        let failure = match done {
            Ok(done) => return Ok((upload, done)),
            Err(failure) => failure,
        };
        if failure.is_full()
            && let Err(why) = self.discard(upload).await
        {
            tracing::warn!(
                "could not remove an upload that has lost its bytes; it remains until it expires: {why}"
            );
        }
        Err(failure.into())
    }

    /// Hashes the body and writes it.
    pub(super) async fn receive(
        &self,
        to: To<'_>,
        begun: Begun,
        body: &mut Body,
        announced: Option<u64>,
    ) -> Result<Received, Error> {
        match self.take_in(Sink::Written(to), begun, body, announced).await? {
            Compared::Same(received) => Ok(received),
            Compared::Differs(_) => Err(Error::Internal), // what is written is not compared
        }
    }

    /// Hashes the body and compares it with stored bytes until they differ. Writes nothing.
    pub(super) async fn compare(
        &self,
        file: &dyn BlobFile,
        begun: Begun,
        body: &mut Body,
        announced: Option<u64>,
    ) -> Result<Compared, Error> {
        self.take_in(Sink::Compared(file), begun, body, announced).await
    }

    async fn take_in(
        &self,
        sink: Sink<'_>,
        begun: Begun,
        body: &mut Body,
        announced: Option<u64>,
    ) -> Result<Compared, Error> {
        let Begun {
            mut hasher,
            mut length,
            next: mut batch,
        } = begun;
        loop {
            let size = batch.size as u64;
            if announced.is_some_and(|announced| {
                length + size > announced || (batch.end == Some(Ok(())) && length + size < announced)
            }) {
                return Err(Error::SizeMismatch);
            }
            let at = match sink {
                Sink::Written(to) => {
                    self.check_room(to, length + size)?;
                    Some(to.further(length))
                }
                Sink::Compared(file) if batch.differs(file, length).await => {
                    return Ok(Compared::Differs(Begun {
                        hasher,
                        length,
                        next: batch,
                    }));
                }
                Sink::Compared(_) => None,
            };
            let Batch {
                chunks, end, held, ..
            } = batch;
            length += size;
            let work = async {
                let done = self.absorb(at, hasher, chunks).await;
                drop(held);
                done
            };
            if let Some(end) = end {
                return Ok(Compared::Same(Received {
                    hasher: work.await?,
                    length,
                    end,
                }));
            }
            let (done, next) = join(work, collect(body)).await;
            hasher = done?;
            batch = next;
        }
    }

    pub(in crate::registry) async fn absorb(
        &self,
        at: Option<To<'_>>,
        mut hasher: Hasher,
        chunks: Vec<Bytes>,
    ) -> Result<Hasher, Error> {
        if chunks.is_empty() {
            return Ok(hasher);
        }
        let Some(To {
            name, offset, resume, ..
        }) = at
        else {
            let size = chunks.iter().map(Bytes::len).sum();
            let hash = move || {
                chunks.iter().for_each(|chunk| hasher.update(chunk));
                hasher
            };
            return worked(size, hash).await.map_err(|_| Error::Interrupted);
        };
        let hashing = Hashing::new(hasher);
        self.bytes
            .write(name, offset, resume, chunks, hashing.look())
            .await?;
        hashing.end().ok_or(Error::Interrupted)
    }
}

pub(super) fn check_range(range: Option<ContentRange>, offset: u64) -> Result<(), Error> {
    match range {
        Some(range) if range.start != offset => Err(Error::RangeMismatch { offset }),
        _ => Ok(()),
    }
}

async fn collect(body: &mut Body) -> Batch {
    let mut batch = Batch {
        held: body.reserved(),
        ..Batch::default()
    };
    while batch.size < BATCH {
        let next = match batch.held {
            Some(_) => body.next_unless_wanted().await,
            None => Ok(body.next().await),
        };
        match next {
            // The client is not sending, so the memory goes to other requests.
            Err(Wanted) if batch.size == 0 => batch.held = None,
            Err(Wanted) => break,
            Ok(Some(Ok(chunk))) if chunk.is_empty() => {}
            Ok(Some(Ok(chunk))) => {
                batch.add(chunk);
                let lacks = batch.lacks();
                match &mut batch.held {
                    None => batch.held = Some(body.share.take(lacks).await),
                    Some(held) if lacks > 0 => match body.share.try_take(lacks) {
                        Some(more) => held.add(more),
                        None => break,
                    },
                    Some(_) => {}
                }
            }
            Ok(Some(Err(error))) => {
                batch.end = Some(Err(error));
                break;
            }
            Ok(None) => {
                batch.end = Some(Ok(()));
                break;
            }
        }
    }
    batch.end_copies();
    batch
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{StreamExt as _, TryStreamExt as _};
    use hyper::server::conn::http1;
    use hyper_util::rt::TokioIo;
    use std::convert::Infallible;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn small_chunks_become_few_and_stay_in_their_order() {
        let size = |n: usize| if n.is_multiple_of(7) { COPIED } else { n % 50 };
        let content: Vec<Bytes> = (0..2_000_usize)
            .map(|n| vec![n.to_le_bytes()[0]; size(n)].into())
            .collect();
        let chunks = content.clone().into_iter().map(Ok);
        let mut body = Body::unbounded(Box::pin(futures_util::stream::iter(chunks)));
        let mut received = Vec::new();
        loop {
            let batch = collect(&mut body).await;
            assert!(batch.chunks.len() <= 2 * BATCH / COPIED, "{}", batch.chunks.len());
            let held = batch.held.as_ref().map_or(0, Held::bytes);
            assert!(
                held >= batch.cost && batch.cost >= batch.size,
                "{held} {} {}",
                batch.cost,
                batch.size
            );
            received.extend(batch.chunks.concat());
            if batch.end.is_some() {
                break;
            }
        }
        assert!(received == content.concat());
    }

    #[tokio::test]
    async fn chunks_of_one_byte_keep_no_buffer_of_their_connection() {
        const BYTES: usize = 200;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let (read, mut reads) = mpsc::unbounded_channel();
        let (collected, mut batches) = mpsc::unbounded_channel();
        let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let read = read.clone();
            let collected = collected.clone();
            async move {
                let frames = axum::body::Body::new(request.into_body())
                    .into_data_stream()
                    .map_err(|_| BodyError::Interrupted);
                let frames = frames.inspect_ok(move |_| {
                    let _ = read.send(());
                });
                drop(collected.send(collect(&mut Body::unbounded(frames.boxed())).await));
                Ok::<_, Infallible>(http::Response::new(String::new()))
            }
        });
        let server = tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        client
            .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await
            .unwrap();
        for _ in 0..BYTES {
            client.write_all(b"1\r\nx\r\n").await.unwrap();
            reads.recv().await.unwrap();
        }
        client.write_all(b"0\r\n\r\n").await.unwrap();
        let batch = batches.recv().await.unwrap();
        server.abort();
        assert_eq!(batch.chunks.concat(), [b'x'; BYTES]);
        let far = |pair: &[Bytes]| matches!(pair, [one, next] if one.as_ptr().addr().abs_diff(next.as_ptr().addr()) >= READ_BUFFER);
        let buffers = 1 + batch.chunks.windows(2).filter(|pair| far(pair)).count();
        let held = batch.held.as_ref().map_or(0, Held::bytes);
        assert!(
            buffers * READ_BUFFER <= held,
            "{buffers} buffers are kept in memory, and {held} bytes are counted"
        );
    }
}
