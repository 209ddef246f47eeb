//! Sends requests to one registry. It follows no redirects, uses no proxy, and limits the time and the size
//! of an answer. A registry can name other addresses, which may belong to anyone. They get neither a
//! credential nor a client certificate.

use super::answer::{Answer, Outcome, Unanswered};
use super::request::{Authorization, Request};
use crate::tls_failure::{Failure, explain};
use crate::trust::tls::{self, Authorities, InvalidTls};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Connection {
    base: Url,
    client: Client,
    /// For other origins. It has no client certificate.
    elsewhere: Client,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConnection {
    #[error(transparent)]
    Tls(#[from] InvalidTls),
    #[error(
        "the registry's address is not a valid URL: expected a host name or an IP address, with a port if needed"
    )]
    Base,
    #[error("the HTTP client cannot be set up: {0}")]
    Client(Failure),
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
        let client = |certificate| client(&base, authorities, certificate, timeout);
        let elsewhere = client(None)?;
        Ok(Self {
            client: match certificate {
                Some(_) => client(certificate)?,
                None => elsewhere.clone(),
            },
            elsewhere,
            base,
        })
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

    /// Sends a request. The URL may have another origin than the registry, such as that of a token endpoint.
    /// The request then has neither its `authorization` nor the client certificate. If the registry uses
    /// https and the URL does not, it returns an error and sends nothing.
    ///
    /// If the answer's body is longer than `largest` bytes, it is not read to its end, and is longer than that in
    /// the answer as well.
    pub async fn send(&self, request: Request, largest: usize) -> Outcome {
        let Request {
            method,
            url,
            headers,
            authorization,
            body,
        } = request;
        let origin = url.origin();
        if self.base.scheme() == "https" && url.scheme() != "https" {
            return Err(Unanswered(Failure::from(format!(
                "not sent to {}: it is not https, so anyone on the network path could read it",
                origin.ascii_serialization()
            ))));
        }
        let is_here = origin == self.base.origin();
        let client = if is_here { &self.client } else { &self.elsewhere };
        let mut request = client.request(method, url).headers(headers);
        request = match authorization.filter(|_| is_here) {
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

fn client(
    base: &Url,
    authorities: &Authorities<'_>,
    certificate: Option<&[u8]>,
    timeout: Duration,
) -> Result<Client, InvalidConnection> {
    let builder = Client::builder()
        .redirect(Policy::none())
        .timeout(timeout)
        .no_proxy();
    let builder = if base.scheme() == "http" {
        // Plain HTTP verifies no server, and a minimal container may have no root certificates.
        builder.tls_certs_only([])
    } else {
        builder.tls_backend_preconfigured(tls::client(authorities, certificate)?)
    };
    builder
        .build()
        .map_err(|why| InvalidConnection::Client(explain(&why)))
}
