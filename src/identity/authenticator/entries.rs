//! The entries of the configuration that say which credentials to accept.

use crate::identity::Mapping;
use crate::trust::Authorities;
use crate::trust::jwks::KeySet;
use crate::trust::jwt::{OidcRules, SvidRules};
use crate::trust::x509::X509Authorities;
use std::sync::Arc;

/// A configured OIDC issuer.
#[derive(Debug)]
pub struct Issuer {
    /// Distinguishes entries of one issuer that have different keys, such as Kubernetes clusters that all use
    /// the default issuer. It is part of the principal and of the default username.
    pub name: Option<String>,
    pub rules: OidcRules,
    /// Entries with the same issuer and name share these keys.
    pub keys: Arc<Authorities<KeySet>>,
    pub mapping: Mapping,
}

impl Issuer {
    /// Returns the issuer, and the name if there is one, for messages.
    #[must_use]
    pub fn label(&self) -> String {
        let issuer = &self.rules.issuer;
        self.name
            .as_ref()
            .map_or_else(|| issuer.clone(), |name| format!("{issuer} ({name})"))
    }
}

/// A configured trust domain.
#[derive(Debug)]
pub struct Domain {
    pub rules: SvidRules,
    /// `None` if JWT-SVIDs are not accepted.
    pub jwt: Option<Arc<Authorities<KeySet>>>,
    /// `None` if X.509-SVIDs are not accepted.
    pub x509: Option<Arc<Authorities<X509Authorities>>>,
    pub mapping: Mapping,
}

/// Configured authorities for client certificates that are not SVIDs.
#[derive(Debug)]
pub struct CertificateEntry {
    /// It is part of the principal, which owns upload sessions.
    pub name: String,
    pub authorities: Arc<Authorities<X509Authorities>>,
    pub mapping: Mapping,
}
