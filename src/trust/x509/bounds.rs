//! What a chain may weigh, before anything of it is parsed or kept.

use super::outline::Outline;
use super::rejected::{Rejected, Unread};
use crate::limits::{CERTIFICATE_BYTES, CHAIN_BYTES, INTERMEDIATES};
use pki_types::CertificateDer;

/// Checks the sizes of a chain, leaf first. A leaf over its own limits ends it, too: nothing could make it
/// good.
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

/// Clients may send their own certificate twice.
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
