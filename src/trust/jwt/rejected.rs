//! Why a token is rejected. The messages tell operators of the issuer or of this registry what to change.
//! They never contain the token.

use super::Algorithm;
use crate::clock::Timestamp;
use crate::limits::TOKEN_BYTES;
use crate::spiffe_id::{InvalidSpiffeId, TrustDomain};
use crate::trust::NoKeys;
use crate::trust::json::InvalidJson;
use crate::trust::newer::NotNewer;
use std::fmt;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The token cannot be verified because keys are missing.
    #[error(transparent)]
    Undecidable(#[from] NoKeys),
}

impl From<NotNewer<Rejected>> for Failure {
    fn from(why: NotNewer<Rejected>) -> Self {
        match why {
            NotNewer::Final(why) => Self::Rejected(why),
            NotNewer::Undecidable(why) => Self::Undecidable(why),
        }
    }
}

/// Fields contain the token's texts in full length. `Display` shortens and escapes them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    #[error("expected a token of at most {TOKEN_BYTES} bytes, found {bytes}")]
    TooLong { bytes: usize },
    #[error("expected a JWS in compact serialization, three parts joined by dots, found {parts}")]
    NotCompact { parts: usize },
    #[error("the token's {part} is not canonical base64url without padding")]
    Encoding { part: Part },
    #[error("the token's {part} is not accepted: {why}")]
    Json { part: Part, why: InvalidJson },
    #[error("expected a string as `{name}` in the token's header, found {found}")]
    HeaderType { name: &'static str, found: &'static str },
    #[error(
        "the token's alg {} is not accepted: expected an asymmetric signature, RS, PS or ES with 256, 384 or 512, EdDSA or Ed25519",
        Shown(found)
    )]
    UnknownAlgorithm { found: String },
    #[error("the token's alg {found} is not accepted here: expected {}", Several(allowed))]
    AlgorithmNotAllowed {
        found: Algorithm,
        allowed: Vec<Algorithm>,
    },
    #[error(
        "the token's header has `{name}`, which changes how the token is read and is not supported; have the issuer leave it out"
    )]
    ForbiddenHeader { name: &'static str },
    #[error(
        "the token's typ is {}: expected none, JWT or JOSE (an access token is not an ID token)",
        Shown(found)
    )]
    Type { found: String },
    /// A WIT-SVID is valid only with a signature over each request. By itself it proves nothing.
    #[error(
        "the token is a WIT-SVID (typ wit+jwt), which is never accepted as a bearer token; present a JWT-SVID or an X.509-SVID"
    )]
    WitSvid,
    /// Only for the registry's own tokens.
    #[error("expected a `kid` in the token's header, found none")]
    KeyIdMissing,
    #[error("expected {expected} as the claim `{claim}`, found {found}")]
    Claim {
        claim: &'static str,
        expected: &'static str,
        found: &'static str,
    },
    #[error("the claim `{claim}` is not a date: expected seconds since 1970")]
    NotADate { claim: &'static str },
    #[error("expected the issuer {}, found {}", Shown(expected), Shown(found))]
    Issuer { expected: String, found: String },
    #[error("the claim `sub` is not a SPIFFE ID: {0}")]
    Subject(InvalidSpiffeId),
    #[error(
        "the claim `sub` names a trust domain, not a workload: expected spiffe://{trust_domain}/ and a path"
    )]
    SubjectWithoutPath { trust_domain: TrustDomain },
    /// Only for tokens of an external token server.
    #[error(
        "the claim `sub` is a SPIFFE ID, which a token server must not issue; have it use other subjects"
    )]
    SubjectIsSpiffeId,
    #[error("expected a subject of the trust domain {expected}, found one of {found}")]
    TrustDomain {
        expected: TrustDomain,
        found: TrustDomain,
    },
    #[error("no audience is configured here, so no token can be accepted; configure one")]
    NoAudienceConfigured,
    #[error(
        "the token is for another audience: expected one of {}, found {}",
        Several(expected),
        Several(found)
    )]
    Audience {
        expected: Vec<String>,
        found: Vec<String>,
    },
    #[error(
        "the token is for several audiences, each of which could replay it: expected exactly one, found {}",
        Several(found)
    )]
    SeveralAudiences { found: Vec<String> },
    #[error("the token expired at {at}, and it is {now}; if it is fresh, compare the clocks")]
    Expired { at: Timestamp, now: Timestamp },
    #[error("the token's `{claim}` is {at}, but it is only {now}; compare the clocks")]
    NotYetValid {
        claim: &'static str,
        at: Timestamp,
        now: Timestamp,
    },
    #[error("the token's lifetime is too long: expected at most {} s, found {} s", longest.as_secs(), found.as_secs())]
    Lifetime { longest: Duration, found: Duration },
    /// `nameless` is the number of keys without `kid`.
    #[error("the token's key {} is unknown: expected {}", Shown(key_id), Known { known, nameless: *nameless })]
    UnknownKey {
        key_id: String,
        known: Vec<String>,
        nameless: usize,
    },
    /// The key is published, but was skipped as unusable.
    #[error("the token's key {} is published but cannot be used: {why}", Shown(key_id))]
    UnusableKey { key_id: String, why: String },
    /// `faults` are the faults of published keys.
    #[error(
        "no key fits the token, which has no `kid` and alg {algorithm}: {}",
        Faults(faults)
    )]
    NoFittingKey {
        algorithm: Algorithm,
        faults: Vec<String>,
    },
    #[error("the token's alg {algorithm} does not fit its key {}", Shown(key_id))]
    AlgorithmDoesNotFitKey { algorithm: Algorithm, key_id: String },
    #[error("the token's key is valid for the issuer {} only, found {}", Shown(demanded), found.as_deref().map_or_else(|| "none".into(), |iss| Shown(iss).to_string()))]
    KeyOfAnotherIssuer { demanded: String, found: Option<String> },
    #[error(
        "the token has no `kid`, and {fitting} keys fit but at most {tried} are tried; have the issuer set `kid`"
    )]
    KeyIdNeeded { fitting: usize, tried: usize },
    /// Only for the registry's own tokens.
    #[error(
        "the token's typ is {}: expected {expected}; a token of one kind is never accepted as another",
        Shown(found)
    )]
    MintedType { expected: &'static str, found: String },
    #[error("the token's record of its original credential cannot be read; get a new token")]
    MintedSource,
    #[error("the token's session began at {began} and has ended; it is {now}: present the credential again")]
    SessionOver { began: Timestamp, now: Timestamp },
    #[error(
        "the key of {} that signed the credential behind this token was withdrawn; present a credential signed by a current key",
        Shown(issuer)
    )]
    KeyWithdrawn { issuer: String },
    #[error("the signature does not verify")]
    Signature,
}

