//! `http.auth.bearer.oidc`

use super::shared::Granted;
use super::{CLOCK_SKEW, Interpreter, MAX_STALE};
use crate::config::raw;
use crate::config::settings::{IssuerConfig, IssuerKeys};
use crate::trust::jwt::{Algorithm, OidcRules};
use crate::trust::source::OidcSettings;

impl Interpreter<'_> {
    pub(super) fn issuers(
        &mut self,
        mut entries: Vec<raw::Oidc>,
        external_urls: &[String],
        granted: &Granted,
    ) -> Vec<IssuerConfig> {
        for (i, entry) in entries
            .iter_mut()
            .enumerate()
            .filter(|(_, entry)| entry.kind == Some(raw::IssuerType::Kubernetes))
        {
            self.in_cluster(&format!("http.auth.bearer.oidc[{i}]"), entry);
        }
        let with_default_username: Vec<_> = entries
            .iter()
            .map(|entry| {
                let by_default = entry
                    .claim_mapping
                    .as_ref()
                    .is_none_or(|mapping| mapping.username.is_none());
                (entry.issuer.clone().unwrap_or_default(), by_default)
            })
            .collect();
        let issuers: Vec<_> = entries
            .into_iter()
            .enumerate()
            .map(|(i, entry)| self.issuer(i, entry, external_urls, granted))
            .collect();
        self.namesakes(&issuers);
        self.prefixes(&with_default_username);
        issuers
    }

    fn issuer(
        &mut self,
        i: usize,
        entry: raw::Oidc,
        external_urls: &[String],
        granted: &Granted,
    ) -> IssuerConfig {
        let key = format!("http.auth.bearer.oidc[{i}]");
        self.audiences(&key, &entry.audiences, entry.audience_from_host, "the tokens");
        match &entry.issuer {
            Some(issuer) => self.url(&format!("{key}.issuer"), issuer),
            None if entry.kind.is_none() => self.mistake(format!("{key}.issuer"), "is missing"),
            None => {}
        }
        self.shared_issuer(&key, &entry, granted);
        self.advise_issuer(&key, &entry);
        // Without an issuer there is already a mistake, so this entry is skipped.
        let issuer = entry.issuer.unwrap_or_default();
        let named = self.issuer_name(&key, entry.name);
        for (name, url) in [
            ("discoveryURL", &entry.discovery_url),
            ("jwksURL", &entry.jwks_url),
        ] {
            if let Some(url) = url {
                self.url(&format!("{key}.{name}"), url);
            }
        }
        let skip_issuer = entry.skip_issuer_verification.unwrap_or(false);
        if skip_issuer {
            self.warn(
                format!("{key}.skipIssuerVerification"),
                "tokens of any issuer are accepted if its keys signed them; for tests only",
            );
        }
        let rules = OidcRules {
            issuer: issuer.clone(),
            skip_issuer,
            audiences: entry.audiences.clone(),
            hosts: self.audience_hosts(&key, entry.audience_from_host, external_urls),
            algorithms: self.algorithms(&key, entry.algorithms.as_deref()),
            clock_skew: self.duration(
                format!("{key}.clockSkew"),
                entry.clock_skew.as_deref(),
                CLOCK_SKEW,
            ),
            max_lifetime: self.optional_duration(
                format!("{key}.maxTokenLifetime"),
                entry.max_token_lifetime.as_deref(),
            ),
            single_audience: entry.single_audience.unwrap_or(false),
        };
        let mapping = self.mapping(&key, entry.claim_mapping);
        let max_stale = self.duration(format!("{key}.maxStale"), entry.max_stale.as_deref(), MAX_STALE);
        let bearer_token_origins = self.origins(&key, entry.bearer_token_origins);
        let proxy = self.proxy(&key, entry.proxy);
        let ca = self.certificate_authority(
            &key,
            entry.certificate_authority,
            entry.certificate_authority_file.as_deref(),
        );
        let keys = match entry.jwks_file {
            Some(file) => {
                if entry.discovery_url.is_some() || entry.jwks_url.is_some() {
                    self.mistake(
                        format!("{key}.jwksFile"),
                        "appears in addition to discoveryURL or jwksURL: keep one of them",
                    );
                }
                IssuerKeys::File(self.around.path(&file))
            }
            None => IssuerKeys::Fetched(OidcSettings {
                name: named.clone(),
                issuer,
                discovery_url: entry.discovery_url,
                jwks_url: entry.jwks_url,
                ca,
                bearer_token_file: entry.bearer_token_file.map(|file| self.around.path(&file)),
                bearer_token_origins,
                proxy,
                skip_issuer,
                max_stale,
                resolve: Vec::new(),
            }),
        };
        IssuerConfig {
            key,
            name: named,
            rules,
            keys,
            mapping,
        }
    }

    fn algorithms(&mut self, key: &str, names: Option<&[String]>) -> Option<Vec<Algorithm>> {
        let names = names?;
        if names.is_empty() {
            self.mistake(
                format!("{key}.algorithms"),
                "an empty list accepts no token: list algorithms, or remove the key",
            );
        }
        let mut algorithms = Vec::new();
        for (i, name) in names.iter().enumerate() {
            match name.parse() {
                Ok(algorithm) => algorithms.push(algorithm),
                Err(why) => self.mistake(format!("{key}.algorithms[{i}]"), format!("{name:?}: {why}")),
            }
        }
        Some(algorithms)
    }

    pub(super) fn url(&mut self, key: &str, url: &str) {
        let Some(rest) = url
            .strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"))
        else {
            return self.mistake(
                key,
                format!("must be a URL that begins with https://, not {url:?}"),
            );
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.is_empty() || authority.contains('@') {
            return self.mistake(
                key,
                format!("must name a host, and no user, after the scheme: {url:?}"),
            );
        }
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        if url.starts_with("http://") && !["localhost", "127.0.0.1", "[::1]"].contains(&host) {
            self.warn(
                key,
                format!("{url} is not encrypted, so anyone on the network path could replace the keys"),
            );
        }
    }

    /// `iss + '/' + sub` is ambiguous if one issuer's path continues another's.
    fn prefixes(&mut self, issuers: &[(String, bool)]) {
        for (i, (shorter, short_default)) in issuers.iter().enumerate() {
            for (j, (longer, long_default)) in issuers.iter().enumerate() {
                let below = longer
                    .strip_prefix(shorter.as_str())
                    .is_some_and(|rest| rest.starts_with('/'));
                if below && *short_default && *long_default {
                    let what = format!(
                        "extends the issuer of http.auth.bearer.oidc[{i}], so their default usernames could collide: give one of them a claimMapping.username"
                    );
                    self.mistake(format!("http.auth.bearer.oidc[{j}].issuer"), what);
                }
            }
        }
    }
}
