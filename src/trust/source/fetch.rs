//! One HTTP GET of a key set, a bundle or a discovery document. Body and time are bounded, and the server may
//! have its own authority. A bearer token is sent only to configured origins. Redirects are followed only if
//! the protocol asks for it, only to https, and are not remembered.

use super::SourceError;
use crate::file_error::FileError;
use crate::secret::Secret;
use crate::tls_failure::explain;
use crate::trust::fingerprint;
use crate::trust::refresh::Validator;
use crate::trust::tls::{self, Authorities, InvalidTls, Tls};
use http::header::{AUTHORIZATION, CACHE_CONTROL, ETAG, IF_NONE_MATCH, LOCATION};
use http::{HeaderValue, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Client, Proxy, Response, Url};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Certificate authorities in PEM that verify a server instead of the system's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaSource {
    /// Read at each fetch, so that it can be replaced.
    File(PathBuf),
    Inline(Vec<u8>),
}

#[derive(Debug)]
pub(super) struct Fetcher {
    pub(super) ca: Option<CaSource>,
    /// Read at each fetch: Kubernetes replaces its projected tokens.
    pub(super) bearer_token_file: Option<PathBuf>,
    /// URLs whose origins may receive the bearer token.
    pub(super) bearer_origins: Vec<String>,
    /// An HTTP proxy's URL, which may contain a password. Default: the environment's.
    pub(super) proxy: Option<Secret>,
    /// Host names that resolve to a fixed address.
    pub(super) resolve: Vec<(String, SocketAddr)>,
    pub(super) follow_redirects: bool,
    /// The time from the start to the end of the body. Each redirect has its own.
    pub(super) timeout: Duration,
    /// In bytes.
    pub(super) largest: usize,
}

/// The result of a GET.
#[derive(Debug)]
pub(super) enum Fetched {
    New {
        body: Vec<u8>,
        validator: Option<Validator>,
        max_age: Option<Duration>,
    },
    /// The document has not changed (304).
    Same { max_age: Option<Duration> },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the URL must be https://host… or http://host…, without a user or password")]
    Url,
    #[error("the certificate authority file {path} cannot be read: {why}")]
    CaUnreadable { path: String, why: FileError },
    #[error(transparent)]
    Tls(#[from] InvalidTls),
    #[error("the bearer token file {path} cannot be read: {why}")]
    TokenUnreadable { path: String, why: FileError },
    #[error("the bearer token file holds no token: expected one line of printable ASCII")]
    TokenUnusable,
    #[error("no connection: {0}")]
    Connect(String),
    #[error("no complete answer within {after:?}")]
    Timeout { after: Duration },
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("expected status 200, found {0}; redirects are not followed, so configure the final URL")]
    Redirect(StatusCode),
    #[error("expected status 200, found {0}")]
    Status(StatusCode),
    #[error("expected status 200, found {status}; {bearer}")]
    Refused { status: StatusCode, bearer: Bearer },
    #[error("found status {0}, a redirect whose target is not an https URL without a user or password")]
    RedirectTarget(StatusCode),
    #[error("more than {MOST_REDIRECTS} redirects in a row")]
    Redirects,
    #[error("the answer is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the proxy must be a URL such as http://proxy.example.org:3128")]
    Proxy,
}

/// Whether a rejected request had a bearer token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Bearer {
    #[error(
        "no bearer token was sent, since none is configured: name a file that holds one as `bearerTokenFile`"
    )]
    NotConfigured,
    #[error(
        "the bearer token was not sent to {origin}, which is not among the origins that may see it: add {origin} to `bearerTokenOrigins`"
    )]
    Withheld { origin: String },
    #[error(
        "the bearer token of {file} (`bearerTokenFile`) was sent to {origin} but was not accepted: check that it is for this server, has \
         not expired and may read the keys (in Kubernetes by the ClusterRole system:service-account-issuer-discovery)"
    )]
    Sent { origin: String, file: String },
}

/// Returns a short text for the authorities and the proxy. Like the URL, they decide which server answers, so
/// a document that came another way belongs to another source. The proxy's URL may contain a password, so
/// only its fingerprint is used.
pub(super) fn by_way_of(ca: Option<&CaSource>, proxy: Option<&Secret>) -> String {
    let ca = ca.map_or_else(
        || "-".to_owned(),
        |ca| match ca {
            CaSource::File(path) => fingerprint(path.as_os_str().as_encoded_bytes()),
            CaSource::Inline(pem) => fingerprint(pem),
        },
    );
    let proxy = proxy.map_or_else(|| "-".to_owned(), |proxy| fingerprint(proxy.expose().as_bytes()));
    format!("{ca} {proxy}")
}

