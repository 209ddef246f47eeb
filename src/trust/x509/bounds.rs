//! Size limits of a chain, checked before anything is parsed or kept.

use super::outline::Outline;
use super::rejected::{Rejected, Unread};
use crate::limits::{CERTIFICATE_BYTES, CHAIN_BYTES, INTERMEDIATES};
use pki_types::CertificateDer;

/// Checks the sizes of a chain, leaf first. A leaf over its own limits is an error too, since it can never be
/// accepted.
pub fn check_chain(chain: &[CertificateDer<'_>]) -> Result<(), Rejected> {
    let Some((leaf, sent)) = chain.split_first() else {
        return Ok(());
    };
    if leaf.len() <= CERTIFICATE_BYTES {
        check_intermediates(leaf, sent)?;
    }
    match Outline::bounded(leaf) {
        Err(Unread::Oversized(why)) => Err(why.into()),
        _ => Ok(()),
    }
}

/// Checks the intermediates. Some clients send their own certificate twice, so copies of the leaf are not
/// counted.
pub(super) fn check_intermediates(
    leaf: &CertificateDer<'_>,
    sent: &[CertificateDer<'_>],
) -> Result<(), Rejected> {
    let intermediates = || sent.iter().filter(|one| one.as_ref() != leaf.as_ref());
    let found = intermediates().count();
    if found > INTERMEDIATES {
        return Err(Rejected::TooManyIntermediates { found });
    }
    let bytes = leaf.len() + sent.iter().map(|one| one.len()).sum::<usize>();
    if bytes > CHAIN_BYTES {
        Err(Rejected::ChainTooLarge { bytes })
    } else {
        Ok(())
    }
}
