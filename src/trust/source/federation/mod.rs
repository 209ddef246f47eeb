//! A trust domain's bundle from its federation endpoint, fetched at the interval that the publisher asks for.
//!
//! <https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Federation.md#5-serving-and-consuming-a-spiffe-bundle-endpoint>

mod server;

use super::fetch::{CaSource, FetchError, Fetched, Fetcher, TIMEOUT, by_way_of, parse};
use super::file::read;
use super::{Format, Source, SourceError};
use crate::clock::{Clock, Timestamp};
use crate::secret::Secret;
use crate::spiffe_id::{SpiffeId, TrustDomain};
use crate::trust::SourceKind;
use crate::trust::bundle::{InvalidBundle, parse_spiffe};
use crate::trust::content::{Content, Slots};
use crate::trust::refresh::{self, Endpoint, Known, LastGood, Pace, SourceAnswer};
use crate::trust::x509::X509Authorities;
use http::StatusCode;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where a trust domain publishes its bundle, and how the server is verified. All of it is configured and
/// nothing is inferred (F-2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederationSettings {
    pub trust_domain: TrustDomain,
    /// An https URL without a user or password (F-3).
    pub url: String,
    pub profile: EndpointProfile,
    /// An HTTP proxy's URL. Default: the environment's.
    pub proxy: Option<Secret>,
    /// How long the bundle is used after its last successful fetch.
    pub max_stale: Duration,
    /// Host names that resolve to a fixed address.
    pub resolve: Vec<(String, SocketAddr)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointProfile {
    /// `https_web`: the server is verified by its host name (F-4). The default authorities are the system's.
    Web { ca: Option<CaSource> },
    /// `https_spiffe`: the server is verified by its X.509-SVID (F-5).
    Spiffe {
        endpoint: SpiffeId,
        /// The bundle of the endpoint's trust domain, in SPIFFE's JSON or PEM. If the endpoint is in the
        /// trust domain itself, this bundle is used only for the first connection, and later ones use the
        /// last fetched bundle (F-6).
        bootstrap: PathBuf,
    },
}

impl EndpointProfile {
    const fn name(&self) -> &'static str {
        match self {
            Self::Web { .. } => "https_web",
            Self::Spiffe { .. } => "https_spiffe",
        }
    }
}

/// Returns a trust domain's bundle as a source. Fetching begins with [`Source::start`].
#[must_use]
pub fn federation(settings: FederationSettings, clock: Clock, last_good: Option<&Arc<LastGood>>) -> Source {
    paced(settings, clock, last_good, Pace::FEDERATION, TIMEOUT)
}

