//! Issuing a token: its scope is what was asked for and policy grants now, its end is its session's.

use super::Tokens;
use super::keys::InvalidKeys;
use super::store_id::random;
use crate::access::{self, Policy};
use crate::clock::Timestamp;
use crate::identity::{Identity, Scope};
use crate::limits::MINTED_BYTES;
use crate::secret::Secret;
use crate::trust::jwt::Unverified;
use crate::trust::minted::{self, Kind};
use serde_json::{Value, json};
use std::time::Duration;

/// What the configuration says of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Whom tokens are for, as challenges name it.
    pub service: String,
    /// How long after its source was presented a token may count; with zero, as long as its source.
    pub session_lifetime: Duration,
}

/// What a client wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub scope: Scope,
    /// A refresh token as well, where it is of use.
    pub offline: bool,
}

/// What it gets.
#[derive(Clone, Debug)]
pub struct Issued {
    pub token: Secret,
    pub refresh: Option<Secret>,
    /// What was granted.
    pub scope: Scope,
    /// A little less than it lives.
    pub expires_in: Duration,
    /// The token's `jti`, for the log.
    pub id: String,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotIssued {
    #[error("anonymous callers have no access here: present a credential")]
    Anonymous,
    #[error(
        "a token of the external token server cannot be exchanged: present it as it is, or get another one there"
    )]
    NotExchanged,
    #[error("the credential has expired, and tokens live no longer (http.auth.token.sessionLifetime is 0)")]
    Expired,
    /// The credential, if it is a token, can be used as it is.
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
    /// A token for whoever was identified by a credential or by another token, which is only ever narrowed.
    pub fn issue(
        &self,
        terms: &Terms,
        policy: &Policy,
        identity: &Identity,
        asked: &Asked,
        now: Timestamp,
    ) -> Result<Issued, NotIssued> {
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
        let token = self.sign(Kind::Access, &claims(Kind::Access, &id, Some(&scope)), now)?;
        let gets_refresh = asked.offline && !identity.is_anonymous() && outlives(terms, identity, ends);
        let refresh = gets_refresh.then(|| {
            let id = random().map_err(|_| InvalidKeys::Crypto)?;
            self.sign(Kind::Refresh, &claims(Kind::Refresh, &id, identity.scope()), now)
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
        // What nests too deeply to be read again.
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

/// A session ends when its lifetime is over, and no exchange makes it longer.
fn ends(terms: &Terms, identity: &Identity, began: Timestamp, now: Timestamp) -> Timestamp {
    let own = match terms.session_lifetime {
        // What never expires by itself.
        Duration::ZERO => identity.valid_until().min(now.plus(WITHOUT_END)),
        lifetime => began.plus(lifetime),
    };
    identity.session().map_or(own, |session| own.min(session.ends))
}

/// Whether a refresh token lives longer than the credential that was presented for it. docker keeps a refresh
/// token instead of the credential: one that ends first would end the login too early. A token of our own
/// ends with its session, as a refresh token does.
fn outlives(terms: &Terms, identity: &Identity, ends: Timestamp) -> bool {
    !terms.session_lifetime.is_zero() && (identity.session().is_some() || ends > identity.valid_until())
}

/// For the way that a token takes to be used.
const MARGIN: Duration = Duration::from_secs(5);
/// How long a token may count that stands for nothing that ends.
const WITHOUT_END: Duration = Duration::from_secs(3600);
