//! From a token to its claims: the cheap checks of its profile, then the keys, then the signature. Only a
//! good signature yields a [`VerifiedJwt`].

use super::audience;
use super::claims::{self, Dates};
use super::rejected::{Failure, Rejected};
use super::signature::Tried;
use super::unverified::Unverified;
use super::{Algorithm, OidcRules, Remembered, SvidRules, signature};
use crate::clock::Timestamp;
use crate::spiffe_id::SpiffeId;
use crate::trust::jwks::KeySet;
use crate::trust::{Authorities, Generation, Held};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// Verifies a JWT-SVID (JWT-SVID 4 and 5) by the keys of its subject's trust domain, which `keys` must be.
///
/// `iss` is not looked at, except by keys that demand one.
pub async fn verify_svid(
    token: &Unverified,
    rules: &SvidRules,
    keys: &Authorities<KeySet>,
    now: Timestamp,
) -> Result<VerifiedJwt, Failure> {
    let (id, dates) = check_svid(token, rules, now)?;
    let vouching = vouching_keys(token, keys, now).await?;
    dates.check(vouching.at, rules.clock_skew)?;
    Ok(VerifiedJwt::new(token, &dates, Some(id), vec![], vouching))
}

/// Verifies an OIDC ID token for the entries of one issuer, which share its keys: one signature check, and
/// [`VerifiedJwt::accepted_by`] says for which entries. If none accepts it, the first one's reason counts.
pub async fn verify_oidc(
    token: &Unverified,
    entries: &[&OidcRules],
    keys: &Authorities<KeySet>,
    now: Timestamp,
) -> Result<VerifiedJwt, Failure> {
    let dates = check_id_token(token)?;
    let mut accepted = accepting(token, entries, &dates, now)?;
    let vouching = vouching_keys(token, keys, now).await?;
    if vouching.at != now {
        accepted = accepting(token, entries, &dates, vouching.at)?;
    }
    Ok(VerifiedJwt::new(token, &dates, None, accepted, vouching))
}

/// A token that counts. Only verification makes one.
#[derive(Clone)]
pub struct VerifiedJwt {
    claims: Arc<Map<String, Value>>,
    spiffe_id: Option<SpiffeId>,
    key_id: Option<String>,
    accepted_by: Vec<usize>,
    algorithm: Algorithm,
    fingerprint: Arc<str>,
    generation: Generation,
    expires: Timestamp,
    valid_until: Timestamp,
}

impl VerifiedJwt {
    fn new(
        token: &Unverified,
        dates: &Dates,
        spiffe_id: Option<SpiffeId>,
        accepted_by: Vec<usize>,
        vouching: Vouching,
    ) -> Self {
        let Vouching {
            held,
            fingerprint,
            until,
            at: _,
        } = vouching;
        Self {
            claims: Arc::new(claims::settled(&token.claims, dates, spiffe_id.as_ref())),
            spiffe_id,
            key_id: token.key_id.clone(),
            accepted_by,
            algorithm: token.algorithm,
            fingerprint,
            generation: held.generation,
            expires: dates.expires,
            valid_until: dates.expires.min(held.usable_until).min(until),
        }
    }

    /// Of a token that is not at hand any more, and for which `held` still vouches.
    pub(super) fn again(
        remembered: &Remembered,
        dates: &Dates,
        spiffe_id: Option<SpiffeId>,
        accepted_by: Vec<usize>,
        (held, until): (&Held<KeySet>, Timestamp),
    ) -> Self {
        Self {
            claims: Arc::new(claims::settled(&remembered.claims, dates, spiffe_id.as_ref())),
            spiffe_id,
            key_id: None,
            accepted_by,
            algorithm: remembered.alg,
            fingerprint: remembered.key.as_str().into(),
            generation: held.generation,
            expires: dates.expires,
            valid_until: held.usable_until.min(until),
        }
    }

