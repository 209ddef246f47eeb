//! Pushes to a registry and pulls from it. Bytes are kept in memory.

use super::answer::{Answer, Unanswered};
use super::connection::Connection;
use super::request::{Authorization, Request};
use crate::limits::MANIFEST_BYTES;
use crate::oci::{Digest, ManifestType, Reference, RepositoryName};
use crate::workload::printable;
use http::{HeaderValue, Method, StatusCode, header};
use reqwest::Url;

/// A registry, and the credential that each request to it presents.
#[derive(Clone, Debug)]
pub struct Registry {
    connection: Connection,
    authorization: Option<Authorization>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    #[error("{step}: cannot reach the registry: {}", printable(&why.to_string()))]
    Unanswered { step: &'static str, why: Unanswered },
    /// The registry answered with another status than success.
    #[error("{step}: the registry answered {}", printable(said))]
    Status {
        step: &'static str,
        status: StatusCode,
        /// The status with the registry's message.
        said: String,
    },
    #[error("{step}: the registry's answer has no valid Location header for the upload")]
    NoLocation { step: &'static str },
    #[error("{step}: the registry's answer has more than {largest} bytes")]
    TooLarge { step: &'static str, largest: usize },
    #[error("the media type is not a valid header")]
    MediaType,
}

impl Registry {
    #[must_use]
    pub const fn new(connection: Connection, authorization: Option<Authorization>) -> Self {
        Self {
            connection,
            authorization,
        }
    }

    /// Pushes a blob unless the repository has it.
    pub async fn push_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        bytes: Vec<u8>,
    ) -> Result<(), ClientError> {
        if self.has_blob(repository, digest).await? {
            return Ok(());
        }
        let uploads = self.connection.url(&format!("/v2/{repository}/blobs/uploads/"));
        let start = Step::new("start an upload", StatusCode::ACCEPTED);
        let started = self
            .ask(start, Request::new(Method::POST, uploads.clone()))
            .await?;
        let session = location(start.name, &uploads, &started)?;
        let send = Step::new("upload a blob", StatusCode::ACCEPTED);
        let patch = Request::new(Method::PATCH, session.clone())
            .with(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/octet-stream"),
            )
            .with_body(bytes);
        let sent = self.ask(send, patch).await?;
        let mut session = location(send.name, &session, &sent)?;
        session.query_pairs_mut().append_pair("digest", digest.as_str());
        let close = Step::new("close an upload", StatusCode::CREATED);
        self.ask(close, Request::new(Method::PUT, session))
            .await
            .map(drop)
    }

    async fn has_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, ClientError> {
        let step = Step::new("look for a blob", StatusCode::OK);
        match self
            .ask(
                step,
                Request::new(Method::HEAD, self.blob_url(repository, digest)),
            )
            .await
        {
            Ok(_) => Ok(true),
            Err(ClientError::Status {
                status: StatusCode::NOT_FOUND,
                ..
            }) => Ok(false),
            Err(why) => Err(why),
        }
    }

    /// Pulls a blob of at most `largest` bytes. The caller compares it with the digest.
    pub async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        largest: usize,
    ) -> Result<Answer, ClientError> {
        let step = Step {
            largest,
            ..Step::new("pull a blob", StatusCode::OK)
        };
        self.ask(step, Request::get(self.blob_url(repository, digest)))
            .await
    }

    pub async fn push_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> Result<Answer, ClientError> {
        let media_type = HeaderValue::from_str(media_type).map_err(|_| ClientError::MediaType)?;
        let put = Request::new(Method::PUT, self.manifest_url(repository, reference))
            .with(header::CONTENT_TYPE, media_type)
            .with_body(bytes);
        self.ask(Step::new("push a manifest", StatusCode::CREATED), put)
            .await
    }

    /// Pulls a manifest. The caller compares it with the digest.
    pub async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Answer, ClientError> {
        let step = Step {
            largest: MANIFEST_BYTES,
            ..Step::new("pull a manifest", StatusCode::OK)
        };
        // Without this header, a registry may convert the manifest to another type.
        let types = ManifestType::ALL.map(ManifestType::as_str).join(", ");
        let accept = HeaderValue::from_str(&types).map_err(|_| ClientError::MediaType)?;
        let get = Request::get(self.manifest_url(repository, reference)).with(header::ACCEPT, accept);
        self.ask(step, get).await
    }

    fn blob_url(&self, repository: &RepositoryName, digest: &Digest) -> Url {
        self.connection.url(&format!("/v2/{repository}/blobs/{digest}"))
    }

    fn manifest_url(&self, repository: &RepositoryName, reference: &Reference) -> Url {
        self.connection
            .url(&format!("/v2/{repository}/manifests/{reference}"))
    }

    async fn ask(&self, step: Step, request: Request) -> Result<Answer, ClientError> {
        let request = request.authorized(self.authorization.clone());
        // The message of an error may be longer than a small blob.
        let sent = self.connection.send(request, step.largest.max(SMALL));
        let answer = sent
            .await
            .map_err(|why| ClientError::Unanswered { step: step.name, why })?;
        if answer.status != step.wanted {
            return Err(ClientError::Status {
                step: step.name,
                status: answer.status,
                said: answer.said(),
            });
        }
        if answer.body.len() > step.largest {
            return Err(ClientError::TooLarge {
                step: step.name,
                largest: step.largest,
            });
        }
        Ok(answer)
    }
}

/// A request as part of a push or pull.
#[derive(Clone, Copy)]
struct Step {
    /// What the request does, for messages.
    name: &'static str,
    wanted: StatusCode,
    largest: usize,
}

impl Step {
    const fn new(name: &'static str, wanted: StatusCode) -> Self {
        Self {
            name,
            wanted,
            largest: SMALL,
        }
    }
}

/// Where an upload continues. The header may be relative.
fn location(step: &'static str, asked: &Url, answer: &Answer) -> Result<Url, ClientError> {
    let location = answer.headers.get(header::LOCATION);
    location
        .and_then(|value| asked.join(value.to_str().ok()?).ok())
        .ok_or(ClientError::NoLocation { step })
}

/// The largest body of an error and of an answer without content, in bytes.
const SMALL: usize = 64 * 1024;
