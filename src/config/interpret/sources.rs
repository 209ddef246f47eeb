//! `http.auth.spiffe.trustDomains[].bundle`, and settings that all fetched sources share.

use super::Interpreter;
use crate::config::raw::{self, IssuerOrReach, Profile};
use crate::config::settings::{DomainConfig, DomainSource};
use crate::secret::Secret;
use crate::spiffe_id::{SpiffeId, TrustDomain};
use crate::trust::source::{CaSource, EndpointProfile, FederationSettings, OidcSettings};
use std::path::{Path, PathBuf};
use std::time::Duration;

impl Interpreter<'_> {
    /// Builds one entry. `trust_domain` is absent if its name is invalid.
    pub(super) fn source(
        &mut self,
        key: &str,
        source: raw::BundleSource,
        trust_domain: Option<&TrustDomain>,
        max_stale: Duration,
    ) -> Option<DomainSource> {
        let path = |path: PathBuf| self.around.path(&path);
        let given = [
            source.workload_api.is_some(),
            source.file.is_some(),
            source.inline.is_some(),
            source.jwks_file.is_some(),
            source.jwks.is_some(),
            source.bundle_map_file.is_some(),
            source.oidc_issuer.is_some(),
            source.endpoint.is_some(),
        ];
        if given.into_iter().filter(|given| *given).count() != 1 {
            self.mistake(key, "must be exactly one of workloadAPI, file, inline, jwksFile, jwks, bundleMapFile, oidcIssuer and endpoint");
            return None;
        }
        let said = [
            source.workload_api.map(|_| DomainSource::WorkloadApi),
            source.file.map(|file| DomainSource::File(path(file))),
            source.inline.map(DomainSource::Inline),
            source.jwks_file.map(|file| DomainSource::JwksFile(path(file))),
            source.jwks.map(DomainSource::Jwks),
            source
                .bundle_map_file
                .map(|file| DomainSource::BundleMapFile(path(file))),
        ];
        if let Some(plain) = said.into_iter().flatten().next() {
            return Some(plain);
        }
        match (source.oidc_issuer, source.endpoint) {
            (Some(issuer), _) => Some(DomainSource::OidcIssuer(self.reach(
                &format!("{key}.oidcIssuer"),
                issuer,
                max_stale,
            ))),
            (None, Some(endpoint)) => self
                .endpoint(&format!("{key}.endpoint"), endpoint, trust_domain, max_stale)
                .map(DomainSource::Endpoint),
            (None, None) => None,
        }
    }

    fn reach(&mut self, key: &str, issuer: IssuerOrReach, max_stale: Duration) -> OidcSettings {
        let reach = match issuer {
            IssuerOrReach::Reach(reach) => *reach,
            IssuerOrReach::Issuer(issuer) => raw::Reach {
                issuer,
                discovery_url: None,
                jwks_url: None,
                certificate_authority_file: None,
                certificate_authority: None,
                bearer_token_file: None,
                bearer_token_origins: Vec::new(),
                proxy: None,
            },
        };
        self.url(&format!("{key}.issuer"), &reach.issuer);
        for (name, url) in [
            ("discoveryURL", &reach.discovery_url),
            ("jwksURL", &reach.jwks_url),
        ] {
            if let Some(url) = url {
                self.url(&format!("{key}.{name}"), url);
            }
        }
        OidcSettings {
            name: None,
            ca: self.certificate_authority(
                key,
                reach.certificate_authority,
                reach.certificate_authority_file.as_deref(),
            ),
            bearer_token_origins: self.origins(key, reach.bearer_token_origins),
            proxy: self.proxy(key, reach.proxy),
            issuer: reach.issuer,
            discovery_url: reach.discovery_url,
            jwks_url: reach.jwks_url,
            bearer_token_file: reach.bearer_token_file.map(|file| self.around.path(&file)),
            skip_issuer: false,
            max_stale,
            resolve: Vec::new(),
        }
    }

    fn endpoint(
        &mut self,
        key: &str,
        endpoint: raw::Endpoint,
        trust_domain: Option<&TrustDomain>,
        max_stale: Duration,
    ) -> Option<FederationSettings> {
        if endpoint.url.starts_with("https://") {
            self.url(&format!("{key}.url"), &endpoint.url);
        } else {
            self.mistake(
                format!("{key}.url"),
                format!("must begin with https:// for both profiles: {:?}", endpoint.url),
            );
        }
        let proxy = self.proxy(key, endpoint.proxy);
        let profile = match endpoint.profile {
            Profile::HttpsWeb => {
                for (name, given) in [
                    ("endpointSpiffeID", endpoint.endpoint_spiffe_id.is_some()),
                    ("bootstrapFile", endpoint.bootstrap_file.is_some()),
                ] {
                    if given {
                        self.mistake(
                            format!("{key}.{name}"),
                            "is for the profile https_spiffe: with https_web the server is verified by its name",
                        );
                    }
                }
                Some(EndpointProfile::Web {
                    ca: endpoint
                        .certificate_authority_file
                        .map(|file| CaSource::File(self.around.path(&file))),
                })
            }
            Profile::HttpsSpiffe => {
                if endpoint.certificate_authority_file.is_some() {
                    let what = "is for the profile https_web: with https_spiffe the bundle in bootstrapFile verifies the server";
                    self.mistake(format!("{key}.certificateAuthorityFile"), what);
                }
                let id = self.endpoint_id(key, endpoint.endpoint_spiffe_id);
                if endpoint.bootstrap_file.is_none() {
                    self.mistake(
                        format!("{key}.bootstrapFile"),
                        "is missing: without a first bundle the endpoint's server cannot be verified",
                    );
                }
                id.zip(endpoint.bootstrap_file)
                    .map(|(endpoint, file)| EndpointProfile::Spiffe {
                        endpoint,
                        bootstrap: self.around.path(&file),
                    })
            }
        };
        Some(FederationSettings {
            trust_domain: trust_domain?.clone(),
            url: endpoint.url,
            profile: profile?,
            proxy,
            max_stale,
            resolve: Vec::new(),
        })
    }

    fn endpoint_id(&mut self, key: &str, id: Option<String>) -> Option<SpiffeId> {
        let key = format!("{key}.endpointSpiffeID");
        let Some(id) = id else {
            self.mistake(key, "is missing: https_spiffe verifies the endpoint's server by it; write an ID such as spiffe://prod.example.org/spire/server");
            return None;
        };
        match id.parse::<SpiffeId>() {
            Ok(parsed) if parsed.is_workload() => Some(parsed),
            Ok(_) => {
                self.mistake(key, format!("must be the server's own SPIFFE ID with a path, such as {id}/spire/server, not the trust domain"));
                None
            }
            Err(why) => {
                self.mistake(key, format!("{id:?}: {why}"));
                None
            }
        }
    }

    pub(super) fn certificate_authority(
        &mut self,
        key: &str,
        inline: Option<String>,
        file: Option<&Path>,
    ) -> Option<CaSource> {
        match (inline, file) {
            (Some(_), Some(_)) => {
                self.mistake(
                    format!("{key}.certificateAuthority"),
                    "appears in addition to certificateAuthorityFile: keep one of them",
                );
                None
            }
            (Some(text), None) => Some(CaSource::Inline(text.into_bytes())),
            (None, Some(file)) => Some(CaSource::File(self.around.path(file))),
            (None, None) => None,
        }
    }

    pub(super) fn origins(&mut self, key: &str, origins: Vec<String>) -> Vec<String> {
        for (i, origin) in origins.iter().enumerate() {
            self.url(&format!("{key}.bearerTokenOrigins[{i}]"), origin);
        }
        origins
    }

    /// The value may contain a password, so the mistake does not repeat it.
    pub(super) fn proxy(&mut self, key: &str, proxy: Option<String>) -> Option<Secret> {
        let proxy = proxy?;
        let rest = proxy
            .strip_prefix("http://")
            .or_else(|| proxy.strip_prefix("https://"));
        let authority = rest.map(|rest| rest.trim_end_matches('/').rsplit('@').next().unwrap_or_default());
        if authority.is_none_or(|authority| authority.is_empty() || authority.contains(['/', '?', '#'])) {
            self.mistake(
                format!("{key}.proxy"),
                "must be a URL with a scheme and a host, such as http://proxy.example.org:3128",
            );
        }
        Some(Secret::new(proxy))
    }

    /// A source that serves two trust domains would let each issue identities of the other. A bundle map is
    /// meant for several.
    pub(super) fn no_source_for_several(&mut self, domains: &[DomainConfig]) {
        let mut seen: Vec<(&DomainSource, &DomainConfig)> = Vec::new();
        for domain in domains {
            let mut reported = false;
            for source in &domain.sources {
                let shared = seen.iter().find(|(earlier, other)| {
                    other.name() != domain.name() && !other.shares_with(domain) && one_place(earlier, source)
                });
                if let (Some((_, other)), false) = (shared, reported) {
                    let what = format!(
                        "the same authorities are given for {0}: one trust domain could then vouch for the other; split them, or allow it \
                         by `sharesAuthoritiesWith: [{0}]`",
                        other.name()
                    );
                    self.mistake(format!("{}.bundle", domain.key), what);
                    reported = true;
                }
                seen.push((source, domain));
            }
        }
    }
}

/// Whether both sources get their keys from the same place.
fn one_place(one: &DomainSource, other: &DomainSource) -> bool {
    use DomainSource::{BundleMapFile, Endpoint, File, JwksFile, OidcIssuer, WorkloadApi};
    match (one, other) {
        (WorkloadApi, WorkloadApi) | (BundleMapFile(_), BundleMapFile(_)) => false,
        (
            File(one) | JwksFile(one) | BundleMapFile(one),
            File(other) | JwksFile(other) | BundleMapFile(other),
        ) => one == other,
        (OidcIssuer(one), OidcIssuer(other)) => one.issuer == other.issuer,
        (Endpoint(one), Endpoint(other)) => one.url == other.url,
        _ => one == other,
    }
}
