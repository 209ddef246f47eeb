//! Skeleton.
use super::Rejected;
use crate::clock::Timestamp;
use crate::spiffe_id::SpiffeId;
use pki_types::CertificateDer;
use serde_json::{Map, Value};

#[derive(Clone, Debug)]
pub struct Leaf {
    claims: Map<String, Value>,
}

#[allow(clippy::unimplemented, clippy::missing_errors_doc)]
impl Leaf {
    pub fn parse(_der: &CertificateDer<'_>) -> Result<Self, Rejected> {
        unimplemented!()
    }

    #[must_use]
    pub fn claims_spiffe(&self) -> bool {
        unimplemented!()
    }

    pub fn spiffe_id(&self) -> Result<SpiffeId, Rejected> {
        unimplemented!()
    }

    #[must_use]
    pub fn subject_cn(&self) -> Option<&str> {
        unimplemented!()
    }

    #[must_use]
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    #[must_use]
    pub fn not_before(&self) -> Timestamp {
        unimplemented!()
    }

    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        unimplemented!()
    }
}
