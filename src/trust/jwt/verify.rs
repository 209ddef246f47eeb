//! From an [`Unverified`] token to a [`VerifiedJwt`]: cheap checks of the claims first, then the key, then the signature.

use super::{Algorithm, Failure, Rejected, Unverified};
use crate::clock::Timestamp;
use crate::spiffe_id::{SpiffeId, TrustDomain};
use crate::trust::jwks::KeySet;
use crate::trust::{Authorities, Generation, Held};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// What a JWT-SVID of one trust domain must meet. At least one audience, or nothing is accepted (J-11).
#[derive(Clone, Debug)]
pub struct SvidRules {
    pub trust_domain: TrustDomain,
    pub audiences: Vec<String>,
    pub clock_skew: Duration,
    pub single_audience: bool,
}

/// What an ID token must meet to be accepted by one entry of an issuer.
#[derive(Clone, Debug)]
pub struct OidcRules {
    pub issuer: String,
    /// Do not compare `iss`.
    pub skip_issuer: bool,
    pub audiences: Vec<String>,
    /// Default: every asymmetric one.
    pub algorithms: Option<Vec<Algorithm>>,
    pub clock_skew: Duration,
    /// Measured from `iat`, or from now without one.
    pub max_lifetime: Option<Duration>,
    pub single_audience: bool,
}

/// A token whose signature, times and audience are good. Made here only.
#[derive(Clone, Debug)]
pub struct VerifiedJwt {
    claims: Map<String, Value>,
    spiffe_id: Option<SpiffeId>,
    key_id: Option<String>,
    accepted_by: Vec<usize>,
    generation: Generation,
    expires: Timestamp,
    valid_until: Timestamp,
}

impl VerifiedJwt {
    /// `aud` is always a list; `spiffe` is ours and only there for a JWT-SVID; `x509` is never there.
    #[must_use]
    pub const fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// Only for a JWT-SVID.
    #[must_use]
    pub const fn spiffe_id(&self) -> Option<&SpiffeId> {
        self.spiffe_id.as_ref()
    }

    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    #[must_use]
    pub fn subject(&self) -> &str {
        self.claims.get("sub").and_then(Value::as_str).unwrap_or_default()
    }

    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The indexes of the entries whose rules the token meets, in order; never empty for an ID token.
    #[must_use]
    pub fn accepted_by(&self) -> &[usize] {
        &self.accepted_by
    }

    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// The token's own `exp`.
    #[must_use]
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// The earlier of `exp` and the staleness bound of the keys.
    #[must_use]
    pub const fn valid_until(&self) -> Timestamp {
        self.valid_until
    }
}

/// Verifies a JWT-SVID (JWT-SVID 3 to 5) with the keys of its own trust domain.
pub async fn verify_svid(
    token: &Unverified,
    rules: &SvidRules,
    keys: &Authorities<KeySet>,
    now: Timestamp,
) -> Result<VerifiedJwt, Failure> {
    if !token.algorithm.is_for_svids() {
        let expected = "one of the nine of JWT-SVID 2.1 (RS, ES and PS with 256, 384 and 512)".to_owned();
        return Err(Rejected::Algorithm { found: token.algorithm.to_string(), expected }.into());
    }
    if let Some(found) = token.media_type.as_ref().filter(|name| !matches!(name.as_str(), "JWT" | "JOSE")) {
        return Err(Rejected::Type { found: found.clone() }.into());
    }
    if token.key_id.is_none() {
        return Err(Rejected::NoKeyId.into());
    }
    let subject = text_claim(token, "sub")?;
    let id = subject.parse::<SpiffeId>().ok().filter(|id| id.is_workload() && *id.trust_domain() == rules.trust_domain);
    let id = id.ok_or_else(|| Rejected::Subject { expected: rules.trust_domain.to_string(), found: subject.to_owned() })?;
    let audiences = check_audience(token, &rules.audiences, rules.single_audience)?;
    let times = Times::check(token, rules.clock_skew, now)?;
    let held = check_signature(token, keys, now).await?;
    let mut claims = own_claims(token, audiences);
    let segments: Vec<_> = id.segments().collect();
    let spiffe = json!({"id": id.as_str(), "trust_domain": id.trust_domain().as_str(), "path": id.path(), "segments": segments});
    claims.insert("spiffe".to_owned(), spiffe);
    Ok(verified(token, claims, Some(id), Vec::new(), &times, &held))
}