impl Fetcher {
    /// Fetches `url`, unless the document that `known` identifies has not changed. `tls` replaces the usual
    /// verification of the server.
    pub(super) async fn get(
        &self,
        url: &str,
        known: Option<&Validator>,
        tls: Option<&rustls::ClientConfig>,
    ) -> Result<Fetched, FetchError> {
        let start = parse(url)?;
        let known = known.filter(|known| known.url == url);
        let client = self.client(&start, tls).await?;
        let mut at = start.clone();
        for _ in 0..=MOST_REDIRECTS {
            let mut request = client.get(at.clone()).header(CACHE_CONTROL, "no-cache");
            if let Some(known) = known {
                request = request.header(IF_NONE_MATCH, &known.etag);
            }
            if let Some(path) = self.bearer_for(&at) {
                request = request.header(AUTHORIZATION, bearer(path).await?);
            }
            let response = request.send().await.map_err(|e| self.classify(&e))?;
            match response.status() {
                StatusCode::OK => return self.body(url, response).await,
                StatusCode::NOT_MODIFIED if known.is_some() => {
                    return Ok(Fetched::Same {
                        max_age: max_age(&response),
                    });
                }
                status if leads_elsewhere(status) && self.follow_redirects => {
                    at = redirected(&at, &response)?
                }
                status if leads_elsewhere(status) => return Err(FetchError::Redirect(status)),
                status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                    return Err(FetchError::Refused {
                        status,
                        bearer: self.bearer_went(&at),
                    });
                }
                status => return Err(FetchError::Status(status)),
            }
        }
        Err(FetchError::Redirects)
    }

    /// Returns the bearer token's file, if this URL's origin may receive the token.
    fn bearer_for(&self, url: &Url) -> Option<&PathBuf> {
        let may_see = |trusted: &String| parse(trusted).is_ok_and(|trusted| trusted.origin() == url.origin());
        self.bearer_token_file
            .as_ref()
            .filter(|_| self.bearer_origins.iter().any(may_see))
    }

    fn bearer_went(&self, url: &Url) -> Bearer {
        let origin = url.origin().ascii_serialization();
        match (&self.bearer_token_file, self.bearer_for(url)) {
            (None, _) => Bearer::NotConfigured,
            (Some(_), None) => Bearer::Withheld { origin },
            (Some(_), Some(file)) => Bearer::Sent {
                origin,
                file: file.display().to_string(),
            },
        }
    }

    async fn body(&self, url: &str, mut response: Response) -> Result<Fetched, FetchError> {
        let max_age = max_age(&response);
        let etag = response.headers().get(ETAG).and_then(|etag| etag.to_str().ok());
        let validator = etag.map(|etag| Validator {
            url: url.to_owned(),
            etag: etag.to_owned(),
        });
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.classify(&e))? {
            if body.len() + chunk.len() > self.largest {
                return Err(FetchError::TooLarge { limit: self.largest });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Fetched::New {
            body,
            validator,
            max_age,
        })
    }

    /// Makes a client for each fetch, so that changed authorities are used. Fetches are minutes apart.
    async fn client(&self, url: &Url, tls: Option<&rustls::ClientConfig>) -> Result<Client, FetchError> {
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .timeout(self.timeout)
            .connect_timeout(self.timeout)
            .referer(false);
        if let Some(tls) = tls {
            builder = builder.tls_backend_preconfigured(tls.clone());
        } else if let Some(ca) = &self.ca {
            builder = builder.tls_backend_preconfigured(ca.tls(&ca.read().await?)?);
        } else if url.scheme() == "http" {
            // Without TLS the system's authorities are not loaded: a minimal container may have none, and
            // would fail here.
            builder = builder.tls_certs_only([]);
        } else {
            builder = builder.tls_backend_preconfigured(tls::client(&SYSTEM, None)?);
        }
        for (host, address) in &self.resolve {
            builder = builder.resolve(host, *address);
        }
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(Proxy::all(proxy.expose()).map_err(|_| FetchError::Proxy)?);
        } else if is_loopback(url) || !self.resolve.is_empty() {
            builder = builder.no_proxy();
        }
        builder
            .build()
            .map_err(|e| FetchError::Connect(explain(&e).to_string()))
    }

    fn classify(&self, error: &reqwest::Error) -> FetchError {
        if error.is_timeout() {
            FetchError::Timeout { after: self.timeout }
        } else if error.is_connect() {
            FetchError::Connect(explain(error).to_string())
        } else {
            FetchError::Broken(explain(error).to_string())
        }
    }
}

