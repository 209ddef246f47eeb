//! From a presented chain to a [`VerifiedChain`]: the leaf's own rules, then a path to an authority of its trust domain.

use super::{Leaf, Rejected, X509Authorities};
use crate::clock::Timestamp;
use crate::spiffe_id::SpiffeId;
use crate::trust::{Generation, Held};
use pki_types::{CertificateDer, UnixTime};
use std::time::Duration;
use x509_parser::prelude::{FromDer, X509Certificate};

/// An X.509-SVID whose chain leads to an authority of its own trust domain. Made here only. TLS has proved possession of the key.
#[derive(Clone, Debug)]
pub struct VerifiedChain {
    spiffe_id: SpiffeId,
    generation: Generation,
    valid_until: Timestamp,
}

impl VerifiedChain {
    #[must_use]
    pub const fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// Of the authorities that vouched.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// The earliest end of the leaf, any certificate sent with it, the authority it leads to, and the staleness bound.
    #[must_use]
    pub const fn valid_until(&self) -> Timestamp {
        self.valid_until
    }
}

/// `held` must be the authorities of the leaf's own trust domain; `intermediates` is the chain as sent, without the leaf.
pub fn verify_svid(
    leaf: &Leaf,
    intermediates: &[CertificateDer<'_>],
    held: &Held<X509Authorities>,
    now: Timestamp,
) -> Result<VerifiedChain, Rejected> {
    let spiffe_id = leaf.spiffe_id()?;
    if now < leaf.not_before() {
        return Err(Rejected::NotYetValid { from: leaf.not_before(), now });
    }
    if leaf.not_after() < now {
        return Err(Rejected::Expired { expired: leaf.not_after(), now });
    }
    let mut valid_until = leaf.not_after().min(held.usable_until);
    for der in intermediates {
        valid_until = valid_until.min(intermediate_expiry(der)?);
    }
    let end_entity = webpki::EndEntityCert::try_from(&leaf.der).map_err(|_| Rejected::Malformed)?;
    let time = UnixTime::since_unix_epoch(now.since(Timestamp::from_secs(0)).max(Duration::ZERO));
    let usage = webpki::KeyUsage::client_auth();
    let authorities = held.source.to_string();
    let mut refusal = Rejected::NoAuthority(authorities.clone());
    // One by one, so that the authority which vouches is known, and with it when it ends.
    for authority in held.keys.valid_at(now) {
        let anchor = std::slice::from_ref(&authority.anchor);
        match end_entity.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, anchor, intermediates, time, usage, None, None) {
            Ok(_) => {
                return Ok(VerifiedChain { spiffe_id, generation: held.generation, valid_until: valid_until.min(authority.not_after) });
            }
            Err(why) => refusal = Rejected::Path { authorities: authorities.clone(), why: why.to_string() },
        }
    }
    Err(refusal)
}

/// Path building does not look at an issuer's key usage, so every certificate that is sent along must be fit to sign.
fn intermediate_expiry(der: &CertificateDer<'_>) -> Result<Timestamp, Rejected> {
    let (_, parsed) = X509Certificate::from_der(der).map_err(|_| Rejected::Malformed)?;
    let usage = parsed.key_usage().map_err(|_| Rejected::Malformed)?;
    if !usage.is_some_and(|usage| usage.value.key_cert_sign()) {
        return Err(Rejected::IntermediateKeyUsage);
    }
    Ok(Timestamp::from_secs(parsed.validity().not_after.timestamp()))
}
