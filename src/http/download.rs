//! The body of a download. Data in the page cache is read directly when hyper polls for it. After the first
//! miss, a thread that may wait for the disk reads the rest, one frame ahead of the client.
//!
//! At most two frames are in memory: the one that is being sent and the next one.

use super::More;
use crate::oci::Digest;
use crate::storage::{BlobFile, Failure};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The size of one read, which is sent as one frame.
const FRAME: usize = 256 * 1024;
/// The size of a frame on a connection that answers share. Each answer may stall with two frames and the one
/// that is read ahead.
const SHARED_FRAME: usize = 64 * 1024;

/// Exactly `length` bytes of a file, or an error, which closes the connection.
pub(super) struct Download {
    digest: Digest,
    file: Arc<dyn BlobFile>,
    at: u64,
    left: u64,
    frame: usize,
    /// The next frame, after the first miss of the page cache.
    ahead: Option<Ahead>,
    more: More,
}

enum Ahead {
    Reading(BoxFuture<'static, Result<Bytes, Failure>>),
    Read(Result<Bytes, Failure>),
}

impl Download {
    /// Sets `more` with each frame that is not the last.
    pub(super) fn new(digest: &Digest, file: Arc<dyn BlobFile>, first: u64, length: u64, more: More) -> Self {
        Self {
            digest: digest.clone(),
            file,
            at: first,
            left: length,
            frame: FRAME,
            ahead: None,
            more,
        }
    }

    /// Uses smaller frames, for a connection that other answers share.
    pub(super) fn shared(mut self) -> Self {
        self.frame = SHARED_FRAME;
        self
    }

