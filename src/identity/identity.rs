//! The verified identity of a caller. Only [`super::Authenticator`] makes one.

use super::Scope;
use crate::clock::Timestamp;
use crate::spiffe_id::SpiffeId;
use crate::trust::jwt::VerifiedJwt;
use crate::trust::minted::Source;
use crate::trust::x509::VerifiedChain;
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
    /// A name of the password file.
    Htpasswd,
    /// A token of an external token server.
    TokenServer,
    /// One of the registry's own tokens that was rejected. An accepted one has the type of the credential
    /// that it stands for.
    Minted,
    Anonymous,
}

impl CredentialType {
    /// Returns the name in CEL's `credential.type` and in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Oidc => "oidc",
            Self::JwtSvid => "jwt-svid",
            Self::X509Svid => "x509-svid",
            Self::X509 => "x509",
            Self::Htpasswd => "htpasswd",
            Self::TokenServer => "token-server",
            Self::Minted => "minted",
            Self::Anonymous => "anonymous",
        }
    }
}

impl fmt::Display for CredentialType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The owner of an upload session. It is verified and never mapped. Only the principal that began an upload
/// may continue it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    Spiffe(SpiffeId),
    /// `entry` is the name of the entry that accepted the token, if it has one. Named entries of one issuer
    /// have separate principals.
    Oidc {
        issuer: String,
        entry: Option<String>,
        subject: String,
    },
    Certificate {
        entry: String,
        subject: String,
    },
    Htpasswd {
        user: String,
    },
    TokenServer {
        issuer: String,
        subject: String,
    },
    Anonymous,
}

impl fmt::Display for Principal {
    /// A stable text that is unique for each principal. It is stored with upload sessions. Values are quoted,
    /// since a token's author may use spaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spiffe(id) => write!(f, "{id}"),
            Self::Oidc {
                issuer,
                entry: None,
                subject,
            } => write!(f, "oidc {issuer:?} {subject:?}"),
            Self::Oidc {
                issuer,
                entry: Some(entry),
                subject,
            } => write!(f, "oidc {issuer:?} {entry:?} {subject:?}"),
            Self::Certificate { entry, subject } => write!(f, "x509 {entry:?} {subject:?}"),
            Self::Htpasswd { user } => write!(f, "htpasswd {user:?}"),
            Self::TokenServer { issuer, subject } => write!(f, "token-server {issuer:?} {subject:?}"),
            Self::Anonymous => f.write_str("anonymous"),
        }
    }
}

/// What proved an identity.
#[derive(Clone, Debug)]
pub(super) enum Proof {
    /// No credential was presented, or it cannot be exchanged for a token.
    None,
    Jwt(Arc<VerifiedJwt>),
    Chain(Arc<VerifiedChain>),
    /// A line of the password file.
    Htpasswd {
        fingerprint: String,
    },
}

/// The session of one of the registry's own tokens. It began when the original credential was presented, and
/// no exchange extends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub began: Timestamp,
    pub ends: Timestamp,
    /// The `jti` of the presented token.
    pub token: String,
    /// The `jti` of the token with which the session began.
    pub first: String,
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
    pub(in crate::identity) cap: Option<Arc<Scope>>,
    pub(in crate::identity) scope: Option<Arc<Scope>>,
    pub(super) proof: Proof,
    pub(in crate::identity) session: Option<Session>,
}