pub(super) fn paced(
    settings: FederationSettings,
    clock: Clock,
    last_good: Option<&Arc<LastGood>>,
    pace: Pace,
    timeout: Duration,
) -> Source {
    let FederationSettings {
        trust_domain,
        url,
        profile,
        ..
    } = &settings;
    let slots = Slots::empty(
        SourceKind::Federation,
        &url.as_str().into(),
        &Format::SpiffeBundleOrPem.nothing(),
    );
    let place = last_good.map(|all| {
        let endpoint = match profile {
            EndpointProfile::Web { .. } => "-".to_owned(),
            EndpointProfile::Spiffe { endpoint, .. } => endpoint.to_string(),
        };
        let way = match profile {
            EndpointProfile::Web { ca } => by_way_of(ca.as_ref(), settings.proxy.as_ref()),
            EndpointProfile::Spiffe { bootstrap, .. } => {
                by_way_of(Some(&CaSource::File(bootstrap.clone())), settings.proxy.as_ref())
            }
        };
        all.place(format!(
            "federation {trust_domain} {url} {} {endpoint} {way}",
            profile.name()
        ))
    });
    let fetcher = Fetcher {
        ca: match profile {
            EndpointProfile::Web { ca } => ca.clone(),
            EndpointProfile::Spiffe { .. } => None,
        },
        // The client does not authenticate (F-10).
        bearer_token_file: None,
        bearer_origins: Vec::new(),
        proxy: settings.proxy.clone(),
        resolve: settings.resolve.clone(),
        follow_redirects: true,
        timeout,
        largest: LARGEST_BUNDLE,
    };
    let max_stale = settings.max_stale;
    let endpoint = BundleEndpoint { settings, fetcher };
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

/// Checks whether a bootstrap bundle can be used now. Each fetch reads it again.
pub fn check_bootstrap(path: &Path) -> Result<(), SourceError> {
    let name: Arc<str> = format!("bootstrapFile {}", path.display()).into();
    let content = Format::SpiffeBundleOrPem.parse(&name, &read(path, &name)?)?;
    if content.x509.is_some_and(|authorities| !authorities.is_empty()) {
        Ok(())
    } else {
        Err(SourceError::NoAuthority { name })
    }
}

struct BundleEndpoint {
    settings: FederationSettings,
    fetcher: Fetcher,
}

impl Endpoint for BundleEndpoint {
    type Error = FederationError;

    async fn ask(&self, now: Timestamp, known: Option<&Known>) -> Result<SourceAnswer, FederationError> {
        let url = &self.settings.url;
        if !parse(url).is_ok_and(|url| url.scheme() == "https") {
            return Err(FederationError::Url);
        }
        let tls = match &self.settings.profile {
            EndpointProfile::Web { .. } => None,
            EndpointProfile::Spiffe { endpoint, bootstrap } => {
                let authorities = self.authorities(endpoint, bootstrap, known, now).await?;
                Some(server::known_by(endpoint, authorities, now).map_err(FederationError::Tls)?)
            }
        };
        let validator = known.and_then(|known| known.validator.as_ref());
        let (document, validator) = match (self.fetcher.get(url, validator, tls.as_ref()).await?, known) {
            (Fetched::New { body, validator, .. }, _) => (body, validator),
            (Fetched::Same { .. }, Some(known)) => (known.document.clone(), known.validator.clone()),
            (Fetched::Same { .. }, None) => return Err(FederationError::Unasked),
        };
        // The bundle itself says how long it is fresh (F-8).
        Ok(SourceAnswer {
            document,
            validator,
            fresh_for: None,
        })
    }

    fn read(&self, document: &[u8]) -> Result<Content, FederationError> {
        Ok(parse_spiffe(document)?.into())
    }

    fn may_replace(&self, content: &Content, known: &Known) -> Result<(), FederationError> {
        match (content.sequence, known.content.sequence) {
            (Some(found), Some(held)) if found < held => Err(FederationError::Rollback {
                found,
                held,
                until: known.usable_until,
            }),
            _ => Ok(()),
        }
    }

    fn name(&self) -> &str {
        &self.settings.url
    }
}

impl BundleEndpoint {
    /// Returns the authorities that verify the endpoint now (F-6). Authorities that the trust domain has
    /// revoked are not among them. The bootstrap file is used instead of the latest bundle only if it is
    /// newer, or if all authorities of the latest bundle have expired.
    async fn authorities(
        &self,
        endpoint: &SpiffeId,
        bootstrap: &Path,
        known: Option<&Known>,
        now: Timestamp,
    ) -> Result<X509Authorities, FederationError> {
        let name: Arc<str> = format!("bootstrapFile {}", bootstrap.display()).into();
        let path = bootstrap.to_owned();
        let of = name.clone();
        let text = tokio::task::spawn_blocking(move || read(&path, &of));
        let text = text.await.unwrap_or(Err(SourceError::Unreadable {
            name: name.clone(),
            why: std::io::ErrorKind::Interrupted.into(),
        }));
        let configured = text.and_then(|text| Format::SpiffeBundleOrPem.parse(&name, &text));
        let self_serving = *endpoint.trust_domain() == self.settings.trust_domain;
        let latest = known.filter(|_| self_serving).map(|known| &known.content);
        let Some(latest) = latest else {
            return Ok(configured?.x509.unwrap_or_default());
        };
        let held = latest.x509.clone().unwrap_or_default();
        match configured {
            Ok(configured)
                if configured.sequence > latest.sequence
                    && configured.sequence.is_some()
                    && latest.sequence.is_some() =>
            {
                Ok(configured.x509.unwrap_or_default())
            }
            Ok(configured) if held.have_expired_by(now) => Ok(configured.x509.unwrap_or_default()),
            _ => Ok(held),
        }
    }
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
enum FederationError {
    #[error("the endpoint's URL must be https://host…, without a user or password")]
    Url,
    #[error(transparent)]
    Fetch(FetchError),
    #[error(
        "expected status 200, found {0}; the registry sends no credential to bundle endpoints, so this one must not require any"
    )]
    Refused(StatusCode),
    #[error("the bundle that verifies the endpoint cannot be read: {0}")]
    Bootstrap(#[from] SourceError),
    #[error("TLS cannot be set up: {0}")]
    Tls(rustls::Error),
    #[error("found status 304, although no bundle was cached")]
    Unasked,
    #[error(transparent)]
    Bundle(#[from] InvalidBundle),
    #[error(
        "expected a spiffe_sequence of {held} or more, found {found}: an older bundle would bring withdrawn keys back; if the trust \
         domain was set up again, its bundle is accepted from {until} on, or at once after a restart without the copy in the state directory"
    )]
    Rollback { found: u64, held: u64, until: Timestamp },
}

impl From<FetchError> for FederationError {
    fn from(why: FetchError) -> Self {
        match why {
            FetchError::Refused { status, .. } => Self::Refused(status),
            why => Self::Fetch(why),
        }
    }
}

/// In bytes. A bundle with a thousand keys has about one MiB.
const LARGEST_BUNDLE: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests;
