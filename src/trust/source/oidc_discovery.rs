//! An OIDC issuer's keys, by discovery or from a JWK set's URL. Nothing is fetched before someone asks; from the first success
//! on the keys are refreshed in the background. However many ask at once, one fetch answers them, and strangers' tokens cannot
//! make us fetch more often than the limits here allow.
//!
//! <https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig>

use super::fetch::{CaSource, FetchError, Fetched, Fetcher, is_loopback, parse};
use super::tasks::{Life, Task};
use super::{Source, jittered};
use crate::clock::{Clock, Timestamp};
use crate::trust::jwks::{self, InvalidJwks, KeySet, Skipped, UseRule};
use crate::trust::{Refetch, Slot, SourceKind};
use futures_util::future::BoxFuture;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::watch;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcSettings {
    /// As in the tokens' `iss`.
    pub issuer: String,
    /// The discovery document's own URL. Default: the issuer's, without a final `/`, and `/.well-known/openid-configuration`.
    pub discovery_url: Option<String>,
    /// The key set's URL: there is no discovery then.
    pub jwks_url: Option<String>,
    /// Who vouches for the servers. Default: the system's authorities.
    pub ca: Option<CaSource>,
    /// Sent to the origins of `issuer`, `discovery_url` and `jwks_url` only.
    pub bearer_token_file: Option<PathBuf>,
    /// The document's issuer is not compared.
    pub skip_issuer: bool,
    /// How long keys serve after their last success. Zero: until they should have been refreshed.
    pub max_stale: Duration,
    /// Host names that resolve to a fixed address.
    pub resolve: Vec<(String, SocketAddr)>,
}

/// The keys of an issuer. They demand that a token's `iss` is the issuer, unless it is not to be compared. Nothing is fetched until
/// they are asked for, which needs a tokio runtime.
#[must_use]
pub fn oidc(settings: OidcSettings, clock: Clock) -> Source {
    Oidc::source(settings, clock, Pace::default())
}

struct Oidc(Arc<Shared>);

struct Shared {
    settings: OidcSettings,
    fetcher: Fetcher,
    clock: Clock,
    slot: Arc<Slot<KeySet>>,
    pace: Pace,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Closed when the latest fetch has ended, whatever ended it.
    ended: Option<watch::Receiver<()>>,
    /// When the latest fetch began, and before when no other may.
    began: Option<Timestamp>,
    not_before: Option<Timestamp>,
    /// In a row.
    failures: u32,
    /// What the key set of the slot was read from.
    good: Option<Vec<u8>>,
    /// Where discovery found the key set, and when.
    discovered: Option<(String, Timestamp)>,
    /// How long after the latest fetch the background waits for the next.
    pause: Duration,
    background: Option<Task>,
}

impl Oidc {
    fn source(settings: OidcSettings, clock: Clock, pace: Pace) -> Source {
        warn_of_plain_http(&settings);
        let slot = Slot::of(SourceKind::Oidc, settings.issuer.clone());
        let urls = [Some(&settings.issuer), settings.discovery_url.as_ref(), settings.jwks_url.as_ref()];
        let fetcher = Fetcher {
            ca: settings.ca.clone(),
            bearer_token_file: settings.bearer_token_file.clone(),
            bearer_origins: urls.into_iter().flatten().cloned().collect(),
            resolve: settings.resolve.clone(),
        };
        let shared = Shared { settings, fetcher, clock, slot: slot.clone(), pace, state: Mutex::default() };
        let refetch: Arc<dyn Refetch> = Arc::new(Self(Arc::new(shared)));
        Source { x509: None, jwt: Some(slot), refetch: Some(refetch), skipped: Vec::new(), life: Arc::new(Life::still()) }
    }
}