/// Verifies an ID token of an issuer. All `entries` share the issuer and its `keys`; one signature check serves them all. Without
/// an entry that accepts the token, the first one's reason is told.
pub async fn verify_oidc(
    token: &Unverified,
    entries: &[&OidcRules],
    keys: &Authorities<KeySet>,
    now: Timestamp,
) -> Result<VerifiedJwt, Failure> {
    if let Some(found) = token.media_type.as_ref().filter(|name| !["jwt", "jose"].contains(&name.to_ascii_lowercase().as_str())) {
        return Err(Rejected::Type { found: found.clone() }.into());
    }
    let (mut accepted_by, mut first_reason, mut accepted) = (Vec::new(), None, None);
    for (i, rules) in entries.iter().enumerate() {
        match meets(token, rules, now) {
            Ok(judged) => {
                accepted_by.push(i);
                accepted.get_or_insert(judged);
            }
            Err(why) => drop(first_reason.get_or_insert(why)),
        }
    }
    let Some((audiences, times)) = accepted else {
        return Err(first_reason.unwrap_or(Rejected::MissingClaim("iss")).into());
    };
    let held = check_signature(token, keys, now).await?;
    Ok(verified(token, own_claims(token, audiences), None, accepted_by, &times, &held))
}

fn meets(token: &Unverified, rules: &OidcRules, now: Timestamp) -> Result<(Vec<String>, Times), Rejected> {
    let allowed = rules.algorithms.as_deref().unwrap_or(&Algorithm::ALL);
    if !allowed.contains(&token.algorithm) {
        let expected = allowed.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(", ");
        return Err(Rejected::Algorithm { found: token.algorithm.to_string(), expected });
    }
    let issuer = text_claim(token, "iss")?;
    if !rules.skip_issuer && issuer != rules.issuer {
        return Err(Rejected::Issuer { expected: rules.issuer.clone(), found: issuer.to_owned() });
    }
    if text_claim(token, "sub")?.is_empty() {
        return Err(Rejected::MissingClaim("sub"));
    }
    let audiences = check_audience(token, &rules.audiences, rules.single_audience)?;
    let times = Times::check(token, rules.clock_skew, now)?;
    if let Some(most) = rules.max_lifetime {
        let found = times.expires.since(times.issued.unwrap_or(now));
        if found > most {
            return Err(Rejected::LivesTooLong { found: found.as_secs(), most: most.as_secs() });
        }
    }
    Ok((audiences, times))
}

fn text_claim<'t>(token: &'t Unverified, name: &'static str) -> Result<&'t str, Rejected> {
    match token.claims.get(name) {
        None | Some(Value::Null) => Err(Rejected::MissingClaim(name)),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Rejected::ClaimType(name)),
    }
}

/// The token's audiences, of which at least one must be expected (J-10).
fn check_audience(token: &Unverified, expected: &[String], single: bool) -> Result<Vec<String>, Rejected> {
    let found = match token.claims.get("aud") {
        None | Some(Value::Null) => return Err(Rejected::MissingClaim("aud")),
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(several)) => {
            let texts: Option<Vec<_>> = several.iter().map(|one| one.as_str().map(ToOwned::to_owned)).collect();
            texts.ok_or(Rejected::ClaimType("aud"))?
        }
        Some(_) => return Err(Rejected::ClaimType("aud")),
    };
    if !found.iter().any(|one| !one.is_empty() && expected.contains(one)) {
        return Err(Rejected::Audience { expected: expected.to_vec(), found });
    }
    if single && found.len() > 1 {
        return Err(Rejected::SeveralAudiences { found: found.len() });
    }
    Ok(found)
}

struct Times {
    expires: Timestamp,
    issued: Option<Timestamp>,
}

