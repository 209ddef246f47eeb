//! Issues tokens. The scope is the part of the requested scope that policy grants now. The expiry is the
//! session's.

use super::Tokens;
use super::keys::InvalidKeys;
use super::store_id::random;
use crate::access::{self, Policy};
use crate::clock::{Clock, Timestamp};
use crate::identity::{Identity, Scope};
use crate::limits::MINTED_BYTES;
use crate::secret::Secret;
use crate::trust::jwt::Unverified;
use crate::trust::minted::{self, Kind};
use serde_json::{Value, json};
use std::time::Duration;

/// The settings of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The service that tokens are for, as in challenges.
    pub service: String,
    /// How long a session lasts after the original credential was presented. Zero: as long as that credential
    /// is valid.
    pub session_lifetime: Duration,
}

/// What a client requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub scope: Scope,
    /// Whether to issue a refresh token too, if it is useful.
    pub offline: bool,
}

/// What a client receives.
#[derive(Clone, Debug)]
pub struct Issued {
    pub token: Secret,
    pub refresh: Option<Secret>,
    /// The granted scope.
    pub scope: Scope,
    /// Slightly less than the token's lifetime.
    pub expires_in: Duration,
    /// The token's `jti`, for the log.
    pub id: String,
}

/// Why no token is issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotIssued {
    #[error("anonymous callers have no access here: present a credential")]
    Anonymous,
    #[error(
        "a token of the external token server cannot be exchanged: present it as it is, or get another one there"
    )]
    NotExchanged,
    #[error(
        "the credential has expired, and its tokens expire with it (http.auth.token.sessionLifetime is 0)"
    )]
    Expired,
    /// If the credential is a token, it can be used directly.
    #[error(
        "with the claims of its credential the token would have {bytes} bytes; proxies reject more than {MINTED_BYTES}"
    )]
    TooLarge { bytes: usize },
    #[error("too many scopes at once: ask for fewer")]
    TooManyScopes,
    #[error(transparent)]
    Keys(#[from] InvalidKeys),
}

impl Tokens {
    /// Issues a token for an identity. If the identity comes from another token, its scope can only be
    /// narrowed. `own` is the time of this machine.
    pub fn issue(
        &self,
        terms: &Terms,
        policy: &Policy,
        identity: &Identity,
        asked: &Asked,
        own: Timestamp,
    ) -> Result<Issued, NotIssued> {
        let now = self.clock.as_ref().map_or(own, Clock::now);
        let source = identity.source();
        let session = identity.session();
        if source.is_none() && !identity.is_anonymous()
            || identity.is_anonymous() && session.is_none() && identity.scope().is_some()
        {
            return Err(NotIssued::NotExchanged);
        }
        let scope = granted(policy, identity, &asked.scope);
        let unwanted = if asked.scope.is_empty() {
            !policy.serves_anonymous()
        } else {
            scope.is_empty()
        };
        if identity.is_anonymous() && session.is_none() && unwanted {
            return Err(NotIssued::Anonymous);
        }
        let began = session.map_or(now, |session| session.began);
        let ends = ends(terms, identity, began, now);
        if ends <= now {
            return Err(NotIssued::Expired);
        }
        let id = random().map_err(|_| InvalidKeys::Crypto)?;
        let subject = if identity.is_anonymous() {
            String::new()
        } else {
            identity.principal().to_string()
        };
        let first = session.map_or(id.as_str(), |session| session.first.as_str());
        let claims = |kind: Kind, id: &str, scope: Option<&Scope>| {
            let mut claims = json!({
                "iss": self.issuer(), "aud": kind.audience(&terms.service), "sub": subject, "jti": id,
                "iat": now.as_secs(), "exp": ends.as_secs(), "auth_time": began.as_secs(),
            });
            let source = source
                .as_ref()
                .and_then(|source| serde_json::to_value(source).ok());
            let further = (id != first).then(|| Value::from(first));
            for (name, value) in [
                ("access", scope.map(Scope::access)),
                ("src", source),
                (minted::SESSION, further),
            ] {
                if let (Some(claims), Some(value)) = (claims.as_object_mut(), value) {
                    claims.insert(name.to_owned(), value);
                }
            }
            claims
        };
        let token = self.sign(Kind::Access, &claims(Kind::Access, &id, Some(&scope)), own)?;
        let gets_refresh = asked.offline && !identity.is_anonymous() && outlives(terms, identity, ends);
        let refresh = gets_refresh.then(|| {
            let id = random().map_err(|_| InvalidKeys::Crypto)?;
            self.sign(Kind::Refresh, &claims(Kind::Refresh, &id, identity.scope()), own)
        });
        let expires_in = ends.since(now).saturating_sub(MARGIN).max(Duration::from_secs(1));
        Ok(Issued {
            token,
            refresh: refresh.transpose()?,
            scope,
            expires_in,
            id,
        })
    }

    fn sign(&self, kind: Kind, claims: &Value, now: Timestamp) -> Result<Secret, NotIssued> {
        let token = self.keys.sign(kind.typ(), claims, now)?;
        let bytes = token.expose().len();
        let scopes = claims.get("access").map_or(0, |access| access.to_string().len());
        if bytes > MINTED_BYTES {
            return Err(if scopes > MINTED_BYTES / 2 {
                NotIssued::TooManyScopes
            } else {
                NotIssued::TooLarge { bytes }
            });
        }
        // The claims are nested too deeply to be parsed again.
        if Unverified::parse(token.expose()).is_err() {
            return Err(NotIssued::TooLarge { bytes });
        }
        Ok(token)
    }
}

fn granted(policy: &Policy, identity: &Identity, asked: &Scope) -> Scope {
    let lists = if identity.is_anonymous() {
        policy.serves_anonymous()
    } else {
        true
    };
    let catalog = lists && identity.scope().is_none_or(Scope::catalog);
    asked.limited(catalog, |repository| access::rights(policy, identity, repository))
}

/// Returns the end of the session. An exchange never extends it.
fn ends(terms: &Terms, identity: &Identity, began: Timestamp, now: Timestamp) -> Timestamp {
    let own = match terms.session_lifetime {
        // Some identities never expire by themselves.
        Duration::ZERO => identity.valid_until().min(now.plus(WITHOUT_END)),
        lifetime => began.plus(lifetime),
    };
    identity.session().map_or(own, |session| own.min(session.ends))
}

/// Whether a refresh token would live longer than the presented credential. docker stores a refresh token
/// instead of the credential, so one that expires first would end the login too early. The registry's own
/// tokens end with their session, like refresh tokens.
fn outlives(terms: &Terms, identity: &Identity, ends: Timestamp) -> bool {
    !terms.session_lifetime.is_zero() && (identity.session().is_some() || ends > identity.valid_until())
}

/// The margin for the time until the token is used.
const MARGIN: Duration = Duration::from_secs(5);
/// How long a token lives if its credential never expires.
const WITHOUT_END: Duration = Duration::from_secs(3600);
