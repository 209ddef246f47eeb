//! Opens every source of keys and gives each issuer and trust domain its own authorities.

use super::WATCH_EVERY;
use crate::clock::Clock;
use crate::config::{DomainConfig, DomainSource, IssuerConfig, IssuerKeys, Mistake};
use crate::identity::{Domain, Issuer};
use crate::spiffe_id::TrustDomain;
use crate::trust::Authorities;
use crate::trust::jwks::KeySet;
use crate::trust::source::{self, CaSource, DomainKeys, FileSource, Format, OidcSettings, SourceError, Tasks};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What could be opened, and what was wrong.
pub(super) struct Opened {
    pub issuers: Vec<Issuer>,
    pub domains: Vec<Domain>,
    pub tasks: Tasks,
    pub mistakes: Vec<Mistake>,
    /// What cannot be used and harms nothing else: mistakes for `verify`, warnings for `serve`.
    pub skipped: Vec<Mistake>,
}

pub(super) fn open(issuers: Vec<IssuerConfig>, domains: Vec<DomainConfig>, workload_api: Option<&str>, clock: &Clock) -> Opened {
    let mut opening = Opening { clock, files: Vec::new(), tasks: Tasks::new(), mistakes: Vec::new(), skipped: Vec::new() };
    let issuers = opening.issuers(issuers);
    let from_workload_api = workload_api.map_or_else(BTreeMap::new, |address| opening.workload_api(address, &domains));
    let domains = domains.into_iter().map(|domain| opening.domain(domain, &from_workload_api)).collect();
    let Opening { files, mut tasks, mistakes, skipped, .. } = opening;
    tasks.extend(source::watch(files, clock.clone(), WATCH_EVERY));
    Opened { issuers, domains, tasks, mistakes, skipped }
}

struct Opening<'a> {
    clock: &'a Clock,
    files: Vec<FileSource>,
    tasks: Tasks,
    mistakes: Vec<Mistake>,
    skipped: Vec<Mistake>,
}