impl Refetch for Oidc {
    fn refetch(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Some(mut ended) = self.0.start(Asked::ByRequest) {
                // The fetch goes on if this gives up or is dropped.
                let _ = tokio::time::timeout(self.0.pace.patience, ended.changed()).await;
            }
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    ByRequest,
    InBackground,
}

impl Shared {
    /// Starts a fetch, or joins the one that is under way: a second right after it is what the limits forbid. `None` if
    /// they forbid even one.
    fn start(self: &Arc<Self>, asked: Asked) -> Option<watch::Receiver<()>> {
        let mut state = self.state();
        if let Some(ended) = state.ended.as_ref().filter(|ended| ended.has_changed().is_ok()) {
            return Some(ended.clone());
        }
        let now = self.clock.now();
        let waits = |state: &State| state.not_before.is_some_and(|not_before| now < not_before);
        let clock_went_back = |state: &State| state.began.is_some_and(|began| now < began);
        if asked == Asked::ByRequest && waits(&state) && !clock_went_back(&state) {
            return None;
        }
        let (alive, ended) = watch::channel(());
        (state.ended, state.began) = (Some(ended.clone()), Some(now));
        state.not_before = Some(now.plus(self.pace.unknown_key));
        let shared = self.clone();
        // In a task of its own, which a request that is cancelled does not take with it.
        tokio::spawn(async move {
            let outcome = shared.fetch(now).await;
            shared.settle(now, outcome);
            drop(alive);
        });
        Some(ended)
    }

    /// The outcome into the slot, and from it when the next fetch may and will be.
    fn settle(self: &Arc<Self>, began: Timestamp, outcome: Result<Answer, DiscoveryError>) {
        let mut state = self.state();
        match outcome {
            Ok(answer) => {
                let max_stale = self.settings.max_stale;
                let usable_for = if max_stale.is_zero() { answer.fresh_for } else { max_stale };
                let usable_until = began.plus(usable_for);
                if state.good.as_ref() == Some(&answer.text) {
                    self.slot.confirm(began, usable_until);
                } else {
                    tracing::info!(issuer = %self.settings.issuer, keys = answer.keys.len(), "issuer's keys replaced");
                    self.slot.publish(answer.keys, began, usable_until);
                    self.slot.annotate(None, answer.skipped);
                    state.good = Some(answer.text);
                }
                state.failures = 0;
                state.pause = answer.fresh_for.min(usable_for / 2).max(self.pace.first_pause);
                if state.background.is_none() {
                    state.background = Some(Task::spawn(keep_fresh(Arc::downgrade(self), state.pause)));
                }
                self.slot.plan(self.clock.now().plus(state.pause));
            }
            Err(why) => {
                let pause = self.pace.first_pause.saturating_mul(1 << state.failures.min(16)).min(self.pace.longest_pause);
                state.pause = jittered(pause);
                state.failures = state.failures.saturating_add(1);
                let cool = self.clock.now().plus(state.pause);
                let first_use = self.slot.held().is_none_or(|held| held.usable_until <= began);
                state.not_before = Some(if first_use { cool } else { cool.max(began.plus(self.pace.unknown_key)) });
                let next = state.pause;
                tracing::warn!(issuer = %self.settings.issuer, "issuer's keys could not be fetched, next attempt in {next:.1?} at the earliest: {why}");
                self.slot.fail(why.to_string());
                self.slot.plan(cool);
            }
        }
    }

    async fn fetch(&self, now: Timestamp) -> Result<Answer, DiscoveryError> {
        if let Some(url) = &self.settings.jwks_url {
            return self.key_set(url).await;
        }
        let discovered = self.state().discovered.clone();
        if let Some((url, at)) = discovered
            && now.since(at) < self.pace.discovery
            && let Ok(answer) = self.key_set(&url).await
        {
            return Ok(answer);
        }
        // Never discovered, long ago, or the key set is not (well) where it was.
        self.state().discovered = None;
        let url = self.discover().await?;
        let answer = self.key_set(&url).await?;
        self.state().discovered = Some((url, now));
        Ok(answer)
    }

    /// The document's `jwks_uri`.
    async fn discover(&self) -> Result<String, DiscoveryError> {
        let OidcSettings { issuer, discovery_url, skip_issuer, .. } = &self.settings;
        let url = discovery_url.clone().unwrap_or_else(|| format!("{}{WELL_KNOWN}", issuer.strip_suffix('/').unwrap_or(issuer)));
        let fetched = self.get(&url).await?;
        let document: Document = serde_json::from_slice(&fetched.body).map_err(|_| DiscoveryError::NotADocument { url: url.clone() })?;
        if !skip_issuer && document.issuer != *issuer {
            return Err(DiscoveryError::Issuer { url, expected: issuer.clone(), found: document.issuer });
        }
        let secure = url.starts_with("https:");
        match parse(&document.jwks_uri) {
            Ok(keys) if !secure || keys.scheme() == "https" => Ok(document.jwks_uri),
            _ => Err(DiscoveryError::JwksUri { url, found: document.jwks_uri }),
        }
    }

