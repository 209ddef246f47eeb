//! An OIDC issuer's keys, by discovery or from a JWK set's URL. The first fetch begins in the background when
//! the source is started, or earlier if a request needs the keys.
//!
//! <https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig>

use super::Source;
use super::fetch::{
    CaSource, FetchError, Fetched, Fetcher, LARGEST_BODY, TIMEOUT, by_way_of, is_loopback, parse,
};
use crate::clock::{Clock, Timestamp};
use crate::object;
use crate::secret::Secret;
use crate::trust::content::{Content, Slots};
use crate::trust::jwks::{self, InvalidJwks, UseRule};
use crate::trust::refresh::{self, Endpoint, Known, LastGood, Pace, SourceAnswer};
use crate::trust::skipped::{Reasons, Skipped};
use crate::trust::{Slot, SourceKind};
use http::StatusCode;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcSettings {
    /// Distinguishes it from other entries with the same issuer and different keys.
    pub name: Option<String>,
    /// The issuer, as in the tokens' `iss`.
    pub issuer: String,
    /// The URL of the discovery document. Default: the issuer's URL without a final `/`, then
    /// `/.well-known/openid-configuration`.
    pub discovery_url: Option<String>,
    /// The key set's URL. Discovery is then not used.
    pub jwks_url: Option<String>,
    /// The authorities that verify the servers. Default: the system's.
    pub ca: Option<CaSource>,
    /// A file with a bearer token. It is sent to the origins of `issuer`, `discovery_url` and `jwks_url`, and
    /// to `bearer_token_origins`.
    pub bearer_token_file: Option<PathBuf>,
    pub bearer_token_origins: Vec<String>,
    /// An HTTP proxy's URL. Default: the environment's.
    pub proxy: Option<Secret>,
    /// Skip the comparison of the issuer, in the discovery document and in tokens.
    pub skip_issuer: bool,
    /// How long keys are used after the last successful fetch. Zero: until the next refresh is due.
    pub max_stale: Duration,
    /// Host names that resolve to a fixed address.
    pub resolve: Vec<(String, SocketAddr)>,
}

/// Returns an issuer's keys as a source. The keys verify only tokens with the issuer as `iss`, unless the
/// comparison is skipped. Fetching begins with [`Source::start`].
#[must_use]
pub fn oidc(settings: OidcSettings, clock: Clock, last_good: Option<&Arc<LastGood>>) -> Source {
    paced(settings, clock, last_good, Pace::OIDC, TIMEOUT)
}

/// As [`oidc`], for a trust domain. A key that is missing in a new key set is withdrawn at once, as for every
/// source of a trust domain.
#[must_use]
pub fn oidc_of_trust_domain(
    settings: OidcSettings,
    clock: Clock,
    last_good: Option<&Arc<LastGood>>,
) -> Source {
    paced(
        settings,
        clock,
        last_good,
        Pace {
            withdrawn: Duration::ZERO,
            ..Pace::OIDC
        },
        TIMEOUT,
    )
}