impl Opening<'_> {
    fn issuers(&mut self, entries: Vec<IssuerConfig>) -> Vec<Issuer> {
        let mut by_issuer: BTreeMap<String, Arc<Authorities<KeySet>>> = BTreeMap::new();
        let mut issuers = Vec::new();
        for IssuerConfig { key, rules, keys, mapping } in entries {
            let shared = match by_issuer.get(&rules.issuer) {
                Some(shared) => shared.clone(),
                None => {
                    let opened = self.issuer_keys(&key, keys);
                    tracing::info!(oidc.issuer = rules.issuer, sources = ?opened, "accepting OIDC ID tokens");
                    by_issuer.insert(rules.issuer.clone(), opened.clone());
                    opened
                }
            };
            issuers.push(Issuer { rules, keys: shared, mapping });
        }
        issuers
    }

    fn issuer_keys(&mut self, key: &str, keys: IssuerKeys) -> Arc<Authorities<KeySet>> {
        match keys {
            IssuerKeys::Fetched(settings) => {
                self.files_of_fetching(key, &settings);
                source::oidc(settings, self.clock.clone())
            }
            IssuerKeys::File(path) => {
                let opened = self.file(&format!("{key}.jwksFile"), path, Format::OidcJwks);
                Arc::new(Authorities::new(opened.and_then(|keys| keys.jwt).into_iter().collect()))
            }
        }
    }

    /// They are read at each fetch, so that they may appear later: a warning here, a mistake for `verify`.
    fn files_of_fetching(&mut self, key: &str, settings: &OidcSettings) {
        if let Some(Err(why)) = settings.ca.as_ref().map(CaSource::check) {
            let name = if matches!(settings.ca, Some(CaSource::File(_))) { "certificateAuthorityFile" } else { "certificateAuthority" };
            self.skipped.push(Mistake::new(format!("{key}.{name}"), why.to_string()));
        }
        if let Some(Err(why)) = settings.bearer_token_file.as_ref().map(std::fs::metadata) {
            self.skipped.push(Mistake::new(format!("{key}.bearerTokenFile"), why.to_string()));
        }
    }

    /// One connection for all trust domains that allow the same staleness.
    fn workload_api(&mut self, address: &str, domains: &[DomainConfig]) -> BTreeMap<TrustDomain, DomainKeys> {
        let mut by_staleness: BTreeMap<Duration, Vec<TrustDomain>> = BTreeMap::new();
        for domain in domains.iter().filter(|domain| domain.sources.contains(&DomainSource::WorkloadApi)) {
            by_staleness.entry(domain.max_stale).or_default().push(domain.name().clone());
        }
        let mut all = BTreeMap::new();
        for (max_stale, names) in by_staleness {
            match source::follow(address, &names, self.clock.clone(), max_stale) {
                Ok((keys, tasks)) => {
                    self.tasks.extend(tasks);
                    all.extend(keys);
                }
                Err(why) => self.mistakes.push(Mistake::new("http.auth.spiffe.workloadAPI", why.to_string())),
            }
        }
        all
    }

    fn domain(&mut self, config: DomainConfig, from_workload_api: &BTreeMap<TrustDomain, DomainKeys>) -> Domain {
        let (mut x509, mut jwt) = (Vec::new(), Vec::new());
        for (i, wanted) in config.sources.iter().enumerate() {
            let key = format!("{}.bundle[{i}]", config.key);
            let opened;
            let keys = match wanted {
                DomainSource::WorkloadApi => from_workload_api.get(config.name()),
                DomainSource::File(path) => {
                    opened = self.file(&key, path.clone(), Format::SpiffeBundleOrPem);
                    opened.as_ref()
                }
                DomainSource::JwksFile(path) => {
                    opened = self.file(&key, path.clone(), Format::Jwks);
                    opened.as_ref()
                }
                DomainSource::Inline(text) => {
                    opened = self.note(&key, source::inline(&key, text.as_bytes(), Format::SpiffeBundleOrPem, self.clock.now()));
                    opened.as_ref()
                }
                DomainSource::Jwks(text) => {
                    opened = self.note(&key, source::inline(&key, text.as_bytes(), Format::Jwks, self.clock.now()));
                    opened.as_ref()
                }
            };
            let Some(keys) = keys else { continue };
            x509.extend(keys.x509.clone());
            jwt.extend(keys.jwt.clone());
        }
        for (accepted, offered, kind) in [(config.accepts_x509, x509.len(), "X.509-SVIDs"), (config.accepts_jwt, jwt.len(), "JWT-SVIDs")] {
            if accepted && offered == 0 && self.mistakes.is_empty() {
                let what = format!("none of its sources offers authorities for {kind}: add one, or leave them out of svids");
                self.mistakes.push(Mistake::new(format!("{}.bundle", config.key), what));
            }
        }
        let (x509, jwt) = (Arc::new(Authorities::new(x509)), Arc::new(Authorities::new(jwt)));
        let name = config.name().as_str();
        tracing::info!(spiffe.trust_domain = name, x509 = ?config.accepts_x509.then_some(&x509), jwt = ?config.accepts_jwt.then_some(&jwt), "accepting SVIDs");
        Domain {
            x509: config.accepts_x509.then_some(x509),
            jwt: config.accepts_jwt.then_some(jwt),
            rules: config.rules,
            mapping: config.mapping,
        }
    }

    fn file(&mut self, key: &str, path: PathBuf, format: Format) -> Option<DomainKeys> {
        let opened = FileSource::open(path, format, self.clock.now());
        let (file, keys) = opened.map_err(|why| self.mistakes.push(Mistake::new(key, why.to_string()))).ok()?;
        self.files.push(file);
        self.note(key, Ok(keys))
    }

    fn note(&mut self, key: &str, opened: Result<DomainKeys, SourceError>) -> Option<DomainKeys> {
        match opened {
            Ok(keys) => {
                self.skipped.extend(keys.skipped.iter().map(|skipped| Mistake::new(key, format!("{skipped}; skipped, the rest counts"))));
                Some(keys)
            }
            Err(why) => {
                self.mistakes.push(Mistake::new(key, why.to_string()));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    /// What `verify` would say of an issuer with these keys, given that its other parts are good.
    async fn verdict(keys: &str) -> Vec<String> {
        let text = format!(
            "storage: {{rootDirectory: s}}\nhttp: {{auth: {{bearer: {{oidc: [{{issuer: 'https://issuer.example.org', audiences: [a], {keys}}}]}}}}}}"
        );
        let config = config::parse(&text, std::path::Path::new("/nowhere"), None).unwrap();
        let found = crate::app::check(config, &Clock::system()).err().unwrap_or_default();
        found.into_iter().map(|mistake| mistake.key).collect()
    }

    #[tokio::test]
    async fn verify_opens_every_file() {
        assert!(verdict("").await.is_empty());
        assert_eq!(verdict("jwksFile: keys.json").await, ["http.auth.bearer.oidc[0].jwksFile"]);
        assert_eq!(verdict("certificateAuthorityFile: ca.pem").await, ["http.auth.bearer.oidc[0].certificateAuthorityFile"]);
        assert_eq!(verdict("bearerTokenFile: token").await, ["http.auth.bearer.oidc[0].bearerTokenFile"]);
        let cut = r#"certificateAuthority: "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----""#;
        assert_eq!(verdict(cut).await, ["http.auth.bearer.oidc[0].certificateAuthority"]);
    }
}
