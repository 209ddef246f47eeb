//! OIDC issuers, and the ways to log in that have one file each: client certificates, an external token
//! server, and passwords.

use super::super::roots::issue_svids;
use super::OpenWaysIn;
use super::opening::Opening;
use super::wanted::Wanted;
use crate::config::{CertificateConfig, IssuerConfig, IssuerKeys, Mistake, TokenServerConfig, Warning};
use crate::identity::{CertificateEntry, Htpasswd, Issuer, TokenServer};
use crate::trust::Authorities;
use crate::trust::source::{Format, Source};
use std::path::PathBuf;
use std::sync::Arc;

impl Opening<'_> {
    pub(super) fn issuers(&mut self, entries: Vec<IssuerConfig>) -> Vec<Issuer> {
        let mut issuers: Vec<Issuer> = Vec::new();
        for IssuerConfig {
            key,
            name,
            rules,
            keys,
            mapping,
        } in entries
        {
            let same = |earlier: &&Issuer| earlier.rules.issuer == rules.issuer && earlier.name == name;
            let shared = issuers.iter().find(same).map(|earlier| earlier.keys.clone());
            let keys = shared.unwrap_or_else(|| {
                let opened: Authorities<_> = self.issuer_keys(&key, keys).and_then(|source| source.jwt()).into_iter().collect();
                tracing::info!(oidc.issuer = rules.issuer, oidc.name = name, sources = %opened, "accepting OIDC ID tokens");
                Arc::new(opened.waiting_in(self.sources.room.as_ref()))
            });
            issuers.push(Issuer {
                name,
                rules,
                keys,
                mapping,
            });
        }
        issuers
    }

    fn issuer_keys(&mut self, key: &str, keys: IssuerKeys) -> Option<Arc<Source>> {
        match keys {
            IssuerKeys::Fetched(settings) => {
                self.files_of_fetching(key, &settings);
                self.source(key, Wanted::Oidc(settings))
            }
            IssuerKeys::File(path) => {
                self.source(&format!("{key}.jwksFile"), Wanted::File(path, Format::OidcJwks))
            }
        }
    }

    pub(super) fn certificates(&mut self, entries: Vec<CertificateConfig>) -> Vec<CertificateEntry> {
        let mut certificates = Vec::new();
        for CertificateConfig {
            key,
            name,
            authorities,
            mapping,
        } in entries
        {
            if !mapping.names_uris() && issue_svids(&authorities) {
                let what = "its authorities have SPIFFE IDs, and a certificate with a SPIFFE ID never gets its common name as the username: configure their trust domain in http.auth.spiffe";
                self.warnings.push(Warning::new(&key, what));
            }
            let source = self.source(&key, Wanted::File(authorities, Format::PemRoots));
            let authorities: Authorities<_> = source.and_then(|source| source.x509()).into_iter().collect();
            tracing::info!(entry = name, sources = %authorities, "accepting client certificates");
            certificates.push(CertificateEntry {
                name,
                authorities: Arc::new(authorities),
                mapping,
            });
        }
        certificates
    }

    pub(super) fn token_server(
        &mut self,
        TokenServerConfig { rules, keys, .. }: TokenServerConfig,
    ) -> TokenServer {
        let source = self.source("http.auth.bearer.cert", Wanted::File(keys, Format::PublicKeys));
        let keys: Authorities<_> = source.and_then(|source| source.jwt()).into_iter().collect();
        tracing::info!(service = rules.service, sources = %keys, "accepting a token server's tokens");
        TokenServer {
            rules,
            keys: Arc::new(keys),
        }
    }

    /// Returns the file that is already loaded, or loads another one.
    pub(super) fn passwords(&mut self, path: PathBuf) -> Option<Arc<Htpasswd>> {
        if let Some(kept) = self
            .sources
            .running
            .passwords
            .as_ref()
            .filter(|kept| kept.path() == path)
        {
            return Some(kept.clone());
        }
        match Htpasswd::open(&path) {
            Ok(opened) => {
                tracing::info!(file = %path.display(), "accepting names and passwords");
                Some(Arc::new(opened))
            }
            Err(mistakes) => {
                let named = |why: crate::identity::InvalidHtpasswd| {
                    Mistake::new("http.auth.htpasswd.path", format!("{}: {why}", path.display()))
                };
                self.mistakes.extend(mistakes.into_iter().map(named));
                None
            }
        }
    }

    /// No name in the password file may look like an issuer's subject.
    pub(super) fn check_names(&mut self, ways_in: &OpenWaysIn) {
        let Some(passwords) = &ways_in.passwords else {
            return;
        };
        for issuer in ways_in.issuers.iter().map(|issuer| issuer.rules.issuer.as_str()) {
            if let Some(name) = passwords.name_within(issuer) {
                let what = format!(
                    "{}: {name:?} looks like a username of the issuer {issuer}; rename it",
                    passwords.path().display()
                );
                self.mistakes.push(Mistake::new("http.auth.htpasswd.path", what));
            }
        }
    }
}