impl Times {
    /// `exp` must be there and lie ahead; `nbf` and `iat` may be absent and must not lie ahead; all by more than the skew.
    fn check(token: &Unverified, skew: Duration, now: Timestamp) -> Result<Self, Rejected> {
        let date = |name: &'static str| match token.claims.get(name) {
            None => Ok(None),
            Some(value) => match value.as_f64().and_then(Timestamp::from_numeric_date) {
                Some(date) => Ok(Some(date)),
                None => Err(Rejected::ClaimType(name)),
            },
        };
        let expires = date("exp")?.ok_or(Rejected::MissingClaim("exp"))?;
        if now >= expires.plus(skew) {
            return Err(Rejected::Expired { expired: expires, now });
        }
        let issued = date("iat")?;
        for (claim, from) in [("nbf", date("nbf")?), ("iat", issued)] {
            if let Some(from) = from.filter(|from| from.minus(skew) > now) {
                return Err(Rejected::NotYetValid { claim, from, now });
            }
        }
        Ok(Self { expires, issued })
    }
}

/// Asks the source once more where the key is unknown, or could not be told without `kid`; never for a bad signature under a
/// known key.
async fn check_signature(token: &Unverified, keys: &Authorities<KeySet>, now: Timestamp) -> Result<Arc<Held<KeySet>>, Failure> {
    let again = match keys.view(now) {
        Ok(held) => match signed_by(token, &held) {
            Ok(()) => return Ok(held),
            Err(why @ Rejected::UnknownKey { .. }) => Some(why),
            Err(why @ Rejected::Signature) if token.key_id.is_none() => Some(why),
            Err(why) => return Err(why.into()),
        },
        Err(_) => None,
    };
    let asked = keys.refetch().await;
    if let Some(why) = again.filter(|_| !asked) {
        return Err(why.into());
    }
    let held = keys.view(now)?;
    signed_by(token, &held)?;
    Ok(held)
}

fn signed_by(token: &Unverified, held: &Held<KeySet>) -> Result<(), Rejected> {
    let issuer = token.issuer();
    let (mut known, mut tried) = (false, 0);
    for key in held.keys.candidates(token.key_id()) {
        known = true;
        let Some(public) = key.for_algorithm(token.algorithm) else { continue };
        if let Some(expected) = key.demands_issuer().filter(|expected| issuer != Some(expected)) {
            return Err(Rejected::Issuer { expected: expected.to_owned(), found: issuer.unwrap_or_default().to_owned() });
        }
        tried += 1;
        if tried > MOST_KEYS {
            return Err(Rejected::TooManyKeys(MOST_KEYS));
        }
        if public.verify_sig(&token.signed, &token.signature).is_ok() {
            return Ok(());
        }
    }
    match (known, tried) {
        (true, 0) => Err(Rejected::KeyDoesNotFit { kid: token.key_id.clone(), algorithm: token.algorithm.as_str() }),
        (true, _) => Err(Rejected::Signature),
        (false, _) => {
            let known = held.keys.key_ids().take(8).map(ToOwned::to_owned).collect();
            Err(Rejected::UnknownKey { kid: token.key_id.clone(), source_name: held.source.to_string(), known })
        }
    }
}

/// The token's claims in the shape that every credential has.
fn own_claims(token: &Unverified, audiences: Vec<String>) -> Map<String, Value> {
    let mut claims = token.claims.clone();
    for reserved in ["spiffe", "x509"] {
        if claims.remove(reserved).is_some() {
            tracing::debug!(claim = reserved, "dropped a token's own claim of a reserved name");
        }
    }
    claims.insert("aud".to_owned(), audiences.into());
    claims
}

fn verified(
    token: &Unverified,
    claims: Map<String, Value>,
    spiffe_id: Option<SpiffeId>,
    accepted_by: Vec<usize>,
    times: &Times,
    held: &Held<KeySet>,
) -> VerifiedJwt {
    VerifiedJwt {
        claims,
        spiffe_id,
        key_id: token.key_id.clone(),
        accepted_by,
        generation: held.generation,
        expires: times.expires,
        valid_until: times.expires.min(held.usable_until),
    }
}

/// How many keys are tried for a token that names none.
const MOST_KEYS: usize = 4;
