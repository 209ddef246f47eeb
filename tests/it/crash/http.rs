//! Requests to one run of the registry, and checks of the answers against what was acknowledged before.

use crate::harness::sha256;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;
use sha2::{Digest as _, Sha512};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Clone)]
pub(crate) struct Http {
    client: reqwest::Client,
    base: String,
    is_patient: bool,
    gives_up: bool,
}

/// How often a request that lost to collectors is repeated.
const TRIES: usize = 50;

/// The result of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was acknowledged.
    Done,
    /// It was rejected, and nothing changed.
    Refused(StatusCode),
    /// There was no answer, or the registry said that it does not know.
    Unknown,
}

impl Http {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self::with(
            address,
            reqwest::Client::builder().timeout(crate::harness::PATIENCE),
        )
    }

    /// Opens a connection for each request, and gives up after a while: then it has no answer.
    pub(crate) fn fickle(address: SocketAddr, patience: Duration) -> Self {
        let client = reqwest::Client::builder()
            .timeout(patience)
            .pool_max_idle_per_host(0);
        Self {
            gives_up: true,
            ..Self::with(address, client)
        }
    }

    fn with(address: SocketAddr, client: reqwest::ClientBuilder) -> Self {
        Self {
            client: client.no_proxy().build().unwrap(),
            base: format!("http://{address}"),
            is_patient: false,
            gives_up: false,
        }
    }

    /// Repeats requests that the registry tells to try again. Without a grace period, a push can lose to
    /// collectors several times in a row.
    pub(crate) fn patient(self, is_patient: bool) -> Self {
        Self { is_patient, ..self }
    }

    /// `None` if the connection broke before the end of the answer, because the registry is dead.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: impl Into<reqwest::Body>,
    ) -> Option<Answer> {
        self.ask_with(method, path, None, body).await
    }

    /// Sends a chunk with the offsets of its first and last byte.
    pub(crate) async fn ask_with(
        &self,
        method: Method,
        path: &str,
        chunk: Option<(usize, usize)>,
        body: impl Into<reqwest::Body>,
    ) -> Option<Answer> {
        let url = if path.starts_with('/') {
            format!("{}{path}", self.base)
        } else {
            path.to_owned()
        };
        let mut request = self.client.request(method.clone(), url).body(body);
        let mut what = format!("{method} {path}");
        if let Some((first, last)) = chunk {
            request = request.header("content-range", format!("{first}-{last}"));
            what = format!("{what} ({first}-{last})");
        }
        let silent = |why: reqwest::Error| {
            assert!(
                self.gives_up || !why.is_timeout(),
                "{what}: neither an answer nor an end of the connection"
            )
        };
        // The state of an upload that could not be closed is read before it is closed again.
        let closes = method == Method::PUT && path.contains("/blobs/uploads/");
        for tries in 0.. {
            let answer = request.try_clone().unwrap().send().await.map_err(silent).ok()?;
            let status = answer.status();
            let headers = answer.headers().clone();
            let body = answer.bytes().await.map_err(silent).ok()?;
            let answer = Answer {
                request: what.clone(),
                status,
                headers,
                body,
            };
            if closes || tries == TRIES || !self.must_repeat(&answer) {
                return Some(answer);
            }
        }
        None
    }

    /// Whether the request lost to collectors and has to be sent again.
    pub(crate) fn must_repeat(&self, answer: &Answer) -> bool {
        self.is_patient && answer.is(503, "UNKNOWN") && answer.to_string().contains("try again")
    }

    pub(crate) async fn change(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> Outcome {
        match self.ask(method, path, body).await.map(|answer| answer.status) {
            None => Outcome::Unknown,
            Some(status) if status.is_success() => Outcome::Done,
            Some(status) if status.is_server_error() => Outcome::Unknown,
            Some(status) => Outcome::Refused(status),
        }
    }

    pub(crate) async fn status(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> u16 {
        self.ask(method, path, body)
            .await
            .expect("an answer")
            .status
            .as_u16()
    }

    /// Checks that the blob is complete. It was acknowledged by `before`.
    pub(crate) async fn must_have(&self, repository: &str, digest: &str, before: &str) -> Option<()> {
        let answer = self
            .ask(Method::GET, &format!("/v2/{repository}/blobs/{digest}"), "")
            .await?
            .must_be(200, before);
        answer.must_hold(digest, before);
        Some(())
    }

    /// The digest of the existing manifest.
    pub(crate) async fn manifest(&self, repository: &str, reference: &str) -> Option<Option<String>> {
        let answer = self
            .ask(
                Method::GET,
                &format!("/v2/{repository}/manifests/{reference}"),
                "",
            )
            .await?;
        if answer.is(404, "MANIFEST_UNKNOWN") || answer.is(404, "NAME_UNKNOWN") {
            return Some(None);
        }
        let answer = answer.must_be(200, "nothing, but the tag or manifest is there or not");
        let digest = answer.header("docker-content-digest").to_owned();
        answer.must_hold(
            &digest,
            "nothing, but a manifest has the digest that it is served with",
        );
        Some(Some(digest))
    }
}

/// An answer and its request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    request: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// Fails for any other status, and names the answer `before` that acknowledged the object.
    pub(crate) fn must_be(self, status: u16, before: &str) -> Self {
        assert_eq!(
            self.status.as_u16(),
            status,
            "{self}\nacknowledged before: {before}"
        );
        self
    }

    pub(crate) fn must_hold(&self, digest: &str, before: &str) {
        assert_eq!(
            digest_as(digest, &self.body),
            digest,
            "{self}\nacknowledged before: {before}"
        );
        assert_eq!(
            self.header("docker-content-digest"),
            digest,
            "{self}\nacknowledged before: {before}"
        );
    }

    /// Whether this is the only error.
    pub(crate) fn is(&self, status: u16, code: &str) -> bool {
        let codes = || self.errors().iter().all(|error| error["code"] == code);
        self.status.as_u16() == status && !self.errors().is_empty() && codes()
    }

    pub(crate) fn errors(&self) -> Vec<Value> {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["errors"].as_array().cloned().unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{self}: {why}"))
    }

    /// Empty if the header is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        write!(
            f,
            "{}: {} {}",
            self.request,
            self.status.as_u16(),
            body.chars().take(500).collect::<String>()
        )
    }
}

pub(crate) fn sha512(bytes: &[u8]) -> String {
    let hex: String = Sha512::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha512:{hex}")
}

/// The digest of `bytes` with the algorithm of the other digest.
fn digest_as(like: &str, bytes: &[u8]) -> String {
    if like.starts_with("sha512:") {
        sha512(bytes)
    } else {
        sha256(bytes)
    }
}