    /// `aud` is a list, dates are whole seconds, and `spiffe` is there for JWT-SVIDs only.
    #[must_use]
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    pub(crate) fn shared_claims(&self) -> Arc<Map<String, Value>> {
        self.claims.clone()
    }

    /// Of a JWT-SVID. `None` for an ID token, whatever its subject looks like.
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

    /// Indexes of the entries given to [`verify_oidc`] whose rules the token passes, in order; empty for a
    /// JWT-SVID.
    #[must_use]
    pub fn accepted_by(&self) -> &[usize] {
        &self.accepted_by
    }

    /// What to remember of it in a token of our own.
    #[must_use]
    pub fn remembered(&self) -> Remembered {
        let mut claims = (*self.claims).clone();
        claims.remove("spiffe");
        Remembered {
            key: self.fingerprint.to_string(),
            alg: self.algorithm,
            claims,
        }
    }

    /// The fingerprint of the key that signed.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.fingerprint
    }

    /// Of the keys that vouched.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    #[must_use]
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// When the token expires or its keys grow stale, whichever is first. Up to the skew it may lie in the
    /// past.
    #[must_use]
    pub const fn valid_until(&self) -> Timestamp {
        self.valid_until
    }
}

impl fmt::Debug for VerifiedJwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("VerifiedJwt");
        shown
            .field("issuer", &self.issuer())
            .field("subject", &self.subject())
            .field("key_id", &self.key_id);
        shown.field("expires", &self.expires).finish_non_exhaustive()
    }
}

fn check_svid(token: &Unverified, rules: &SvidRules, now: Timestamp) -> Result<(SpiffeId, Dates), Rejected> {
    if let Some(typ) = token.typ.as_deref().filter(|typ| !TYPES.contains(typ)) {
        return Err(Rejected::Type { found: typ.into() });
    }
    let (id, dates) = check_svid_claims(&token.claims, token.algorithm, rules)?;
    dates.check(now, rules.clock_skew)?;
    Ok((id, dates))
}

/// All that is said of a JWT-SVID but when it counts.
pub(super) fn check_svid_claims(
    claims: &Map<String, Value>,
    algorithm: Algorithm,
    rules: &SvidRules,
) -> Result<(SpiffeId, Dates), Rejected> {
    if !algorithm.signs_svids() {
        let allowed = Algorithm::ALL
            .into_iter()
            .filter(|algorithm| algorithm.signs_svids())
            .collect();
        return Err(Rejected::AlgorithmNotAllowed {
            found: algorithm,
            allowed,
        });
    }
    let id: SpiffeId = claims::text(claims, "sub")?.parse().map_err(Rejected::Subject)?;
    if !id.is_workload() {
        return Err(Rejected::SubjectWithoutPath {
            trust_domain: id.trust_domain().clone(),
        });
    }
    if *id.trust_domain() != rules.trust_domain {
        return Err(Rejected::TrustDomain {
            expected: rules.trust_domain.clone(),
            found: id.trust_domain().clone(),
        });
    }
    audience::check(
        &claims::audiences(claims)?,
        &rules.audiences,
        &rules.hosts,
        rules.single_audience,
    )?;
    Ok((id, Dates::read(claims)?))
}

/// What every entry asks of an ID token.
fn check_id_token(token: &Unverified) -> Result<Dates, Rejected> {
    check_typ(token)?;
    claims::text(&token.claims, "iss")?;
    claims::text(&token.claims, "sub")?;
    Dates::read(&token.claims)
}

/// In any case, which JWT-SVIDs are not allowed.
pub(super) fn check_typ(token: &Unverified) -> Result<(), Rejected> {
    match token
        .typ
        .as_deref()
        .filter(|typ| !TYPES.iter().any(|good| good.eq_ignore_ascii_case(typ)))
    {
        Some(typ) => Err(Rejected::Type { found: typ.into() }),
        None => Ok(()),
    }
}

