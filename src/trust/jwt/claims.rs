//! Checks the claims that every token has (RFC 7519 4.1), and normalizes claims for mappings. These checks
//! are cheap, so they come before the signature.

use super::rejected::Rejected;
use crate::clock::Timestamp;
use crate::spiffe_id::SpiffeId;
use crate::trust::json;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The dates of a token. A `NumericDate` is any JSON number that is a date.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dates {
    pub(super) expires: Timestamp,
    not_before: Option<Timestamp>,
    issued: Option<Timestamp>,
}

impl Dates {
    pub(super) fn read(claims: &Map<String, Value>) -> Result<Self, Rejected> {
        let missing = Rejected::Claim {
            claim: "exp",
            expected: "a number",
            found: "nothing",
        };
        Ok(Self {
            expires: date(claims, "exp")?.ok_or(missing)?,
            not_before: date(claims, "nbf")?,
            issued: date(claims, "iat")?,
        })
    }

    pub(super) fn check(&self, now: Timestamp, skew: Duration) -> Result<(), Rejected> {
        if now >= self.expires.plus(skew) {
            return Err(Rejected::Expired {
                at: self.expires,
                now,
            });
        }
        for (claim, date) in [("nbf", self.not_before), ("iat", self.issued)] {
            if let Some(at) = date.filter(|at| *at > now.plus(skew)) {
                return Err(Rejected::NotYetValid { claim, at, now });
            }
        }
        Ok(())
    }

    pub(super) fn check_lifetime(&self, longest: Duration, now: Timestamp) -> Result<(), Rejected> {
        let found = self.expires.since(self.issued.unwrap_or(now));
        if found > longest {
            Err(Rejected::Lifetime { longest, found })
        } else {
            Ok(())
        }
    }
}

/// Returns `aud` as a list. It must be a string or a list of strings.
pub(in crate::trust) fn audiences(claims: &Map<String, Value>) -> Result<Vec<&str>, Rejected> {
    let refuse = |found| Rejected::Claim {
        claim: "aud",
        expected: "a string or a list of strings",
        found,
    };
    match claims.get("aud") {
        Some(Value::String(one)) => Ok(vec![one]),
        Some(Value::Array(several)) => several
            .iter()
            .map(|one| {
                one.as_str()
                    .ok_or_else(|| refuse("a list with something else in it"))
            })
            .collect(),
        found => Err(refuse(json::kind(found))),
    }
}

pub(in crate::trust) fn check_audience(
    found: &[&str],
    expected: &[String],
    single: bool,
) -> Result<(), Rejected> {
    let owned = || found.iter().map(|one| (*one).to_owned()).collect();
    if expected.iter().all(String::is_empty) {
        return Err(Rejected::NoAudienceConfigured);
    }
    if !found
        .iter()
        .any(|one| !one.is_empty() && expected.iter().any(|ours| ours == one))
    {
        return Err(Rejected::Audience {
            expected: expected.to_vec(),
            found: owned(),
        });
    }
    if single && found.len() > 1 {
        return Err(Rejected::SeveralAudiences { found: owned() });
    }
    Ok(())
}

/// Returns a claim that must be a non-empty string.
pub(in crate::trust) fn text<'a>(
    claims: &'a Map<String, Value>,
    claim: &'static str,
) -> Result<&'a str, Rejected> {
    let expected = "a non-empty string";
    match claims.get(claim) {
        Some(Value::String(text)) if text.is_empty() => Err(Rejected::Claim {
            claim,
            expected,
            found: "an empty one",
        }),
        Some(Value::String(text)) => Ok(text),
        found => Err(Rejected::Claim {
            claim,
            expected,
            found: json::kind(found),
        }),
    }
}

/// Returns the claims as a mapping sees them: `aud` is a list, dates are whole seconds, and reserved claims
/// come only from the registry.
pub(super) fn settled(
    token: &Map<String, Value>,
    dates: &Dates,
    spiffe_id: Option<&SpiffeId>,
) -> Map<String, Value> {
    let mut claims = token.clone();
    for reserved in ["spiffe", "x509"] {
        if claims.remove(reserved).is_some() {
            tracing::debug!(
                claim.name = reserved,
                "dropped a token's claim whose name is reserved"
            );
        }
    }
    if let Some(one @ Value::String(_)) = claims.get("aud").cloned() {
        claims.insert("aud".into(), Value::Array(vec![one]));
    }
    for (claim, date) in [
        ("exp", Some(dates.expires)),
        ("nbf", dates.not_before),
        ("iat", dates.issued),
    ] {
        if let Some(date) = date {
            claims.insert(claim.into(), date.as_secs().into());
        }
    }
    if let Some(id) = spiffe_id {
        let segments: Vec<_> = id.segments().collect();
        let spiffe = json!({"id": id.as_str(), "trust_domain": id.trust_domain().as_str(), "path": id.path(), "segments": segments});
        claims.insert("spiffe".into(), spiffe);
    }
    claims
}

pub(in crate::trust) fn date(
    claims: &Map<String, Value>,
    claim: &'static str,
) -> Result<Option<Timestamp>, Rejected> {
    match claims.get(claim) {
        None => Ok(None),
        Some(Value::Number(seconds)) => match seconds.as_f64().and_then(Timestamp::from_numeric_date) {
            Some(date) => Ok(Some(date)),
            None => Err(Rejected::NotADate { claim }),
        },
        found => Err(Rejected::Claim {
            claim,
            expected: "a number",
            found: json::kind(found),
        }),
    }
}
