//! Verifies tokens: first the cheap checks of the profile, then the keys, then the signature. Only a valid
//! signature yields a [`VerifiedJwt`].

use super::audience;
use super::claims::{self, Dates};
use super::rejected::{Failure, Rejected};
use super::unverified::Unverified;
use super::verified::VerifiedJwt;
use super::vouching::vouching_keys;
use super::{Algorithm, OidcRules, SvidRules};
use crate::clock::Timestamp;
use crate::spiffe_id::SpiffeId;
use crate::trust::Authorities;
use crate::trust::jwks::KeySet;
use serde_json::{Map, Value};

/// Verifies a JWT-SVID (JWT-SVID 4 and 5). `keys` must be those of its subject's trust domain.
///
/// `iss` is checked only by keys that demand a certain one.
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

/// Verifies an OIDC ID token for the entries of one issuer, which share keys. The signature is checked once,
/// and [`VerifiedJwt::accepted_by`] says which entries accept the token. If none does, the error is that of
/// the first entry.
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

fn check_svid(token: &Unverified, rules: &SvidRules, now: Timestamp) -> Result<(SpiffeId, Dates), Rejected> {
    if let Some(typ) = token.typ.as_deref().filter(|typ| !TYPES.contains(typ)) {
        return Err(Rejected::Type { found: typ.into() });
    }
    let (id, dates) = check_svid_claims(&token.claims, token.algorithm, rules)?;
    dates.check(now, rules.clock_skew)?;
    Ok((id, dates))
}

/// Checks everything about a JWT-SVID except its dates.
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

/// Checks what every entry requires of an ID token.
fn check_id_token(token: &Unverified) -> Result<Dates, Rejected> {
    check_typ(token)?;
    claims::text(&token.claims, "iss")?;
    claims::text(&token.claims, "sub")?;
    Dates::read(&token.claims)
}

/// Checks `typ` without regard to case. JWT-SVIDs are checked strictly.
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

/// Returns the indexes of the entries that accept the token. There is at least one.
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

/// Checks an ID token by the rules of an entry, except its dates.
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

/// The accepted values of `typ`, if the header is present.
const TYPES: [&str; 2] = ["JWT", "JOSE"];
