//! Our own tokens, verified: those that the token service signed. They stand for a credential that was
//! presented once, and carry what judging that credential again takes. Whether it still counts is not decided
//! here.
//!
//! A token is of one kind, and says so twice, in its `typ` (RFC 8725 3.11) and its audience: an access token
//! is no refresh token.

use super::Authorities;
use super::jwks::KeySet;
use super::jwt::signature::{self, Tried};
use super::jwt::{Failure, Rejected, Remembered, Unverified, claims};
use super::x509::RememberedChain;
use crate::clock::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// What a token of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To be presented for whatever its scope names.
    Access,
    /// To be exchanged for access tokens.
    Refresh,
    /// To be presented by the registry itself, with the events that it sends.
    Event,
}

impl Kind {
    /// The header `typ`.
    #[must_use]
    pub const fn typ(self) -> &'static str {
        match self {
            Self::Access => "wharfinger-access+jwt",
            Self::Refresh => "wharfinger-refresh+jwt",
            Self::Event => "wharfinger-event+jwt",
        }
    }

    /// The claim `aud` of tokens for a service.
    #[must_use]
    pub fn audience(self, service: &str) -> String {
        match self {
            Self::Access => service.to_owned(),
            Self::Refresh => format!("{service}#refresh"),
            Self::Event => format!("{service}#event"),
        }
    }
}

/// How our own tokens are judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MintedRules {
    /// Their `iss`: `urn:wharfinger:` and the store's id.
    pub issuer: String,
    /// The service that they are for, as challenges name it.
    pub service: String,
    /// How long after its source was presented a token may count; with zero, as long as its source.
    pub session_lifetime: Duration,
}

/// The credential that a token stands for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Source {
    Oidc {
        /// The name of the entry that accepted it, if it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entry: Option<String>,
        #[serde(flatten)]
        token: Remembered,
    },
    JwtSvid(Remembered),
    X509Svid(RememberedChain),
    X509 {
        /// The name of the entry whose authority vouched.
        entry: String,
        #[serde(flatten)]
        chain: RememberedChain,
    },
    Htpasswd {
        user: String,
        /// Of the line in the file: a changed password ends the session.
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

/// A token that we signed, for this service, of the kind that was asked for, within its time. Only
/// verification makes one.
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
    /// `None` for a token that was given to somebody who presented no credential.
    #[must_use]
    pub const fn source(&self) -> Option<&Source> {
        self.source.as_ref()
    }

    /// The claim `access`. `None` for a refresh token that is not limited.
    #[must_use]
    pub const fn access(&self) -> Option<&Value> {
        self.access.as_ref()
    }

    /// When its source was presented.
    #[must_use]
    pub const fn began(&self) -> Timestamp {
        self.began
    }

    #[must_use]
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Its `jti`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The `jti` of the token with which the session began.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.session
    }
}

/// Verifies one of our own tokens. There is no leeway: the clock is the one that it was signed by, or a
/// replica's.
pub fn verify(
    token: &Unverified,
    kind: Kind,
    rules: &MintedRules,
    keys: &Authorities<KeySet>,
    now: Timestamp,
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
    signature::check(token, &keys.view(now)?.keys, &Tried::default())?;
    Ok(read(token, rules, now)?)
}

/// What it says, now that it is known to be ours.
fn read(token: &Unverified, rules: &MintedRules, now: Timestamp) -> Result<VerifiedMinted, Rejected> {
    let claims = token.claims();
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
    // The lifetime may have been made shorter since.
    let over = match (&source, rules.session_lifetime) {
        (Some(source), Duration::ZERO) => source.expires()?,
        (None, Duration::ZERO) => Timestamp::MAX,
        (_, lifetime) => began.plus(lifetime),
    };
    if over <= now {
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

/// The claim with the id of the token with which a session began. That token itself may lack it.
pub const SESSION: &str = "sid";
/// How far the clocks of replicas may differ.
const CLOCK_SKEW: Duration = Duration::from_secs(30);
