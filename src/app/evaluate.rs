//! Evaluates credentials and trust under a configuration without serving. It uses the same sources,
//! authenticator and policy as a registry. It opens no store and writes nothing.

use super::live::live;
use super::sources::Sources;
use crate::access::{Explanation, explain};
use crate::clock::Clock;
use crate::config::{Config, LiveSettings, Mistake};
use crate::control::Report;
use crate::http::Live;
use crate::identity::{Entry, Failure, Identity, Presented, Tried};
use crate::oci::RepositoryName;
use std::time::Duration;

/// A configuration that can verify credentials. Its sources run until it is dropped.
#[derive(Debug)]
pub struct Evaluator {
    live: Live,
    clock: Clock,
    /// The entries by their keys in the configuration, and the issuer or trust domain of each.
    issuers: Vec<(String, String)>,
    trust_domains: Vec<(String, String)>,
    certificates: Vec<(String, String)>,
    _sources: Sources,
}

/// The verdict on one credential.
#[derive(Debug)]
pub struct Verdict {
    pub tried: Vec<Tried>,
    pub outcome: Result<Identity, Failure>,
}

impl Evaluator {
    /// Opens the configuration. It needs a tokio runtime. Returns all mistakes.
    pub fn open(config: Config, clock: Clock) -> Result<Self, Vec<Mistake>> {
        let issuers = config
            .ways_in
            .issuers
            .iter()
            .map(|entry| (entry.key.clone(), entry.label()))
            .collect();
        let trust_domains = config
            .ways_in
            .domains
            .iter()
            .map(|entry| (entry.key.clone(), entry.name().to_string()))
            .collect();
        let certificates = config
            .ways_in
            .certificates
            .iter()
            .map(|entry| (entry.key.clone(), entry.name.clone()))
            .collect();
        let mut sources = Sources::new(clock.clone(), None);
        let opened = sources.open(config.ways_in);
        if !opened.mistakes.is_empty() {
            return Err(opened.mistakes);
        }
        sources.install(opened.running);
        let settings = LiveSettings {
            token_cache: false,
            ..config.live
        };
        let live = live(1, opened.ways_in, settings, None, false);
        Ok(Self {
            live,
            clock,
            issuers,
            trust_domains,
            certificates,
            _sources: sources,
        })
    }

    /// Waits a short time until the relevant sources have answered or failed.
    pub async fn evaluate(&self, presented: &Presented<'_>) -> Verdict {
        let asking = async {
            loop {
                let pending = self.report().is_pending();
                let outcome = self
                    .live
                    .authenticator
                    .authenticate(presented, self.clock.now())
                    .await;
                if !pending || !matches!(outcome, Err(Failure::Undecidable { .. })) {
                    return outcome;
                }
                tokio::time::sleep(BETWEEN).await;
            }
        };
        let decided = tokio::time::timeout(PATIENCE, asking).await.ok();
        let tried = self.live.authenticator.tried(presented, self.clock.now()).await;
        let outcome = match decided {
            Some(outcome) => outcome,
            None => {
                self.live
                    .authenticator
                    .authenticate(presented, self.clock.now())
                    .await
            }
        };
        Verdict { tried, outcome }
    }

    /// Reports the trusted issuers and trust domains, once every source has answered or failed. The sources
    /// are queried at the same time. A source without an answer is reported after a few seconds.
    pub async fn trust(&self) -> Report {
        let answers = async {
            while self.report().is_pending() {
                tokio::time::sleep(BETWEEN).await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, answers).await;
        self.report()
    }

    fn report(&self) -> Report {
        Report::new(
            self.live.generation,
            &self.live.authenticator,
            &[],
            self.clock.now(),
        )
    }

    #[must_use]
    pub fn access(&self, identity: &Identity, repository: &RepositoryName) -> Explanation {
        explain(&self.live.policy, identity, repository)
    }

    /// How long an identity remains valid.
    #[must_use]
    pub fn left(&self, identity: &Identity) -> Duration {
        identity.valid_until().since(self.clock.now())
    }

    /// The place of an entry, such as `http.auth.bearer.oidc[0] (https://issuer.example.org)`.
    #[must_use]
    pub fn place(&self, entry: Entry) -> String {
        let named = |list: &[(String, String)], at: usize| {
            list.get(at)
                .map_or_else(String::new, |(key, whose)| format!("{key} ({whose})"))
        };
        match entry {
            Entry::Issuer(at) => named(&self.issuers, at),
            Entry::TrustDomain(at) => named(&self.trust_domains, at),
            Entry::Certificate(at) => named(&self.certificates, at),
        }
    }

    /// All configured issuers and trust domains, to show them for a credential of another one.
    pub fn places(&self) -> impl Iterator<Item = String> {
        self.issuers
            .iter()
            .chain(&self.trust_domains)
            .map(|(key, whose)| format!("{key} ({whose})"))
    }
}

const BETWEEN: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(5);
