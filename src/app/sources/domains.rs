//! Trust domains and the sources of their authorities.

use super::opening::Opening;
use super::wanted::Wanted;
use crate::config::{DomainConfig, DomainSource, Mistake, Warning};
use crate::identity::Domain;
use crate::spiffe_id::TrustDomain;
use crate::trust::Authorities;
use crate::trust::jwks::KeySet;
use crate::trust::source::{Following, Format};
use crate::trust::x509::X509Authorities;
use std::sync::Arc;

/// Trust domains by name, with their authorities.
type Before<T> = Vec<(Arc<str>, Arc<Authorities<T>>)>;

impl Opening<'_> {
    /// Opens the trust domains in order. A key that two trust domains have belongs to the first, even if that
    /// one accepts no SVIDs of this kind.
    pub(super) fn domains(&mut self, configs: Vec<DomainConfig>) -> Vec<Domain> {
        let mut opened = Vec::new();
        let mut held = Vec::<(Arc<Authorities<_>>, Arc<Authorities<_>>)>::new();
        for (i, config) in configs.iter().enumerate() {
            let earlier = || {
                held.iter()
                    .zip(configs.iter().take(i))
                    .filter(|(_, other)| !config.shares_with(other))
            };
            let named = |name: &TrustDomain| Arc::<str>::from(name.as_str());
            let before_x509 = earlier()
                .map(|((x509, _), other)| (named(other.name()), x509.clone()))
                .collect();
            let before_jwt = earlier()
                .map(|((_, jwt), other)| (named(other.name()), jwt.clone()))
                .collect();
            let (x509, jwt) = self.authorities(config, before_x509, before_jwt);
            let domain = Domain {
                x509: config.accepts_x509.then(|| x509.clone()),
                jwt: config.accepts_jwt.then(|| jwt.clone()),
                rules: config.rules.clone(),
                mapping: config.mapping.clone(),
            };
            let now = self.sources.clock.now();
            let x509_withheld = domain.x509.iter().flat_map(|keys| keys.withheld(now));
            for what in x509_withheld.chain(domain.jwt.iter().flat_map(|keys| keys.withheld(now))) {
                self.warnings
                    .push(Warning::new(format!("{}.bundle", config.key), what));
            }
            opened.push(domain);
            held.push((x509, jwt));
        }
        opened
    }

    /// The keys of the trust domain's sources, without those that earlier trust domains have too.
    fn authorities(
        &mut self,
        config: &DomainConfig,
        before_x509: Before<X509Authorities>,
        before_jwt: Before<KeySet>,
    ) -> (Arc<Authorities<X509Authorities>>, Arc<Authorities<KeySet>>) {
        let mut x509 = Vec::new();
        let mut jwt = Vec::new();
        let before = self.mistakes.len();
        for (i, source) in config.sources.iter().enumerate() {
            let key = format!("{}.bundle[{i}]", config.key);
            let Some(wanted) = self.wanted(&key, source, config) else {
                continue;
            };
            match &wanted {
                Wanted::OidcOfDomain(settings) => {
                    self.files_of_fetching(&format!("{key}.oidcIssuer"), settings)
                }
                Wanted::Federation(settings) => {
                    self.files_of_federation(&format!("{key}.endpoint"), settings)
                }
                _ => {}
            }
            let Some(source) = self.source(&key, wanted) else {
                continue;
            };
            x509.extend(source.x509());
            jwt.extend(source.jwt());
        }
        for (accepted, offered, kind) in [
            (config.accepts_x509, x509.len(), "X.509-SVIDs"),
            (config.accepts_jwt, jwt.len(), "JWT-SVIDs"),
        ] {
            if accepted && offered == 0 && self.mistakes.len() == before {
                let what = format!(
                    "none of its sources has authorities for {kind}: add such a source, or remove the kind from svids"
                );
                self.mistakes
                    .push(Mistake::new(format!("{}.bundle", config.key), what));
            }
        }
        let x509: Authorities<_> = x509.into_iter().collect();
        let jwt: Authorities<_> = jwt.into_iter().collect();
        let name = config.name().as_str();
        let x509_sources = config.accepts_x509.then(|| tracing::field::display(&x509));
        let jwt_sources = config.accepts_jwt.then(|| tracing::field::display(&jwt));
        tracing::info!(
            spiffe.trust_domain = name,
            x509 = x509_sources,
            jwt = jwt_sources,
            "accepting SVIDs"
        );
        let jwt = jwt.waiting_in(self.sources.room.as_ref());
        (
            Arc::new(x509.apart_from(name, before_x509)),
            Arc::new(jwt.apart_from(name, before_jwt)),
        )
    }

    fn wanted(&self, key: &str, source: &DomainSource, domain: &DomainConfig) -> Option<Wanted> {
        let inline = |text: &String, format| Wanted::Inline {
            name: key.to_owned(),
            text: text.clone(),
            format,
        };
        Some(match source {
            DomainSource::WorkloadApi => {
                let following = Following {
                    trust_domain: domain.name().clone(),
                    max_stale: domain.max_stale,
                    on_denied: domain.on_permission_denied,
                };
                Wanted::WorkloadApi(self.workload_api.clone()?, following)
            }
            DomainSource::File(path) => Wanted::File(path.clone(), Format::SpiffeBundleOrPem),
            DomainSource::JwksFile(path) => Wanted::File(path.clone(), Format::Jwks),
            DomainSource::Inline(text) => inline(text, Format::SpiffeBundleOrPem),
            DomainSource::Jwks(text) => inline(text, Format::Jwks),
            DomainSource::BundleMapFile(path) => {
                Wanted::File(path.clone(), Format::BundleMap(domain.name().clone()))
            }
            DomainSource::OidcIssuer(settings) => Wanted::OidcOfDomain(settings.clone()),
            DomainSource::Endpoint(settings) => Wanted::Federation(settings.clone()),
        })
    }
}
