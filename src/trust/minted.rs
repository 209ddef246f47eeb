//! Verifies the registry's own tokens, which its token service signed. Such a token stands for a credential
//! that was presented earlier, and contains what is needed to verify that credential again. That happens in
//! [`crate::identity`].
//!
//! A token states its kind twice, in its `typ` (RFC 8725 3.11) and in its audience, so that an access token
//! is never accepted as a refresh token.

use super::jwks::KeySet;
use super::jwt::signature::{self, Tried};
use super::jwt::{Failure, Rejected, Remembered, Unverified, claims};
use super::x509::RememberedChain;
use super::{Authorities, NoKeys};
use crate::clock::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// The kind of one of the registry's own tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Gives access to what its scope includes.
    Access,
    /// Is exchanged for access tokens.
    Refresh,
    /// Is presented by the registry itself with the events that it sends.
    Event,
}

impl Kind {
    /// Returns the header `typ`.
    #[must_use]
    pub const fn typ(self) -> &'static str {
        match self {
            Self::Access => "wharfinger-access+jwt",
            Self::Refresh => "wharfinger-refresh+jwt",
            Self::Event => "wharfinger-event+jwt",
        }
    }

    /// Returns the claim `aud` of tokens for a service.
    #[must_use]
    pub fn audience(self, service: &str) -> String {
        match self {
            Self::Access => service.to_owned(),
            Self::Refresh => format!("{service}#refresh"),
            Self::Event => format!("{service}#event"),
        }
    }
}

/// How the registry's own tokens are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MintedRules {
    /// Their `iss`: `urn:wharfinger:` and the store's id.
    pub issuer: String,
    /// The service that they are for, as in challenges.
    pub service: String,
    /// How long a session lasts after the original credential was presented. Zero: as long as that credential
    /// is valid.
    pub session_lifetime: Duration,
    /// Whether other registries sign such tokens too. This one may then get their newest key a little later.
    pub shared: bool,
}

/// The credential that a token stands for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Source {
    Oidc {
        /// The name of the entry that accepted the token, if it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entry: Option<String>,
        #[serde(flatten)]
        token: Remembered,
    },
    JwtSvid(Remembered),
    X509Svid(RememberedChain),
    X509 {
        /// The name of the entry whose authority verified the chain.
        entry: String,
        #[serde(flatten)]
        chain: RememberedChain,
    },
    Htpasswd {
        user: String,
        /// The fingerprint of the line in the file, so that a changed password ends the session.
        fingerprint: String,
    },
}

impl Source {
    fn expires(&self) -> Result<Timestamp, Rejected> {
        match self {
            Self::Oidc { token, .. } | Self::JwtSvid(token) => token.expires(),
            Self::X509Svid(chain) | Self::X509 { chain, .. } => chain.expires().ok_or(Rejected::MintedSource),
            Self::Htpasswd { .. } => Ok(Timestamp::MAX),
        }
    }
}

/// A verified token: the registry signed it for this service, it has the expected kind, and it has not
/// expired. Only [`verify`] makes one.
#[derive(Clone, Debug)]
pub struct VerifiedMinted {
    source: Option<Source>,
    access: Option<Value>,
    began: Timestamp,
    expires: Timestamp,
    id: String,
    session: String,
}

impl VerifiedMinted {
    /// Returns the original credential, or `None` for a token that was issued to an anonymous caller.
    #[must_use]
    pub const fn source(&self) -> Option<&Source> {
        self.source.as_ref()
    }

    /// Returns the claim `access`, or `None` for an unlimited refresh token.
    #[must_use]
    pub const fn access(&self) -> Option<&Value> {
        self.access.as_ref()
    }

    /// Returns when the original credential was presented.
    #[must_use]
    pub const fn began(&self) -> Timestamp {
        self.began
    }

    #[must_use]
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Returns its `jti`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the `jti` of the token with which the session began.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.session
    }
}

/// The present time by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// This machine's.
    pub own: Timestamp,
    /// The one that dates the registry's own tokens. It may be another where several registries issue them.
    pub tokens: Timestamp,
}