    async fn key_set(&self, url: &str) -> Result<Answer, DiscoveryError> {
        let Fetched { body, max_age } = self.get(url).await?;
        let parsed = jwks::parse(&body, UseRule::Oidc).map_err(|why| DiscoveryError::Keys { url: url.to_owned(), why })?;
        if parsed.value.is_empty() && !parsed.skipped.is_empty() {
            return Err(DiscoveryError::NoneUsable { url: url.to_owned(), skipped: parsed.skipped.len() });
        }
        if self.state().good.as_ref() != Some(&body) {
            for skipped in &parsed.skipped {
                tracing::warn!(issuer = %self.settings.issuer, "key skipped, the rest counts: {skipped}");
            }
        }
        let keys = if self.settings.skip_issuer { parsed.value } else { parsed.value.demanding_issuer(&self.settings.issuer) };
        let fresh_for = max_age.unwrap_or(self.pace.fresh).clamp(self.pace.freshest, self.pace.least_fresh);
        Ok(Answer { keys, skipped: parsed.skipped, text: body, fresh_for })
    }

    async fn get(&self, url: &str) -> Result<Fetched, DiscoveryError> {
        self.fetcher.get(url).await.map_err(|why| match why {
            // It may hold a password.
            FetchError::Url => DiscoveryError::Url,
            why => DiscoveryError::Fetch { url: url.to_owned(), why },
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until its issuer is dropped.
async fn keep_fresh(shared: Weak<Shared>, mut pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        let Some(shared) = shared.upgrade() else { return };
        if let Some(mut ended) = shared.start(Asked::InBackground) {
            let _ = ended.changed().await;
        }
        pause = shared.state().pause;
    }
}

struct Answer {
    keys: KeySet,
    skipped: Vec<Skipped>,
    text: Vec<u8>,
    fresh_for: Duration,
}

/// What we need of the discovery document.
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
    #[error("{url}: expected an OIDC discovery document, a JSON object with `issuer` and `jwks_uri`")]
    NotADocument { url: String },
    #[error("{url}: expected the issuer `{expected}` as configured, found `{found}`; they must be equal byte for byte")]
    Issuer { url: String, expected: String, found: String },
    #[error("{url}: expected a `jwks_uri` of https (or http if the document itself came by http), found `{found}`")]
    JwksUri { url: String, found: String },
    #[error("{url}: {why}")]
    Keys { url: String, why: InvalidJwks },
    #[error("{url}: none of its {skipped} keys can be used; the former ones stay")]
    NoneUsable { url: String, skipped: usize },
}

#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Between fetches that requests ask for, while there are keys: an unknown `kid` costs a stranger nothing.
    unknown_key: Duration,
    /// Between attempts that fail: grows from the first to the longest.
    first_pause: Duration,
    longest_pause: Duration,
    /// How long keys stay fresh: by default, at the least and at the most.
    fresh: Duration,
    freshest: Duration,
    least_fresh: Duration,
    /// How long a discovered `jwks_uri` is believed.
    discovery: Duration,
    /// How long a request waits for a fetch.
    patience: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            unknown_key: Duration::from_secs(10),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            fresh: Duration::from_secs(5 * 60),
            freshest: Duration::from_secs(60),
            least_fresh: Duration::from_secs(60 * 60),
            discovery: Duration::from_secs(60 * 60),
            patience: Duration::from_secs(5),
        }
    }
}

fn warn_of_plain_http(settings: &OidcSettings) {
    let urls = [Some(&settings.issuer), settings.discovery_url.as_ref(), settings.jwks_url.as_ref()];
    for url in urls.into_iter().flatten().filter_map(|url| parse(url).ok()) {
        if url.scheme() == "http" && !is_loopback(&url) {
            tracing::warn!(issuer = %settings.issuer, "{url} is plain http: whoever sits between can make up keys; use https");
        }
    }
}

const WELL_KNOWN: &str = "/.well-known/openid-configuration";

#[cfg(test)]
mod tests;