impl Identity {
    /// The identity of a caller without a credential.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            username: String::new(),
            groups: Vec::new(),
            principal: Principal::Anonymous,
            credential: CredentialType::Anonymous,
            claims: Arc::default(),
            valid_until: Timestamp::MAX,
            cap: None,
            scope: None,
            proof: Proof::None,
            session: None,
        }
    }

    /// Empty only for an anonymous caller.
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

    /// Returns the verified SPIFFE ID. A username that looks like one is not returned here.
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

    /// The earliest of the credential's expiry, its authority's expiry and the staleness bound of the keys
    /// used.
    #[must_use]
    pub const fn valid_until(&self) -> Timestamp {
        self.valid_until
    }

    /// The limit that the credential itself has, if any. Another token for this credential has the same
    /// limit.
    #[must_use]
    pub fn cap(&self) -> Option<&Scope> {
        self.cap.as_deref()
    }

    /// The scope of the presented token, if it is limited. The same caller may request another token with
    /// more.
    #[must_use]
    pub fn scope(&self) -> Option<&Scope> {
        self.scope.as_deref()
    }

    /// The session of the presented token, if it is one of the registry's own.
    #[must_use]
    pub const fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// Returns what a token must carry so that this identity can be verified again. `None` for anonymous
    /// callers and for tokens of an external token server, which alone decides how long its tokens live.
    #[must_use]
    pub fn source(&self) -> Option<Source> {
        Some(match (&self.proof, &self.principal) {
            (Proof::Jwt(token), Principal::Spiffe(_)) => Source::JwtSvid(token.remembered()),
            (Proof::Jwt(token), Principal::Oidc { entry, .. }) => Source::Oidc {
                entry: entry.clone(),
                token: token.remembered(),
            },
            (Proof::Jwt(token), _) => Source::Oidc {
                entry: None,
                token: token.remembered(),
            },
            (Proof::Chain(chain), Principal::Certificate { entry, .. }) => Source::X509 {
                entry: entry.clone(),
                chain: chain.remembered(),
            },
            (Proof::Chain(chain), _) => Source::X509Svid(chain.remembered()),
            (Proof::Htpasswd { fingerprint }, _) => Source::Htpasswd {
                user: self.username.clone(),
                fingerprint: fingerprint.clone(),
            },
            (Proof::None, _) => return None,
        })
    }

    /// Limits the identity to a scope. An existing scope is narrowed further.
    #[must_use]
    pub fn scoped(mut self, scope: Scope) -> Self {
        let scope = self
            .scope
            .as_deref()
            .map_or_else(|| scope.clone(), |own| own.and(&scope));
        self.scope = Some(Arc::new(scope));
        self
    }

    /// Removes the token's scope, which the caller of this function has already checked.
    #[must_use]
    pub(crate) fn unscoped(self) -> Self {
        Self { scope: None, ..self }
    }

    #[cfg(test)]
    pub(crate) fn capped_for_test(self, cap: Scope) -> Self {
        Self {
            cap: Some(Arc::new(cap)),
            ..self
        }
    }

    /// An unverified identity for tests of higher modules.
    #[cfg(test)]
    pub(crate) fn for_test(username: &str, groups: &[&str], principal: Principal) -> Self {
        let groups = groups.iter().map(ToString::to_string).collect();
        Self {
            username: username.to_owned(),
            groups,
            principal,
            credential: CredentialType::Oidc,
            ..Self::anonymous()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d_18_principals_have_texts_of_their_own() {
        let oidc = |issuer: &str, subject: &str| Principal::Oidc {
            issuer: issuer.into(),
            entry: None,
            subject: subject.into(),
        };
        let named = |entry: &str| Principal::Oidc {
            issuer: "https://a".into(),
            entry: Some(entry.into()),
            subject: "c".into(),
        };
        let certificate = |entry: &str, subject: &str| Principal::Certificate {
            entry: entry.into(),
            subject: subject.into(),
        };
        let all = [
            Principal::Anonymous,
            oidc("https://a b", "c"),
            oidc("https://a", "b c"),
            oidc("https://a\" \"b", "c"),
            oidc("https://a", "b\" \"c"),
            oidc("https://a", "c"),
            named("b"),
            named("d"),
            certificate("a b", "c"),
            certificate("a", "b c"),
            Principal::Spiffe("spiffe://a/b".parse().unwrap()),
        ];
        let texts: std::collections::BTreeSet<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), all.len(), "{texts:?}");
    }
}