/// Indexes of the entries whose rules the token passes, at least one.
fn accepting(
    token: &Unverified,
    entries: &[&OidcRules],
    dates: &Dates,
    now: Timestamp,
) -> Result<Vec<usize>, Rejected> {
    let mut first = Ok(());
    let mut accepted = Vec::new();
    for (index, rules) in entries.iter().enumerate() {
        match check_entry(token, rules, dates, now) {
            Ok(()) => accepted.push(index),
            Err(why) => first = first.and(Err(why)),
        }
    }
    if accepted.is_empty() {
        Err(first.err().unwrap_or(Rejected::NoAudienceConfigured))
    } else {
        Ok(accepted)
    }
}

fn check_entry(token: &Unverified, rules: &OidcRules, dates: &Dates, now: Timestamp) -> Result<(), Rejected> {
    check_entry_claims(&token.claims, token.algorithm, rules)?;
    dates.check(now, rules.clock_skew)?;
    rules
        .max_lifetime
        .map_or(Ok(()), |longest| dates.check_lifetime(longest, now))
}

/// All that an entry says of an ID token but when it counts.
pub(super) fn check_entry_claims(
    claims: &Map<String, Value>,
    algorithm: Algorithm,
    rules: &OidcRules,
) -> Result<(), Rejected> {
    if let Some(allowed) = rules
        .algorithms
        .as_ref()
        .filter(|allowed| !allowed.contains(&algorithm))
    {
        return Err(Rejected::AlgorithmNotAllowed {
            found: algorithm,
            allowed: allowed.clone(),
        });
    }
    let issuer = claims::text(claims, "iss")?;
    if !rules.skip_issuer && issuer != rules.issuer {
        return Err(Rejected::Issuer {
            expected: rules.issuer.clone(),
            found: issuer.into(),
        });
    }
    audience::check(
        &claims::audiences(claims)?,
        &rules.audiences,
        &rules.hosts,
        rules.single_audience,
    )
}

/// The keys that verified a token.
pub(super) struct Vouching {
    held: Arc<Held<KeySet>>,
    fingerprint: Arc<str>,
    /// Later than the keys' own bound unless the key is withdrawn.
    until: Timestamp,
    /// When the signature was checked, which is later than when the token came if its key had to be fetched.
    at: Timestamp,
}

/// Finds the keys that signed the token. If they may be newer than those that are held, their source is asked
/// again.
async fn vouching_keys(
    token: &Unverified,
    keys: &Authorities<KeySet>,
    now: Timestamp,
) -> Result<Vouching, Failure> {
    let tried = Tried::default();
    let check = |held, now| vouching(token, held, &tried, now);
    let Ok(held) = keys.view(now) else {
        keys.refetch(now).await;
        let now = keys.later(now);
        return Ok(check(keys.view(now)?, now)?);
    };
    match check(held, now) {
        Err(why) if signature::newer_keys_may_help(token, &why) => {
            Ok(keys.judge_by_newer(token.sender, now, why, check).await?)
        }
        judged => Ok(judged?),
    }
}

/// By a key of the latest set, or by one that it lacks and that still verifies.
pub(super) fn vouching(
    token: &Unverified,
    held: Arc<Held<KeySet>>,
    tried: &Tried,
    at: Timestamp,
) -> Result<Vouching, Rejected> {
    let why = match signature::check(token, &held.keys, tried) {
        Ok(fingerprint) => {
            return Ok(Vouching {
                held,
                fingerprint,
                until: Timestamp::MAX,
                at,
            });
        }
        Err(why) => why,
    };
    let withdrawn: KeySet = held.keys.withdrawn_at(at).map(|(key, _)| key.clone()).collect();
    let Ok(fingerprint) = signature::check(token, &withdrawn, tried) else {
        return Err(why);
    };
    let until = held
        .keys
        .withdrawn_at(at)
        .find(|(key, _)| *key.fingerprint() == fingerprint)
        .map_or(at, |(_, until)| until);
    Ok(Vouching {
        held,
        fingerprint,
        until,
        at,
    })
}

/// What `typ` may be, if it is there.
const TYPES: [&str; 2] = ["JWT", "JOSE"];
