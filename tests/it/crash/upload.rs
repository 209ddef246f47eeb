//! An upload that outlives its registry: what was acknowledged of it is there after a kill, at its offset,
//! and can be finished.

use super::http::{Answer, Http};
use http::Method;

pub(super) struct Upload {
    repository: String,
    location: String,
    content: Vec<u8>,
    pub(super) digest: String,
    /// As far as it was acknowledged, by `before`.
    offset: usize,
    before: String,
    /// What was sent since, and not answered.
    unanswered: Option<Unanswered>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unanswered {
    /// Up to here.
    Chunk(usize),
    Close,
}

impl Upload {
    /// `None`, as everywhere here, if the registry died. An upload that was begun and not answered has no
    /// name, and is nobody's.
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

    /// The registry answered with an upload.
    pub(super) fn begun(answer: Answer, repository: &str, content: Vec<u8>, digest: String) -> Self {
        let answer = answer.must_be(202, "nothing: anybody may begin an upload");
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

    /// So many bytes more.
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

    /// The same from two sides at once: one is taken, and the other is told that the upload is busy, or that
    /// it stands elsewhere.
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
                "{} (and of two at once the other was told: {refused})",
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

    /// Where does it stand? Where it was told to, or, as far as no answer came, further. `false` if it is not
    /// open any more, which is so only after a closing that was not answered.
    pub(super) async fn look(&mut self, http: &Http) -> Option<bool> {
        let answer = http.ask(Method::GET, &self.location, "").await?;
        let furthest = match self.unanswered {
            Some(Unanswered::Close) if answer.is(404, "BLOB_UPLOAD_UNKNOWN") => return Some(false),
            Some(Unanswered::Close) => self.content.len(),
            Some(Unanswered::Chunk(end)) => end,
            None => self.offset,
        };
        let answer = answer.must_be(204, &self.before);
        // Nothing yet is `0--1`.
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

    /// Sends what is left. With what acknowledged it. A closing that was not answered may have taken the
    /// upload away, with or without making it a blob: only then may it have to be sent once more.
    pub(super) async fn close(&mut self, http: &Http) -> Option<Closed> {
        let was_closing = self.unanswered == Some(Unanswered::Close);
        let open = self.look(http).await?;
        self.unanswered = Some(Unanswered::Close);
        let path = format!("{}?digest={}", self.location, self.digest);
        let rest = self.content[self.offset..].to_vec();
        let chunk = (!rest.is_empty()).then(|| (self.offset, self.content.len() - 1));
        let answer = http.ask_with(Method::PUT, &path, chunk, rest).await?;
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
    /// A closing that was not answered had taken the upload away, and there was no blob.
    pub(super) again: bool,
}
