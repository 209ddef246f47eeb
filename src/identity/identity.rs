//! The end of identification: who is asking, proved. Made by [`super::Authenticator`] only.

use crate::clock::Timestamp;
use crate::spiffe_id::SpiffeId;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// How the caller identified itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialType {
    Oidc,
    JwtSvid,
    X509Svid,
    X509,
    Anonymous,
}

impl CredentialType {
    /// As in CEL's `credential.type` and in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Oidc => "oidc",
            Self::JwtSvid => "jwt-svid",
            Self::X509Svid => "x509-svid",
            Self::X509 => "x509",
            Self::Anonymous => "anonymous",
        }
    }
}

impl fmt::Display for CredentialType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whom something belongs to. Verified, never mapped: an upload is continued only by the principal that began it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    Spiffe(SpiffeId),
    Oidc { issuer: String, subject: String },
    Certificate { entry: String, subject: String },
    Anonymous,
}

impl fmt::Display for Principal {
    /// A stable text, different for different principals; it is stored with upload sessions. Quoted, since a stranger may write spaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spiffe(id) => write!(f, "{id}"),
            Self::Oidc { issuer, subject } => write!(f, "oidc {issuer:?} {subject:?}"),
            Self::Certificate { entry, subject } => write!(f, "x509 {entry:?} {subject:?}"),
            Self::Anonymous => f.write_str("anonymous"),
        }
    }
}

/// A verified and mapped caller.
#[derive(Clone, Debug)]
pub struct Identity {
    pub(in crate::identity) username: String,
    pub(in crate::identity) groups: Vec<String>,
    pub(in crate::identity) principal: Principal,
    pub(in crate::identity) credential: CredentialType,
    pub(in crate::identity) claims: Arc<Map<String, Value>>,
    pub(in crate::identity) valid_until: Timestamp,
}

impl Identity {
    /// Nobody in particular: no credential was presented.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            username: String::new(),
            groups: Vec::new(),
            principal: Principal::Anonymous,
            credential: CredentialType::Anonymous,
            claims: Arc::default(),
            valid_until: Timestamp::MAX,
        }
    }

    /// Empty for the anonymous only.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Sorted, without duplicates.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    #[must_use]
    pub const fn principal(&self) -> &Principal {
        &self.principal
    }

    #[must_use]
    pub const fn credential(&self) -> CredentialType {
        self.credential
    }

    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.principal == Principal::Anonymous
    }

    /// Only a verified SPIFFE ID, never a username that looks like one.
    #[must_use]
    pub const fn spiffe_id(&self) -> Option<&SpiffeId> {
        match &self.principal {
            Principal::Spiffe(id) => Some(id),
            _ => None,
        }
    }

    #[must_use]
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// The earliest of the credential's expiry, its authority's and the staleness bound of the keys used.
    #[must_use]
    pub const fn valid_until(&self) -> Timestamp {
        self.valid_until
    }

    /// An identity that nothing vouched for, for the tables of tests above this rank.
    #[cfg(test)]
    pub(crate) fn for_test(username: &str, groups: &[&str], principal: Principal) -> Self {
        let groups = groups.iter().map(ToString::to_string).collect();
        Self { username: username.to_owned(), groups, principal, credential: CredentialType::Oidc, ..Self::anonymous() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d_18_principals_have_texts_of_their_own() {
        let oidc = |issuer: &str, subject: &str| Principal::Oidc { issuer: issuer.into(), subject: subject.into() };
        let certificate = |entry: &str, subject: &str| Principal::Certificate { entry: entry.into(), subject: subject.into() };
        let all = [
            Principal::Anonymous,
            oidc("https://a b", "c"),
            oidc("https://a", "b c"),
            oidc("https://a\" \"b", "c"),
            oidc("https://a", "b\" \"c"),
            certificate("a b", "c"),
            certificate("a", "b c"),
            Principal::Spiffe("spiffe://a/b".parse().unwrap()),
        ];
        let texts: std::collections::BTreeSet<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), all.len(), "{texts:?}");
    }
}
