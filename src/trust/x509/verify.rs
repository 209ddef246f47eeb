//! Skeleton.
use super::{Leaf, Rejected, X509Authorities};
use crate::clock::Timestamp;
use crate::spiffe_id::SpiffeId;
use crate::trust::{Generation, Held};
use pki_types::CertificateDer;
use serde_json::{Map, Value};

#[derive(Clone, Debug)]
pub struct VerifiedChain {
    spiffe_id: Option<SpiffeId>,
    claims: Map<String, Value>,
    generation: Generation,
    valid_until: Timestamp,
    subject_dn: String,
}

#[allow(clippy::unimplemented)]
pub fn verify_svid(
    _leaf: &Leaf,
    _chain: &[CertificateDer<'static>],
    _view: &Held<X509Authorities>,
    _now: Timestamp,
) -> Result<VerifiedChain, Rejected> {
    unimplemented!()
}

#[allow(clippy::unimplemented)]
pub fn verify_plain(
    _leaf: &Leaf,
    _chain: &[CertificateDer<'static>],
    _view: &Held<X509Authorities>,
    _now: Timestamp,
) -> Result<VerifiedChain, Rejected> {
    unimplemented!()
}

impl VerifiedChain {
    #[must_use]
    pub const fn spiffe_id(&self) -> Option<&SpiffeId> {
        self.spiffe_id.as_ref()
    }

    #[must_use]
    pub const fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    #[must_use]
    pub const fn valid_until(&self) -> Timestamp {
        self.valid_until
    }

    #[must_use]
    pub fn subject_dn(&self) -> &str {
        &self.subject_dn
    }
}
