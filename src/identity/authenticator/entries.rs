//! The entries of the configuration whose credentials are accepted.

use crate::identity::Mapping;
use crate::trust::Authorities;
use crate::trust::jwks::KeySet;
use crate::trust::jwt::{OidcRules, SvidRules};
use crate::trust::x509::X509Authorities;
use std::sync::Arc;

/// One configured OIDC issuer entry.
#[derive(Debug)]
pub struct Issuer {
    /// Tells entries of one issuer apart that have different keys, as those of several clusters whose issuer
    /// is the default one. Part of the principal and of the default username.
    pub name: Option<String>,
    pub rules: OidcRules,
    /// Entries of one issuer and one name share them.
    pub keys: Arc<Authorities<KeySet>>,
    pub mapping: Mapping,
}

impl Issuer {
    /// For people: the issuer, and the name if there is one.
    #[must_use]
    pub fn label(&self) -> String {
        let issuer = &self.rules.issuer;
        self.name
            .as_ref()
            .map_or_else(|| issuer.clone(), |name| format!("{issuer} ({name})"))
    }
}

/// One configured trust domain.
#[derive(Debug)]
pub struct Domain {
    pub rules: SvidRules,
    /// `None` if JWT-SVIDs are not accepted.
    pub jwt: Option<Arc<Authorities<KeySet>>>,
    /// `None` if X.509-SVIDs are not accepted.
    pub x509: Option<Arc<Authorities<X509Authorities>>>,
    pub mapping: Mapping,
}

/// One configured authority for client certificates that are no SVIDs.
#[derive(Debug)]
pub struct CertificateEntry {
    /// Part of the principal: upload sessions belong to it.
    pub name: String,
    pub authorities: Arc<Authorities<X509Authorities>>,
    pub mapping: Mapping,
}