/// A part of the compact serialization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Header,
    Claims,
    Signature,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Claims => "payload",
            Self::Signature => "signature",
        })
    }
}

/// Shows a text of the token quoted, escaped and shortened.
struct Shown<T>(T);

impl<T: AsRef<str>> fmt::Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_ref().char_indices().nth(SHOWN_CHARACTERS) {
            Some((end, _)) => write!(f, "{:?}…", self.0.as_ref().get(..end).unwrap_or_default()),
            None => write!(f, "{:?}", self.0.as_ref()),
        }
    }
}

struct Several<'a, T>(&'a [T]);

impl<T: ToString> fmt::Display for Several<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, one) in self.0.iter().take(SHOWN_ELEMENTS).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}", Shown(one.to_string()))?;
        }
        match self.0.len() {
            0 => f.write_str("none"),
            more if more > SHOWN_ELEMENTS => write!(f, " and {} more", more - SHOWN_ELEMENTS),
            _ => Ok(()),
        }
    }
}

struct Faults<'a>(&'a [String]);

impl fmt::Display for Faults<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("expected a key for it, found none");
        }
        for (index, one) in self.0.iter().take(SHOWN_FAULTS).enumerate() {
            write!(
                f,
                "{}{one}",
                if index == 0 {
                    "published keys cannot be used, "
                } else {
                    "; "
                }
            )?;
        }
        match self.0.len().saturating_sub(SHOWN_FAULTS) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

struct Known<'a> {
    known: &'a [String],
    nameless: usize,
}

impl fmt::Display for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { known, nameless } = *self;
        match known {
            [] if nameless == 0 => f.write_str("a published key, but there are no usable keys"),
            [] => write!(
                f,
                "a key with this `kid`, found {nameless} without any; {PUBLISH_KEY_ID}"
            ),
            _ if nameless == 0 => write!(f, "one of {}", Several(known)),
            _ => write!(
                f,
                "one of {}; {nameless} more have no `kid`; {PUBLISH_KEY_ID}",
                Several(known)
            ),
        }
    }
}

/// The hint if the token has a `kid` and published keys do not.
const PUBLISH_KEY_ID: &str =
    "a key without `kid` verifies only tokens without one: have the issuer publish its keys with their `kid`";
const SHOWN_CHARACTERS: usize = 120;
const SHOWN_ELEMENTS: usize = 8;
const SHOWN_FAULTS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_a_token_are_shown_quoted_escaped_and_short() {
        let text = Rejected::Issuer {
            expected: "https://good.example".into(),
            found: "x\r\n\u{1b}[2J".into(),
        }
        .to_string();
        assert_eq!(
            text,
            r#"expected the issuer "https://good.example", found "x\r\n\u{1b}[2J""#
        );
        let long = Rejected::UnknownAlgorithm {
            found: "é".repeat(10_000),
        }
        .to_string();
        assert!(long.len() < 500, "{long}");
        let many = Rejected::Audience {
            expected: vec!["zot".into()],
            found: vec!["a".into(); 1000],
        }
        .to_string();
        assert!(
            many.ends_with(r#""a" and 992 more"#) && many.len() < 500,
            "{many}"
        );
    }

    #[test]
    fn an_unknown_key_is_reported_with_the_known_keys() {
        let text = |known: &[&str], nameless| {
            let known = known.iter().map(|id| (*id).to_owned()).collect();
            Rejected::UnknownKey {
                key_id: "k".into(),
                known,
                nameless,
            }
            .to_string()
        };
        let publish = "a key without `kid` verifies only tokens without one: have the issuer publish its keys with their `kid`";
        for (known, nameless, expected) in [
            (
                &[][..],
                0,
                "a published key, but there are no usable keys".to_owned(),
            ),
            (&["a", "b"], 0, r#"one of "a", "b""#.to_owned()),
            (
                &[],
                1,
                format!("a key with this `kid`, found 1 without any; {publish}"),
            ),
            (
                &["a"],
                2,
                format!(r#"one of "a"; 2 more have no `kid`; {publish}"#),
            ),
        ] {
            assert_eq!(
                text(known, nameless),
                format!(r#"the token's key "k" is unknown: expected {expected}"#)
            );
        }
    }
}
