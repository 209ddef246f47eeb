//! Sends requests to one registry. It follows no redirects, uses no proxy, and bounds the time and the size of an
//! answer.

use super::answer::{Answer, Outcome, Unanswered};
use super::request::{Authorization, Request};
use crate::tls_failure::explain;
use crate::trust::tls::{self, Authorities, InvalidTls};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Connection {
    base: Url,
    client: Client,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConnection {
    #[error(transparent)]
    Tls(#[from] InvalidTls),
    #[error("the host cannot stand in a URL")]
    Base,
    #[error("the HTTP client cannot be set up: {0}")]
    Client(String),
}

impl Connection {
    /// `base` is the scheme with host and port. `certificate` is a client certificate followed by its key, in
    /// PEM. Each request with its answer must end within `timeout`.
    pub fn new(
        base: &str,
        authorities: &Authorities<'_>,
        certificate: Option<&[u8]>,
        timeout: Duration,
    ) -> Result<Self, InvalidConnection> {
        let base = Url::parse(base)
            .ok()
            .filter(Url::has_host)
            .ok_or(InvalidConnection::Base)?;
        let builder = Client::builder()
            .redirect(Policy::none())
            .timeout(timeout)
            .no_proxy();
        let builder = if base.scheme() == "http" {
            // There is nothing to verify, and a minimal container may have no authorities.
            builder.tls_certs_only([])
        } else {
            builder.tls_backend_preconfigured(tls::client(authorities, certificate)?)
        };
        let client = builder
            .build()
            .map_err(|why| InvalidConnection::Client(explain(&why).to_string()))?;
        Ok(Self { base, client })
    }

    /// The scheme, host and port.
    #[must_use]
    pub const fn base(&self) -> &Url {
        &self.base
    }

    /// Returns the URL of a path, which begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url
    }

    /// Sends a request. The URL may be on another host, such as that of a token endpoint. If the body is longer
    /// than `largest` bytes, it is not read to its end, and is longer than that in the answer as well.
    pub async fn send(&self, request: Request, largest: usize) -> Outcome {
        let Request {
            method,
            url,
            headers,
            authorization,
            body,
        } = request;
        let mut request = self.client.request(method, url).headers(headers);
        request = match &authorization {
            Some(Authorization::Bearer(token)) => request.bearer_auth(token.expose()),
            Some(Authorization::Basic(user, password)) => request.basic_auth(user, Some(password.expose())),
            None => request,
        };
        if !body.is_empty() {
            request = request.body(body);
        }
        let failed = |why: reqwest::Error| Unanswered(explain(&why.without_url()));
        let mut response = request.send().await.map_err(failed)?;
        let mut answer = Answer {
            status: response.status(),
            headers: response.headers().clone(),
            body: Vec::new(),
        };
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            answer.body.extend_from_slice(&chunk);
            if answer.body.len() > largest {
                break;
            }
        }
        Ok(answer)
    }
}
