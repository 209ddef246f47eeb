//! How long a rejection may be cached.

use super::outline::Outline;
use super::{Leaf, X509Authorities};
use crate::clock::Timestamp;
use crate::trust::Held;
use pki_types::CertificateDer;
use x509_parser::certificate::Validity;
use x509_parser::prelude::FromDer as _;

/// Returns when the same chain and authorities may first give another result after `now`: when the next
/// certificate becomes valid or expires. [`Timestamp::MAX`] if there is no such date.
#[must_use]
pub fn next_change(
    leaf: &Leaf,
    chain: &[CertificateDer<'_>],
    view: &Held<X509Authorities>,
    now: Timestamp,
) -> Timestamp {
    let sent = chain.iter().filter_map(|der| validity(der));
    let held = view.keys.validities();
    let validities = sent.chain(held).chain([(leaf.not_before(), leaf.not_after())]);
    let dates =
        validities.flat_map(|(from, to)| [from, Timestamp::from_secs(to.as_secs().saturating_add(1))]);
    dates
        .filter(|date| now < *date)
        .fold(Timestamp::MAX, Timestamp::min)
}

fn validity(der: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let outline = Outline::read(der).ok()?;
    let (_, validity) = Validity::from_der(outline.validity.whole).ok()?;
    Some((
        Timestamp::from_secs(validity.not_before.timestamp()),
        Timestamp::from_secs(validity.not_after.timestamp()),
    ))
}
