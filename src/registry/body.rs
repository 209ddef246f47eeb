//! A request's body, and the memory that it may hold while it is received.

use super::BodyError;
use crate::budget::{Held, Share};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::fmt;

/// The body of a request. The stream must end, if necessary with an error, when the client disconnects or
/// stops sending, because the upload is locked until then.
pub struct Body {
    stream: BoxStream<'static, Result<Bytes, BodyError>>,
    pub(super) share: Share,
    first: Option<Held>,
    length: Option<u64>,
}

impl Body {
    /// `first` is memory that was reserved before anything was read. More is taken from `share`.
    #[must_use]
    pub fn new(
        stream: BoxStream<'static, Result<Bytes, BodyError>>,
        share: Share,
        first: Option<Held>,
    ) -> Self {
        Self {
            stream,
            share,
            first,
            length: None,
        }
    }

    /// A body whose length the client has announced.
    #[must_use]
    pub fn of_length(self, length: Option<u64>) -> Self {
        Self { length, ..self }
    }

    /// The announced length. 0 if there is none.
    pub(super) fn least(&self) -> u64 {
        self.length.unwrap_or(0)
    }

    /// Whether the client has announced that it sends nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.length == Some(0)
    }

    /// Without a memory limit.
    #[cfg(test)]
    pub(super) fn unbounded(stream: BoxStream<'static, Result<Bytes, BodyError>>) -> Self {
        let budget = crate::budget::Budget::new(usize::MAX);
        Self::new(stream, budget.of(crate::budget::Holder::Stranger(None)), None)
    }

    /// The reserved memory. Later calls return `None`.
    pub(super) fn reserved(&mut self) -> Option<Held> {
        self.first.take()
    }

    pub(super) async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        self.stream.next().await
    }

    /// The next chunk. Fails with [`Wanted`] if other requests need the memory before a chunk arrives.
    pub(super) async fn next_unless_wanted(&mut self) -> Result<Option<Result<Bytes, BodyError>>, Wanted> {
        tokio::select! {
            biased;
            next = self.stream.next() => Ok(next),
            () = self.share.wanted() => Err(Wanted),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("share", &self.share)
            .finish_non_exhaustive()
    }
}

/// Other requests are waiting for memory.
pub(super) struct Wanted;