fn leads_elsewhere(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Returns the target of a redirect, which must meet the same rules as a configured URL (SPIFFE Federation
/// 5.2.1).
fn redirected(from: &Url, response: &Response) -> Result<Url, FetchError> {
    let location = response
        .headers()
        .get(LOCATION)
        .and_then(|location| location.to_str().ok());
    let target = location.and_then(|location| from.join(location).ok());
    let good = target
        .filter(|target| target.scheme() == "https")
        .and_then(|target| parse(target.as_str()).ok());
    good.ok_or(FetchError::RedirectTarget(response.status()))
}

impl CaSource {
    /// Checks whether it can be used now. Each fetch reads it again.
    pub fn check(&self) -> Result<(), SourceError> {
        let pem = match self {
            Self::Inline(pem) => pem.clone(),
            Self::File(path) => {
                let name: Arc<str> = format!("file {}", path.display()).into();
                std::fs::read(path).map_err(|why| SourceError::Unreadable {
                    name,
                    why: FileError::new(path, &why),
                })?
            }
        };
        self.tls(&pem)
            .map(drop)
            .map_err(|why| SourceError::Authority { why })
    }

    async fn read(&self) -> Result<Vec<u8>, FetchError> {
        match self {
            Self::Inline(pem) => Ok(pem.clone()),
            Self::File(path) => {
                let unreadable = |why| FetchError::CaUnreadable {
                    path: path.display().to_string(),
                    why: FileError::new(path, &why),
                };
                tokio::fs::read(path).await.map_err(unreadable)
            }
        }
    }

    fn tls(&self, pem: &[u8]) -> Result<Tls, InvalidTls> {
        let (named, fix) = match self {
            Self::Inline(_) => (
                "the authorities in certificateAuthority".to_owned(),
                "put its authority into certificateAuthority",
            ),
            Self::File(path) => (
                format!("the authorities in {}", path.display()),
                "name its authority in certificateAuthorityFile",
            ),
        };
        tls::client(
            &Authorities {
                pem: Some(pem),
                named: &named,
                fix,
            },
            None,
        )
    }
}

/// Parses an absolute http or https URL with a host and without a user.
pub(super) fn parse(url: &str) -> Result<Url, FetchError> {
    let url = Url::parse(url).map_err(|_| FetchError::Url)?;
    let plain = url.username().is_empty() && url.password().is_none() && url.has_host();
    (plain && matches!(url.scheme(), "https" | "http"))
        .then_some(url)
        .ok_or(FetchError::Url)
}

pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

async fn bearer(path: &PathBuf) -> Result<HeaderValue, FetchError> {
    let unreadable = |why| FetchError::TokenUnreadable {
        path: path.display().to_string(),
        why: FileError::new(path, &why),
    };
    let token = tokio::fs::read_to_string(path).await.map_err(unreadable)?;
    let token = token.trim();
    if token.is_empty() {
        return Err(FetchError::TokenUnusable);
    }
    let mut value =
        HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| FetchError::TokenUnusable)?;
    value.set_sensitive(true);
    Ok(value)
}

fn max_age(response: &Response) -> Option<Duration> {
    let values = response
        .headers()
        .get_all(CACHE_CONTROL)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).find_map(|directive| {
        let directive = directive.trim().to_ascii_lowercase();
        match directive.strip_prefix("max-age=") {
            Some(seconds) => seconds.trim_matches('"').parse().ok().map(Duration::from_secs),
            None => matches!(&*directive, "no-store" | "no-cache").then_some(Duration::ZERO),
        }
    })
}

/// The authorities if none is configured.
const SYSTEM: Authorities<'_> = Authorities {
    pem: None,
    named: "the system's authorities",
    fix: "name its authority in certificateAuthorityFile",
};
/// Redirects must end somewhere, as in browsers.
const MOST_REDIRECTS: usize = 5;
/// The time from the start to the end of the body.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// In bytes. Key sets of large public issuers have about 10 KiB.
pub(super) const LARGEST_BODY: usize = 1024 * 1024;
