//! Judging a client again whose chain was verified before and is not at hand any more: one of our own tokens
//! remembers it. That the authority that vouched is still one takes the place of the chain.

use super::X509Authorities;
use super::rejected::Rejected;
use super::remembered::RememberedChain;
use super::verified::VerifiedChain;
use crate::clock::Timestamp;
use crate::trust::Held;

/// As [`super::verify_svid`]. `view` is what the SPIFFE ID's own trust domain holds.
pub fn reverify_svid(
    remembered: &RememberedChain,
    view: &Held<X509Authorities>,
    now: Timestamp,
) -> Result<VerifiedChain, Rejected> {
    let until = still_vouching(remembered, view, now)?;
    let id = remembered.spiffe_id().ok_or(Rejected::NoUriName)?;
    Ok(VerifiedChain::again(remembered, Some(id), view, until))
}

/// As [`super::verify_plain`].
pub fn reverify_plain(
    remembered: &RememberedChain,
    view: &Held<X509Authorities>,
    now: Timestamp,
) -> Result<VerifiedChain, Rejected> {
    let until = still_vouching(remembered, view, now)?;
    Ok(VerifiedChain::again(remembered, None, view, until))
}

/// Until when.
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
