//! Sends requests to a registry like a client: without redirects, in bounded time and with a bounded answer.

use crate::tls_failure::{Failure, explain};
use crate::trust::tls::{self, Authorities, InvalidTls};
use crate::workload::RegistryHost;
use http::{HeaderMap, Method};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use std::time::Duration;

/// Two clients of one registry: one without a certificate, and one with the certificate if there is one.
#[derive(Clone, Debug)]
pub struct Probe {
    base: Url,
    plain: Client,
    certified: Client,
    always_presents: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProbe {
    #[error(transparent)]
    Tls(#[from] InvalidTls),
    #[error("the host cannot stand in a URL")]
    Host,
    #[error("the HTTP client cannot be set up: {0}")]
    Client(String),
}

impl Probe {
    /// Makes the clients. `authorities` and `certificate` (followed by its key) are PEM. The default
    /// authorities are the system's.
    pub fn new(
        host: &RegistryHost,
        plain_http: bool,
        authorities: Option<&[u8]>,
        certificate: Option<&[u8]>,
    ) -> Result<Self, InvalidProbe> {
        let plain_http = plain_http || host.is_plain_http();
        let scheme = if plain_http { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{}", host.authority())).map_err(|_| InvalidProbe::Host)?;
        let named = if authorities.is_some() {
            "the authorities of --ca"
        } else {
            "the system's authorities"
        };
        let authorities = Authorities {
            pem: authorities,
            named,
            fix: "give its authority with --ca FILE",
        };
        let client = |certificate| {
            let builder = Client::builder()
                .redirect(Policy::none())
                .timeout(PATIENCE)
                .no_proxy();
            let builder = if plain_http {
                // There is nothing to verify, and a minimal container may have no authorities.
                builder.tls_certs_only([])
            } else {
                builder.tls_backend_preconfigured(tls::client(&authorities, certificate)?)
            };
            builder
                .build()
                .map_err(|why| InvalidProbe::Client(explain(&why).to_string()))
        };
        Ok(Self {
            base,
            plain: client(None)?,
            certified: client(certificate)?,
            always_presents: false,
        })
    }

    /// Returns a probe that presents the certificate with every request.
    pub(super) fn presenting_always(&self) -> Self {
        Self {
            plain: self.certified.clone(),
            always_presents: true,
            ..self.clone()
        }
    }

    pub(super) const fn always_presents(&self) -> bool {
        self.always_presents
    }

    /// Returns the URL of a path, which begins with a slash.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url
    }

    /// Returns the scheme and the authority, as a client would write them.
    pub(super) fn origin(&self) -> Url {
        self.base.clone()
    }

    pub(super) async fn ask(&self, ask: Ask) -> Outcome {
        let client = if ask.certified {
            &self.certified
        } else {
            &self.plain
        };
        let mut request = client.request(ask.method, ask.url);
        request = match ask.authorization {
            Some(Authorization::Bearer(token)) => request.bearer_auth(token),
            Some(Authorization::Basic(user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        };
        if let Some(form) = ask.form {
            let mut body = self.base.clone();
            body.query_pairs_mut().clear().extend_pairs(form);
            let body = body.query().unwrap_or_default().to_owned();
            request = request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body);
        }
        let failed = |why: reqwest::Error| Unanswered(explain(&why.without_url()));
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST_BODY {
                break;
            }
        }
        Ok(Answer {
            status,
            headers,
            body,
        })
    }
}

pub(super) type Outcome = Result<Answer, Unanswered>;

/// Why there was no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unanswered(pub(super) Failure);

#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// One request.
pub(super) struct Ask {
    method: Method,
    url: Url,
    authorization: Option<Authorization>,
    form: Option<Vec<(&'static str, String)>>,
    certified: bool,
}

enum Authorization {
    Bearer(String),
    Basic(String, String),
}

impl Ask {
    pub(super) const fn get(url: Url) -> Self {
        Self {
            method: Method::GET,
            url,
            authorization: None,
            form: None,
            certified: false,
        }
    }

    pub(super) const fn post(url: Url, form: Vec<(&'static str, String)>) -> Self {
        Self {
            method: Method::POST,
            url,
            authorization: None,
            form: Some(form),
            certified: false,
        }
    }

    pub(super) fn bearer(self, token: &str) -> Self {
        Self {
            authorization: Some(Authorization::Bearer(token.to_owned())),
            ..self
        }
    }

    pub(super) fn basic(self, user: &str, password: &str) -> Self {
        Self {
            authorization: Some(Authorization::Basic(user.to_owned(), password.to_owned())),
            ..self
        }
    }

    pub(super) fn with_certificate(self) -> Self {
        Self {
            certified: true,
            ..self
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(15);
/// Clients do not read longer answers from a token endpoint.
const LARGEST_BODY: usize = 64 * 1024;
