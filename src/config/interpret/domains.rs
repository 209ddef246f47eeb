//! `http.auth.spiffe`

use super::{CLOCK_SKEW, Interpreter, MAX_STALE};
use crate::config::raw::{self, SvidKind};
use crate::config::settings::{DomainConfig, DomainSource};
use crate::server::TlsSettings;
use crate::trust::jwt::SvidRules;
use crate::trust::source::OnPermissionDenied;

impl Interpreter<'_> {
    pub(super) fn domains(
        &mut self,
        spiffe: Option<raw::Spiffe>,
        external_urls: &[String],
    ) -> Vec<DomainConfig> {
        let Some(spiffe) = spiffe else { return Vec::new() };
        let mut domains: Vec<DomainConfig> = Vec::new();
        for (i, entry) in spiffe.trust_domains.into_iter().enumerate() {
            let key = format!("http.auth.spiffe.trustDomains[{i}]");
            let name = entry.name.clone();
            let Some(domain) = self.domain(&key, entry, external_urls) else {
                continue;
            };
            match domains.iter().find(|earlier| earlier.name() == domain.name()) {
                Some(earlier) => {
                    let what = format!("{name:?} is {} already", earlier.key);
                    self.mistake(format!("{key}.name"), what);
                }
                None => domains.push(domain),
            }
        }
        self.no_source_for_several(&domains);
        self.shared_with_whom(&domains);
        domains
    }

    /// A misspelt name would silently share nothing.
    fn shared_with_whom(&mut self, domains: &[DomainConfig]) {
        for domain in domains {
            for (i, other) in domain.shares_with.iter().enumerate() {
                let key = format!("{}.sharesAuthoritiesWith[{i}]", domain.key);
                if other == domain.name() {
                    self.mistake(
                        key,
                        format!("is the trust domain {other} itself: name another one"),
                    );
                } else if !domains.iter().any(|one| one.name() == other) {
                    self.mistake(
                        key,
                        format!("{other} is not a configured trust domain: compare it with their names"),
                    );
                }
            }
        }
    }

    /// The Workload API's address, if a setting needs its streams.
    pub(super) fn workload_api(
        &mut self,
        address: Option<String>,
        domains: &[DomainConfig],
        tls: Option<&TlsSettings>,
    ) -> Option<String> {
        let by_domain = domains
            .iter()
            .any(|domain| domain.sources.contains(&DomainSource::WorkloadApi));
        let by_tls = tls.is_some_and(|tls| tls.svid);
        if !by_domain && !by_tls {
            return None;
        }
        if address.is_none() {
            let who = if by_domain {
                "a trust domain gets its bundle from it"
            } else {
                "http.tls gets its certificate from it"
            };
            self.mistake(
                "http.auth.spiffe.workloadAPI",
                format!("is missing, and SPIFFE_ENDPOINT_SOCKET is not set: {who}"),
            );
        }
        address
    }

    fn domain(&mut self, key: &str, entry: raw::Domain, external_urls: &[String]) -> Option<DomainConfig> {
        let trust_domain = match entry.name.parse() {
            Ok(name) => Some(name),
            Err(why) => {
                self.mistake(format!("{key}.name"), format!("{:?}: {why}", entry.name));
                None
            }
        };
        let svids = entry.svids.unwrap_or_else(|| vec![SvidKind::Jwt, SvidKind::X509]);
        if svids.is_empty() {
            self.mistake(
                format!("{key}.svids"),
                "an empty list accepts no SVID: list jwt or x509",
            );
        }
        let accepts_jwt = svids.contains(&SvidKind::Jwt);
        let accepts_x509 = svids.contains(&SvidKind::X509);
        if accepts_jwt {
            self.audiences(key, &entry.audiences, entry.audience_from_host, "JWT-SVIDs");
        }
        if entry.bundle.is_empty() {
            self.mistake(
                format!("{key}.bundle"),
                "is missing: without a source of authorities, no SVID of this trust domain can be verified",
            );
        }
        let clock_skew = self.duration(
            format!("{key}.clockSkew"),
            entry.clock_skew.as_deref(),
            CLOCK_SKEW,
        );
        let max_stale = self.duration(format!("{key}.maxStale"), entry.max_stale.as_deref(), MAX_STALE);
        let mut sources = Vec::new();
        for (i, source) in entry.bundle.into_iter().enumerate() {
            sources.extend(self.source(
                &format!("{key}.bundle[{i}]"),
                source,
                trust_domain.as_ref(),
                max_stale,
            ));
        }
        let on_permission_denied = match entry.on_permission_denied {
            None | Some(raw::OnPermissionDenied::Withdraw) => OnPermissionDenied::Withdraw,
            Some(raw::OnPermissionDenied::Retain) => OnPermissionDenied::Retain,
        };
        let mut shares_with = Vec::new();
        for (i, name) in entry.shares_authorities_with.into_iter().enumerate() {
            match name.parse() {
                Ok(name) => shares_with.push(name),
                Err(why) => self.mistake(
                    format!("{key}.sharesAuthoritiesWith[{i}]"),
                    format!("{name:?}: {why}"),
                ),
            }
        }
        let mapping = self.mapping(key, entry.claim_mapping);
        let hosts = self.audience_hosts(key, entry.audience_from_host, external_urls);
        let single_audience = entry.single_audience.unwrap_or(false);
        let rules = SvidRules {
            trust_domain: trust_domain?,
            audiences: entry.audiences,
            hosts,
            clock_skew,
            single_audience,
        };
        Some(DomainConfig {
            key: key.to_owned(),
            rules,
            accepts_jwt,
            accepts_x509,
            sources,
            max_stale,
            on_permission_denied,
            mapping,
            shares_with,
        })
    }
}
