//! From what a request presents to the identity it proves.

use super::credential::Credential;
use super::{Evidence, Failure, Identity, Mapping, Presented, Refused};
use crate::clock::Timestamp;
use crate::secret::Secret;
use crate::trust::jwks::KeySet;
use crate::trust::{Authorities, jwt};
use std::sync::Arc;

/// One configured OIDC issuer entry.
#[derive(Debug)]
pub struct Issuer {
    pub rules: jwt::OidcRules,
    /// Entries of one issuer share them.
    pub keys: Arc<Authorities<KeySet>>,
    pub mapping: Mapping,
}

/// One configured trust domain.
#[derive(Debug)]
pub struct Domain {
    pub rules: jwt::SvidRules,
    /// `None` if it may not identify by JWT-SVIDs.
    pub jwt: Option<Arc<Authorities<KeySet>>>,
    pub mapping: Mapping,
}

/// One configured authority for client certificates that are no SVIDs.
#[derive(Debug)]
pub struct CertificateEntry {
    pub name: String,
    pub mapping: Mapping,
}

/// Every configured way to be somebody. Immutable.
#[derive(Debug)]
#[expect(dead_code, reason = "read by what comes next")]
pub struct Authenticator {
    issuers: Vec<Issuer>,
    domains: Vec<Domain>,
    certificates: Vec<CertificateEntry>,
}

impl Authenticator {
    #[must_use]
    pub fn new(issuers: Vec<Issuer>, domains: Vec<Domain>, certificates: Vec<CertificateEntry>) -> Self {
        Self { issuers, domains, certificates }
    }

    /// Who is asking. Anonymous only if no credential was presented.
    #[expect(clippy::unused_async, reason = "it will wait for keys")]
    pub async fn authenticate(&self, presented: &Presented<'_>, _now: Timestamp) -> Result<Identity, Failure> {
        match Credential::choose(presented) {
            Ok(Credential::Anonymous) => Ok(Identity::anonymous()),
            Ok(Credential::Token(_) | Credential::Certificate(_)) => Err(Evidence::default().refused(Refused::KindNotAccepted)),
            Err(reason) => Err(Evidence::default().refused(reason)),
        }
    }

    /// The token that was presented, unverified, for a token service that hands it back once it was authenticated.
    #[must_use]
    pub fn token(&self, presented: &Presented<'_>) -> Option<Secret> {
        match Credential::choose(presented) {
            Ok(Credential::Token(token)) => Some(token),
            _ => None,
        }
    }
}
