//! Logins as in zot: `http.auth.htpasswd`, an external token server's key in `http.auth.bearer`,
//! `http.auth.x509`, and `http.auth.mtls` with `http.tls.cacert`.

use super::{CLOCK_SKEW, Interpreter};
use crate::config::raw;
use crate::config::settings::{CertificateConfig, TokenServerConfig};
use crate::identity::{Attribute, Attributes, Mapping, UriPattern};
use crate::trust::jwt::TokenServerRules;
use std::path::PathBuf;

impl Interpreter<'_> {
    pub(super) fn token_server(
        &mut self,
        cert: Option<PathBuf>,
        issuer: Option<String>,
        realm: Option<String>,
        service: &str,
    ) -> Option<TokenServerConfig> {
        let Some(cert) = cert else {
            if realm.is_some() {
                self.warn(
                    "http.auth.bearer.realm",
                    "not advertised without a token server's cert; clients use this registry's own /v2/token",
                );
            }
            if issuer.is_some() {
                self.mistake(
                    "http.auth.bearer.issuer",
                    "belongs to a token server, but its cert is missing",
                );
            }
            return None;
        };
        let good = |realm: &String| {
            let rest = realm
                .strip_prefix("https://")
                .or_else(|| realm.strip_prefix("http://"));
            rest.is_some_and(|rest| {
                !rest.is_empty()
                    && realm
                        .bytes()
                        .all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte))
            })
        };
        if realm.as_ref().is_some_and(|realm| !good(realm)) {
            self.mistake(
                "http.auth.bearer.realm",
                "must be the token server's URL for clients, such as https://auth.example.org/token",
            );
        }
        let rules = TokenServerRules {
            issuer,
            service: service.to_owned(),
            clock_skew: CLOCK_SKEW,
        };
        Some(TokenServerConfig {
            rules,
            keys: self.around.path(&cert),
            realm,
        })
    }

    /// The entry of zot's `http.tls.cacert` is the last.
    pub(super) fn certificates(
        &mut self,
        entries: Vec<raw::X509>,
        mtls: Option<raw::Mtls>,
        cacert: Option<PathBuf>,
    ) -> Vec<CertificateConfig> {
        let mut built: Vec<CertificateConfig> = Vec::new();
        for (i, entry) in entries.into_iter().enumerate() {
            let key = format!("http.auth.x509[{i}]");
            if entry.name.is_empty() || built.iter().any(|earlier| earlier.name == entry.name) {
                self.mistake(
                    format!("{key}.name"),
                    "appears twice, and uploads belong to it: give each entry its own name",
                );
            }
            if entry.name == CACERT && cacert.is_some() {
                self.mistake(
                    format!("{key}.name"),
                    "is reserved for http.tls.cacert: use another name",
                );
            }
            let mapping = self.mapping(&key, entry.claim_mapping);
            let authorities = self.around.path(&entry.certificate_authority_file);
            built.push(CertificateConfig {
                key: format!("{key}.certificateAuthorityFile"),
                name: entry.name,
                authorities,
                mapping,
            });
        }
        match (cacert, mtls) {
            (Some(cacert), mtls) => {
                let may_name_others = mtls
                    .as_ref()
                    .and_then(|mtls| mtls.allow_other_issuers_usernames)
                    .unwrap_or(false);
                let attributes = mtls.map_or_else(Attributes::common_name, |mtls| self.attributes(mtls));
                let key = "http.tls.cacert".to_owned();
                let name = CACERT.to_owned();
                built.push(CertificateConfig {
                    key,
                    name,
                    authorities: self.around.path(&cacert),
                    mapping: Mapping::by_attributes(attributes, may_name_others),
                });
            }
            (None, Some(_)) => self.mistake(
                "http.auth.mtls",
                "needs http.tls.cacert: without it no client certificate is trusted",
            ),
            (None, None) => {}
        }
        built
    }

    fn attributes(&mut self, mtls: raw::Mtls) -> Attributes {
        let mut order = Vec::new();
        for (i, name) in mtls.identity_attributes.iter().enumerate() {
            match Attribute::named(name) {
                Some(attribute) => order.push(attribute),
                None => self.mistake(
                    format!("http.auth.mtls.identityAttributes[{i}]"),
                    format!("must be CommonName, Subject, Email, URI or DNSName, not {name:?}"),
                ),
            }
        }
        if order.is_empty() {
            order.push(Attribute::CommonName);
        }
        if order.contains(&Attribute::Uri) {
            self.warn("http.auth.mtls", "every authority in http.tls.cacert can issue every URI; for SPIFFE IDs configure the trust domain (http.auth.spiffe), because only its SVIDs match users that begin with spiffe://");
        }
        let pattern = mtls
            .uri_san_pattern
            .map(|text| UriPattern::parse(&text))
            .transpose();
        let uri_pattern = pattern
            .map_err(|why| self.mistake("http.auth.mtls.uriSanPattern", why.to_string()))
            .ok()
            .flatten();
        Attributes {
            order,
            uri_pattern,
            uri_index: mtls.uri_san_index.unwrap_or(0),
            dns_index: mtls.dns_san_index.unwrap_or(0),
            email_index: mtls.email_san_index.unwrap_or(0),
        }
    }
}

/// The name of the entry for `http.tls.cacert`.
const CACERT: &str = "cacert";
