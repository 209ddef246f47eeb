//! Verifies a remembered chain again. The original chain is gone, but one of the registry's own tokens
//! contains its claims. Instead of the chain, the authority at its end must still be trusted.

use super::X509Authorities;
use super::rejected::Rejected;
use super::remembered::RememberedChain;
use super::verified::VerifiedChain;
use crate::clock::Timestamp;
use crate::trust::Held;

/// As [`super::verify_svid`], for a remembered chain. `view` has the authorities of the SPIFFE ID's own trust
/// domain.
pub fn reverify_svid(
    remembered: &RememberedChain,
    view: &Held<X509Authorities>,
    now: Timestamp,
) -> Result<VerifiedChain, Rejected> {
    let until = still_vouching(remembered, view, now)?;
    let id = remembered.spiffe_id().ok_or(Rejected::NoUriName)?;
    Ok(VerifiedChain::again(remembered, Some(id), view, until))
}

/// As [`super::verify_plain`], for a remembered chain.
pub fn reverify_plain(
    remembered: &RememberedChain,
    view: &Held<X509Authorities>,
    now: Timestamp,
) -> Result<VerifiedChain, Rejected> {
    let until = still_vouching(remembered, view, now)?;
    Ok(VerifiedChain::again(remembered, None, view, until))
}

/// Returns until when the authority may still be used.
fn still_vouching(
    remembered: &RememberedChain,
    view: &Held<X509Authorities>,
    now: Timestamp,
) -> Result<Timestamp, Rejected> {
    let same = view
        .keys
        .valid_at(Timestamp::from_secs(now.as_secs()))
        .filter(|one| one.fingerprint() == remembered.authority);
    let until = same.map(|one| one.not_after).max();
    until
        .map(|until| until.min(view.usable_until))
        .ok_or_else(|| Rejected::AuthorityWithdrawn {
            origin: view.source.clone(),
        })
}