pub(super) fn paced(
    settings: OidcSettings,
    clock: Clock,
    last_good: Option<&Arc<LastGood>>,
    pace: Pace,
    timeout: Duration,
) -> Source {
    warn_of_plain_http(&settings);
    let called = settings.name.as_ref().map_or_else(
        || settings.issuer.clone(),
        |name| format!("{} ({name})", settings.issuer),
    );
    let slot = Slot::of(SourceKind::Oidc, called);
    let slots = Slots {
        x509: None,
        jwt: Some(slot),
    };
    let urls = [
        Some(&settings.issuer),
        settings.discovery_url.as_ref(),
        settings.jwks_url.as_ref(),
    ];
    let fetcher = Fetcher {
        ca: settings.ca.clone(),
        bearer_token_file: settings.bearer_token_file.clone(),
        bearer_origins: urls
            .into_iter()
            .flatten()
            .chain(&settings.bearer_token_origins)
            .cloned()
            .collect(),
        proxy: settings.proxy.clone(),
        resolve: settings.resolve.clone(),
        follow_redirects: false,
        timeout,
        largest: LARGEST_BODY,
    };
    let place = last_good.map(|all| {
        let [issuer, discovery, keys] = urls.map(|url| url.map_or("-", String::as_str));
        let demanded = if settings.skip_issuer {
            "any-issuer"
        } else {
            "its-issuer"
        };
        let way = by_way_of(settings.ca.as_ref(), settings.proxy.as_ref());
        let named = settings
            .name
            .as_ref()
            .map_or_else(String::new, |name| format!(" {name}"));
        all.place(format!(
            "oidc {issuer} {discovery} {keys} {demanded} {way}{named}"
        ))
    });
    let max_stale = settings.max_stale;
    let endpoint = Issuer {
        settings,
        fetcher,
        discovered: Mutex::default(),
    };
    let (refetch, life) = refresh::supervise(refresh::Settings {
        endpoint,
        slots: slots.clone(),
        clock,
        pace,
        max_stale,
        place,
    });
    Source::new(slots, Some(refetch), Vec::new(), Arc::new(life))
}

struct Issuer {
    settings: OidcSettings,
    fetcher: Fetcher,
    /// The key set's URL from discovery, and when it was found.
    discovered: Mutex<Option<(String, Timestamp)>>,
}

impl Endpoint for Issuer {
    type Error = DiscoveryError;

    async fn ask(&self, now: Timestamp, known: Option<&Known>) -> Result<SourceAnswer, DiscoveryError> {
        if let Some(url) = &self.settings.jwks_url {
            return self.key_set(url, known).await;
        }
        let discovered = self.discovered().clone();
        if let Some((url, at)) = discovered.filter(|(_, at)| now.since(*at) < DISCOVERY) {
            match self.key_set(&url, known).await {
                Err(why) if why.has_moved() => {}
                Err(why) => return Err(why),
                Ok(said) => {
                    // A clock that was set back must not extend the use of this URL.
                    *self.discovered() = Some((url, at.min(now)));
                    return Ok(said);
                }
            }
        }
        let url = self.discover().await?;
        *self.discovered() = Some((url.clone(), now));
        self.key_set(&url, known).await
    }

    fn read(&self, document: &[u8]) -> Result<Content, DiscoveryError> {
        let parsed = jwks::parse(document, UseRule::Oidc)?;
        if parsed.value.is_empty() && !parsed.skipped.is_empty() {
            return Err(DiscoveryError::NoneUsable {
                skipped: parsed.skipped,
            });
        }
        let OidcSettings {
            issuer, skip_issuer, ..
        } = &self.settings;
        let keys = if *skip_issuer {
            parsed.value
        } else {
            parsed.value.demanding_issuer(issuer)
        };
        Ok(Content {
            jwt: Some(keys),
            skipped: parsed.skipped,
            ..Content::default()
        })
    }

    fn name(&self) -> &str {
        &self.settings.issuer
    }
}

impl Issuer {
    /// Fetches the discovery document and returns its `jwks_uri`.
    async fn discover(&self) -> Result<String, DiscoveryError> {
        let OidcSettings {
            issuer,
            discovery_url,
            skip_issuer,
            ..
        } = &self.settings;
        let url = discovery_url
            .clone()
            .unwrap_or_else(|| format!("{}{WELL_KNOWN}", issuer.strip_suffix('/').unwrap_or(issuer)));
        let Fetched::New { body, .. } = self.get(&url, None).await? else {
            return Err(DiscoveryError::NotADocument {
                url,
                why: UNCHANGED.into(),
            });
        };
        let document: Document = object::read(&body).map_err(|why| DiscoveryError::NotADocument {
            url: url.clone(),
            why,
        })?;
        if !skip_issuer && document.issuer != *issuer {
            return Err(DiscoveryError::Issuer {
                url,
                expected: issuer.clone(),
                found: document.issuer,
            });
        }
        let secure = url.starts_with("https:");
        match parse(&document.jwks_uri) {
            Ok(keys) if !secure || keys.scheme() == "https" => Ok(document.jwks_uri),
            _ => Err(DiscoveryError::JwksUri {
                url,
                found: document.jwks_uri,
            }),
        }
    }