/// Verifies one of the registry's own tokens. `exp` has no leeway, since this registry or a replica signed
/// the token.
pub fn verify(
    token: &Unverified,
    kind: Kind,
    rules: &MintedRules,
    keys: &Authorities<KeySet>,
    times: Times,
) -> Result<VerifiedMinted, Failure> {
    let issuer = token.issuer().unwrap_or_default();
    let audience = kind.audience(&rules.service);
    let typ = token.typ().unwrap_or_default();
    if typ != kind.typ() {
        return Err(Rejected::MintedType {
            expected: kind.typ(),
            found: typ.into(),
        }
        .into());
    }
    if issuer != rules.issuer {
        return Err(Rejected::Issuer {
            expected: rules.issuer.clone(),
            found: issuer.into(),
        }
        .into());
    }
    claims::check_audience(&claims::audiences(token.claims())?, &[audience], true)?;
    if token.key_id().is_none() {
        return Err(Rejected::KeyIdMissing.into());
    }
    signature::check(token, &keys.view(times.own)?.keys, &Tried::default())
        .map_err(|why| unless_awaited(why, token, rules, times.tokens))?;
    Ok(read(token, rules, times)?)
}

/// A recent token of an unknown key may be from another registry, whose key this one does not have yet. Its
/// client must not be sent to log in again. Nothing else depends on the unverified `iat`.
fn unless_awaited(why: Rejected, token: &Unverified, rules: &MintedRules, now: Timestamp) -> Failure {
    let is_recent = || {
        let issued = claims::date(token.claims(), "iat").ok().flatten();
        issued.is_some_and(|at| now < at.plus(SPREADS_WITHIN) && at <= now.plus(CLOCK_SKEW))
    };
    match why {
        Rejected::UnknownKey { .. } if rules.shared && is_recent() => NoKeys::Awaited.into(),
        why => why.into(),
    }
}

/// Reads the claims of a token whose signature was verified.
fn read(token: &Unverified, rules: &MintedRules, times: Times) -> Result<VerifiedMinted, Rejected> {
    let claims = token.claims();
    let now = times.tokens;
    let date = |claim| {
        claims::date(claims, claim)?.ok_or(Rejected::Claim {
            claim,
            expected: "a number",
            found: "nothing",
        })
    };
    let expires = date("exp")?;
    let began = date("auth_time")?;
    if now >= expires {
        return Err(Rejected::Expired { at: expires, now });
    }
    if began > now.plus(CLOCK_SKEW) {
        return Err(Rejected::NotYetValid {
            claim: "auth_time",
            at: began,
            now,
        });
    }
    let source: Option<Source> = claims
        .get("src")
        .map(|source| serde_json::from_value(source.clone()).map_err(|_| Rejected::MintedSource))
        .transpose()?;
    // The session lifetime may have been shortened since the token was issued.
    let zero = rules.session_lifetime.is_zero();
    let over = match (&source, zero) {
        (Some(source), true) => source.expires()?,
        (None, true) => Timestamp::MAX,
        (_, false) => began.plus(rules.session_lifetime),
    };
    // The original credential must not have expired by either clock.
    let latest = if zero { now.max(times.own) } else { now };
    if over <= latest {
        return Err(Rejected::SessionOver { began, now });
    }
    let id = claims::text(claims, "jti")?.to_owned();
    let session = claims
        .get(SESSION)
        .and_then(Value::as_str)
        .unwrap_or(&id)
        .to_owned();
    Ok(VerifiedMinted {
        source,
        access: claims.get("access").cloned(),
        began,
        expires: expires.min(over),
        id,
        session,
    })
}

/// The claim with the `jti` of the session's first token. The first token itself may not have it.
pub const SESSION: &str = "sid";
/// How long another registry's key may take to arrive here.
const SPREADS_WITHIN: Duration = Duration::from_secs(60 * 60);
/// How far the clocks of replicas may differ.
const CLOCK_SKEW: Duration = Duration::from_secs(30);