    fn most(&self) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX).min(self.frame)
    }

    /// Starts to read the next frame. `context` is woken when it is there.
    fn read_ahead(&mut self, context: &mut Context<'_>) {
        let file = self.file.clone();
        let at = self.at;
        let most = self.most();
        let mut reading: BoxFuture<'static, _> = Box::pin(async move { file.read(at, most).await });
        self.ahead = Some(match reading.as_mut().poll(context) {
            Poll::Ready(read) => Ahead::Read(read),
            Poll::Pending => Ahead::Reading(reading),
        });
    }

    /// Updates the position after a read. An error ends the body.
    fn noted(&mut self, read: Result<Bytes, Failure>) -> Option<Result<Frame<Bytes>, Failure>> {
        let read = read.and_then(|bytes| {
            if bytes.is_empty() {
                Err(Failure::Missing)
            } else {
                Ok(bytes)
            }
        });
        match &read {
            Ok(bytes) => {
                self.at += bytes.len() as u64;
                self.left = self.left.saturating_sub(bytes.len() as u64);
            }
            Err(failure) => {
                tracing::error!(blob.digest = %self.digest, "a download was cut off at byte {}: {failure}", self.at);
                self.left = 0;
            }
        }
        self.more.comes(self.left > 0);
        Some(read.map(Frame::data))
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if self.ahead.is_none() {
            if let Some(bytes) = self.file.at_hand(self.at, self.most()) {
                return Poll::Ready(self.noted(Ok(bytes)));
            }
            self.read_ahead(context);
        }
        let read = match self.ahead.take() {
            Some(Ahead::Read(read)) => read,
            Some(Ahead::Reading(mut reading)) => match reading.as_mut().poll(context) {
                Poll::Ready(read) => read,
                Poll::Pending => {
                    self.ahead = Some(Ahead::Reading(reading));
                    return Poll::Pending;
                }
            },
            None => return Poll::Ready(None),
        };
        let frame = self.noted(read);
        if self.left > 0 {
            self.read_ahead(context);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.more.comes(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Answer;
    use http_body_util::BodyExt;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    /// A file of `size` bytes, of which `cached` are in the page cache. Each byte is the last byte of its
    /// offset. Records the reads that may wait.
    #[derive(Default)]
    struct Fake {
        size: u64,
        cached: AtomicU64,
        broken: AtomicBool,
        reads: Mutex<Vec<(u64, usize)>>,
    }

    impl Fake {
        fn part(&self, at: u64, most: usize) -> Bytes {
            (at..self.size)
                .take(most)
                .map(|offset| offset.to_le_bytes()[0])
                .collect()
        }
    }

    impl BlobFile for Fake {
        fn size(&self) -> u64 {
            self.size
        }

        fn at_hand(&self, offset: u64, most: usize) -> Option<Bytes> {
            let cached = usize::try_from(self.cached.load(Ordering::SeqCst).saturating_sub(offset)).unwrap();
            Some(self.part(offset, most.min(cached))).filter(|part| !part.is_empty())
        }

        fn read(&self, offset: u64, most: usize) -> Answer<'_, Bytes> {
            Box::pin(async move {
                self.reads.lock().unwrap().push((offset, most));
                tokio::task::yield_now().await;
                if self.broken.load(Ordering::SeqCst) {
                    Err(Failure::Missing)
                } else {
                    Ok(self.part(offset, most))
                }
            })
        }
    }

    fn download_of(file: Arc<dyn BlobFile>, first: u64, length: u64, more: More) -> Download {
        Download::new(
            &format!("sha256:{}", "0".repeat(64)).parse().unwrap(),
            file,
            first,
            length,
            more,
        )
    }

    async fn all(file: &Arc<Fake>, first: u64, length: u64) -> Bytes {
        download_of(file.clone(), first, length, More::default())
            .collect()
            .await
            .unwrap()
            .to_bytes()
    }

    #[tokio::test]
    async fn cached_data_is_sent_without_a_read_that_may_wait() {
        let file = Arc::new(Fake {
            size: 600_000,
            cached: 600_000.into(),
            ..Fake::default()
        });
        assert_eq!(all(&file, 0, 600_000).await, file.part(0, 600_000));
        assert_eq!(all(&file, 7, 300_001).await, file.part(7, 300_001));
        assert_eq!(*file.reads.lock().unwrap(), []);
    }

    #[tokio::test]
    async fn after_the_first_miss_the_rest_is_read_one_frame_ahead() {
        let size = 3 * FRAME + 10;
        let file = Arc::new(Fake {
            size: size as u64,
            cached: 100.into(),
            ..Fake::default()
        });
        let mut download = download_of(file.clone(), 50, size as u64 - 50, More::default());
        assert_eq!(
            download.frame().await.unwrap().unwrap().into_data().unwrap(),
            file.part(50, 50)
        );
        assert_eq!(
            download.frame().await.unwrap().unwrap().into_data().unwrap(),
            file.part(100, FRAME)
        );
        file.cached.store(u64::MAX, Ordering::SeqCst);
        assert_eq!(
            file.reads.lock().unwrap().len(),
            2,
            "the next one is under way, and no more"
        );
        assert_eq!(download.size_hint().exact(), Some((size - 100 - FRAME) as u64));
        let rest = download.collect().await.unwrap().to_bytes();
        assert_eq!(rest, file.part(100 + FRAME as u64, usize::MAX));
        let at = |n: usize| 100 + (n * FRAME) as u64;
        assert_eq!(
            *file.reads.lock().unwrap(),
            [(at(0), FRAME), (at(1), FRAME), (at(2), FRAME - 90)]
        );
    }

    #[tokio::test]
    async fn more_is_announced_with_each_frame_but_the_last_and_never_after_the_end() {
        let size = 2 * FRAME + 1;
        let more = More::default();
        for cached in [0, u64::MAX] {
            let file = || {
                Arc::new(Fake {
                    size: size as u64,
                    cached: cached.into(),
                    ..Fake::default()
                })
            };
            let mut download = download_of(file(), 0, size as u64, more.clone());
            for announced in [true, true, false] {
                download.frame().await.unwrap().unwrap();
                assert_eq!(more.is_coming(), announced);
            }
            let mut given_up = download_of(file(), 0, size as u64, more.clone());
            given_up.frame().await.unwrap().unwrap();
            assert!(more.is_coming());
            drop(given_up);
            assert!(!more.is_coming());
            let broken = Arc::new(Fake {
                size: size as u64,
                cached: 5.into(),
                broken: true.into(),
                ..Fake::default()
            });
            let mut broken = download_of(broken, 0, size as u64, more.clone());
            broken.frame().await.unwrap().unwrap();
            broken.frame().await.unwrap().unwrap_err();
            assert!(!more.is_coming());
        }
    }

    #[tokio::test]
    async fn a_file_that_fails_or_ends_early_ends_the_download() {
        let file = Arc::new(Fake {
            size: 10,
            cached: 5.into(),
            broken: true.into(),
            ..Fake::default()
        });
        let mut download = download_of(file, 0, 10, More::default());
        assert!(download.frame().await.unwrap().is_ok());
        assert!(download.frame().await.unwrap().is_err());
        assert!(download.frame().await.is_none());
        let short = Arc::new(Fake {
            size: 10,
            ..Fake::default()
        });
        assert!(
            download_of(short, 0, 11, More::default())
                .collect()
                .await
                .is_err()
        );
    }
}