    async fn key_set(&self, url: &str, known: Option<&Known>) -> Result<SourceAnswer, DiscoveryError> {
        let validator = known.and_then(|known| known.validator.as_ref());
        let (document, validator, max_age) = match (self.get(url, validator).await?, known) {
            (
                Fetched::New {
                    body,
                    validator,
                    max_age,
                },
                _,
            ) => (body, validator, max_age),
            (Fetched::Same { max_age }, Some(known)) => {
                (known.document.clone(), known.validator.clone(), max_age)
            }
            (Fetched::Same { .. }, None) => {
                return Err(DiscoveryError::NotADocument {
                    url: url.to_owned(),
                    why: UNCHANGED.into(),
                });
            }
        };
        Ok(SourceAnswer {
            document,
            validator,
            fresh_for: max_age,
        })
    }

    async fn get(&self, url: &str, known: Option<&refresh::Validator>) -> Result<Fetched, DiscoveryError> {
        self.fetcher.get(url, known, None).await.map_err(|why| match why {
            // The URL may contain a password, so it is not shown.
            FetchError::Url => DiscoveryError::Url,
            why => DiscoveryError::Fetch {
                url: url.to_owned(),
                why,
            },
        })
    }

    fn discovered(&self) -> MutexGuard<'_, Option<(String, Timestamp)>> {
        self.discovered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The parts of the discovery document that are used.
#[derive(serde::Deserialize)]
struct Document {
    #[serde(default)]
    issuer: String,
    jwks_uri: String,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
enum DiscoveryError {
    #[error("{}", FetchError::Url)]
    Url,
    #[error("{url}: {why}")]
    Fetch { url: String, why: FetchError },
    #[error("{url}: expected an OIDC discovery document, a JSON object with `issuer` and `jwks_uri`: {why}")]
    NotADocument { url: String, why: String },
    #[error(
        "{url}: expected the issuer `{expected}` as configured, found `{found}`; they must be equal byte for byte"
    )]
    Issuer {
        url: String,
        expected: String,
        found: String,
    },
    #[error(
        "{url}: expected an https `jwks_uri` (or http if the document itself came by http), found `{found}`"
    )]
    JwksUri { url: String, found: String },
    #[error(transparent)]
    Keys(#[from] InvalidJwks),
    #[error("none of its {} keys can be used ({}); the previous keys stay in use", skipped.len(), Reasons(skipped))]
    NoneUsable { skipped: Vec<Skipped> },
}

impl DiscoveryError {
    /// Whether the key set is no longer at its URL, so that discovery is repeated.
    const fn has_moved(&self) -> bool {
        matches!(
            self,
            Self::Fetch {
                why: FetchError::Status(StatusCode::NOT_FOUND | StatusCode::GONE),
                ..
            }
        )
    }
}

fn warn_of_plain_http(settings: &OidcSettings) {
    let urls = [
        Some(&settings.issuer),
        settings.discovery_url.as_ref(),
        settings.jwks_url.as_ref(),
    ];
    for url in urls.into_iter().flatten().filter_map(|url| parse(url).ok()) {
        if url.scheme() == "http" && !is_loopback(&url) {
            tracing::warn!(issuer = %settings.issuer, "{url} is plain http: anyone on the network path can forge keys; use https");
        }
    }
}

const UNCHANGED: &str = "found status 304, although no document was cached";
const WELL_KNOWN: &str = "/.well-known/openid-configuration";
/// How long a discovered `jwks_uri` is used.
const DISCOVERY: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests;
