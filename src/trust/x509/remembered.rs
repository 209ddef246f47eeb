//! The part of a verified chain that one of the registry's own tokens contains.

use super::uri_names;
use crate::clock::Timestamp;
use crate::spiffe_id::{SpiffeId, TrustDomain};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// A verified chain without its certificates. It is trusted only inside a token that the registry signed
/// itself.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct RememberedChain {
    /// The fingerprint of the authority's public key.
    pub(super) authority: String,
    /// The fingerprint of the leaf's public key.
    pub(super) key: String,
    pub(super) claims: Map<String, Value>,
}

impl RememberedChain {
    /// Returns the SPIFFE ID, if the leaf was an X.509-SVID.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<SpiffeId> {
        self.claims.get("sub").and_then(Value::as_str)?.parse().ok()
    }

    /// Returns the last common name of the subject.
    #[must_use]
    pub fn subject_cn(&self) -> Option<&str> {
        self.claims.get("x509")?.get("subject")?.get("cn")?.as_str()
    }

    /// As [`super::Leaf::claims_spiffe`] of the leaf.
    #[must_use]
    pub fn claims_spiffe(&self) -> bool {
        uri_names::claim_spiffe(self.uri_names())
    }

    /// As [`super::Leaf::claims_trust_domain`] of the leaf.
    #[must_use]
    pub fn claims_trust_domain(&self, name: &TrustDomain) -> bool {
        uri_names::claim_trust_domain(self.uri_names(), name)
    }

    fn uri_names(&self) -> impl Iterator<Item = &str> {
        let names = self
            .claims
            .get("x509")
            .and_then(|x509| x509.pointer("/san/uri"))
            .and_then(Value::as_array);
        names.into_iter().flatten().filter_map(Value::as_str)
    }

    pub(in crate::trust) fn expires(&self) -> Option<Timestamp> {
        self.claims
            .get("exp")
            .and_then(Value::as_i64)
            .map(Timestamp::from_secs)
    }
}

/// Does not show the claims.
impl fmt::Debug for RememberedChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RememberedChain")
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}
