//! The end of identification: who is asking, proved. Made by [`super::Authenticator`] only.

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
    /// One of our own tokens that was refused. Of one that counts the type is its source's.
    Minted,
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

/// Whom something belongs to. Verified, never mapped: an upload is continued only by the principal that began
/// it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    Spiffe(SpiffeId),
    /// `entry` is the name of the entry that accepted the token, if it has one: namesakes share nothing.
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
    /// A stable text, different for different principals; it is stored with upload sessions. Quoted, since a
    /// stranger may write spaces.
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
    /// No credential was presented, or only one that cannot be exchanged.
    None,
    Jwt(Arc<VerifiedJwt>),
    Chain(Arc<VerifiedChain>),
    /// A line of the password file.
    Htpasswd {
        fingerprint: String,
    },
}

/// The session of one of our own tokens. It began when its source was presented, and no exchange makes it
/// longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub began: Timestamp,
    pub ends: Timestamp,
    /// The `jti` of the token that was presented.
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
            cap: None,
            scope: None,
            proof: Proof::None,
            session: None,
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

    /// The most that its credential was issued for, where that is not everything: no other token of this
    /// caller would have more.
    #[must_use]
    pub fn cap(&self) -> Option<&Scope> {
        self.cap.as_deref()
    }

    /// What the presented token was asked for, where it is one of limited scope: another token of this caller
    /// may have more.
    #[must_use]
    pub fn scope(&self) -> Option<&Scope> {
        self.scope.as_deref()
    }

    /// The session of the token that was presented, if it was one of our own.
    #[must_use]
    pub const fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// What a token of our own must carry so that this identity can be proved again. `None` for the
    /// anonymous, and for the tokens of an external token server, whose time is its business.
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

    /// The same, limited to a scope, and further if it is limited already.
    #[must_use]
    pub fn scoped(mut self, scope: Scope) -> Self {
        let scope = self
            .scope
            .as_deref()
            .map_or_else(|| scope.clone(), |own| own.and(&scope));
        self.scope = Some(Arc::new(scope));
        self
    }

    /// The same without its token's scope, which somebody has looked at.
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

    /// An identity that nothing vouched for, for the tables of tests above this rank.
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
