//! An upload that survives crashes of its registry: its acknowledged bytes still exist after a kill, at the
//! same offset, and it can be finished.

use super::http::{Answer, Http};
use http::Method;

pub(super) struct Upload {
    repository: String,
    location: String,
    content: Vec<u8>,
    pub(super) digest: String,
    /// The acknowledged offset. `before` acknowledged it.
    offset: usize,
    before: String,
    /// The bytes that were sent since without an answer.
    unanswered: Option<Unanswered>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unanswered {
    /// Up to this offset.
    Chunk(usize),
    Close,
}

impl Upload {
    /// `None` if the registry died, as everywhere here. The name of an upload whose beginning was not
    /// answered is unknown.
    pub(super) async fn begin(
        http: &Http,
        repository: &str,
        content: Vec<u8>,
        digest: String,
        hint: &str,
    ) -> Option<Self> {
        let answer = http
            .ask(
                Method::POST,
                &format!("/v2/{repository}/blobs/uploads/{hint}"),
                "",
            )
            .await?;
        Some(Self::begun(answer, repository, content, digest))
    }

    /// An upload with the name that the registry answered.
    pub(super) fn begun(answer: Answer, repository: &str, content: Vec<u8>, digest: String) -> Self {
        let answer = answer.must_be(202, "nothing, but any client may begin an upload");
        let repository = repository.to_owned();
        let location = answer.header("location").to_owned();
        let before = answer.to_string();
        Self {
            repository,
            location,
            content,
            digest,
            offset: 0,
            before,
            unanswered: None,
        }
    }

    fn is_complete(&self) -> bool {
        self.offset == self.content.len()
    }

    pub(super) fn left(&self) -> usize {
        self.content.len() - self.offset
    }

    /// Sends this many more bytes.
    pub(super) async fn append(&mut self, http: &Http, length: usize) -> Option<()> {
        if !self.look(http).await? || self.is_complete() {
            return Some(());
        }
        let (chunk, end) = self.chunk(length);
        self.unanswered = Some(Unanswered::Chunk(end));
        let answer = http
            .ask_with(Method::PATCH, &self.location, Some((self.offset, end - 1)), chunk)
            .await?;
        self.appended(answer.must_be(202, &self.before), end);
        Some(())
    }

    /// Sends the same bytes in two requests at once. One is accepted. The other learns that the upload is
    /// busy, or that it has another offset.
    pub(super) async fn append_twice(&mut self, http: &Http, length: usize) -> Option<()> {
        if !self.look(http).await? || self.is_complete() {
            return Some(());
        }
        let (chunk, end) = self.chunk(length);
        self.unanswered = Some(Unanswered::Chunk(end));
        let once = || {
            http.ask_with(
                Method::PATCH,
                &self.location,
                Some((self.offset, end - 1)),
                chunk.clone(),
            )
        };
        let (one, other) = tokio::join!(once(), once());
        let (taken, refused) = match (one?, other?) {
            (one, other) if one.status == 202 => (one, other),
            (one, other) => (other, one),
        };
        let taken = taken.must_be(
            202,
            &format!(
                "{} (of two requests at once, the other was answered: {refused})",
                self.before
            ),
        );
        assert!(
            refused.is(416, "BLOB_UPLOAD_INVALID"),
            "{refused}\nacknowledged at the same time: {taken}"
        );
        self.appended(taken, end);
        Some(())
    }

    fn chunk(&self, length: usize) -> (Vec<u8>, usize) {
        let end = self.offset + length.clamp(1, self.left());
        (self.content[self.offset..end].to_vec(), end)
    }

    fn appended(&mut self, answer: Answer, end: usize) {
        assert_eq!(
            answer.header("range"),
            format!("0-{}", end - 1),
            "{answer}\nacknowledged before: {}",
            self.before
        );
        (self.offset, self.unanswered, self.before) = (end, None, answer.to_string());
    }

    /// Compares the offset. It is the acknowledged one, or later if there was a request without an answer.
    /// `false` if the upload is gone, which only an unanswered closing request may cause.
    pub(super) async fn look(&mut self, http: &Http) -> Option<bool> {
        let answer = http.ask(Method::GET, &self.location, "").await?;
        let furthest = match self.unanswered {
            Some(Unanswered::Close) if answer.is(404, "BLOB_UPLOAD_UNKNOWN") => return Some(false),
            Some(Unanswered::Close) => self.content.len(),
            Some(Unanswered::Chunk(end)) => end,
            None => self.offset,
        };
        let answer = answer.must_be(204, &self.before);
        // An empty upload has the range `0--1`.
        let last: isize = answer
            .header("range")
            .strip_prefix("0-")
            .unwrap()
            .parse()
            .unwrap();
        let offset = usize::try_from(last + 1).unwrap();
        assert!(
            (self.offset..=furthest).contains(&offset),
            "{answer}, at {offset}\nacknowledged before: {}",
            self.before
        );
        (self.offset, self.unanswered, self.before) = (offset, None, answer.to_string());
        Some(true)
    }

    /// Sends the rest, and returns the answer that acknowledged it. An unanswered closing request may have
    /// ended the upload, with or without a blob. Only then may everything have to be sent again.
    pub(super) async fn close(&mut self, http: &Http) -> Option<Closed> {
        let was_closing = self.unanswered == Some(Unanswered::Close);
        let open = self.look(http).await?;
        self.unanswered = Some(Unanswered::Close);
        let path = format!("{}?digest={}", self.location, self.digest);
        let rest = self.content[self.offset..].to_vec();
        let chunk = (!rest.is_empty()).then(|| (self.offset, self.content.len() - 1));
        let answer = http.ask_with(Method::PUT, &path, chunk, rest).await?;
        if http.must_repeat(&answer) {
            return Box::pin(self.close(http)).await;
        }
        if was_closing && !open && answer.is(404, "BLOB_UPLOAD_UNKNOWN") {
            let blob = http
                .ask(
                    Method::GET,
                    &format!("/v2/{}/blobs/{}", self.repository, self.digest),
                    "",
                )
                .await?;
            if !blob.is(404, "BLOB_UNKNOWN") {
                blob.clone()
                    .must_be(200, &self.before)
                    .must_hold(&self.digest, &self.before);
                return Some(Closed {
                    before: blob.to_string(),
                    again: false,
                });
            }
            let path = format!("/v2/{}/blobs/uploads/?digest={}", self.repository, self.digest);
            let answer = http
                .ask(Method::POST, &path, self.content.clone())
                .await?
                .must_be(201, &answer.to_string());
            return Some(Closed {
                before: answer.to_string(),
                again: true,
            });
        }
        let answer = answer.must_be(201, &self.before);
        assert_eq!(answer.header("docker-content-digest"), self.digest, "{answer}");
        Some(Closed {
            before: answer.to_string(),
            again: false,
        })
    }
}

pub(super) struct Closed {
    pub(super) before: String,
    /// An unanswered closing request had ended the upload without a blob.
    pub(super) again: bool,
}
