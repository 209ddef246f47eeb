//! A verified chain.

use super::X509Authorities;
use super::claims;
use super::leaf::Leaf;
use super::rejected::Rejected;
use super::remembered::RememberedChain;
use crate::clock::Timestamp;
use crate::spiffe_id::SpiffeId;
use crate::trust::{Generation, Held};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A chain that leads to an authority. Only verification makes one.
#[derive(Clone, Debug)]
pub struct VerifiedChain {
    spiffe_id: Option<SpiffeId>,
    claims: Arc<Map<String, Value>>,
    generation: Generation,
    valid_until: Timestamp,
    subject_dn: String,
    authority: String,
    key: String,
}

impl VerifiedChain {
    pub(super) fn new(
        leaf: &Leaf,
        spiffe_id: Option<SpiffeId>,
        view: &Held<X509Authorities>,
        checked: Checked,
    ) -> Result<Self, Rejected> {
        let Checked {
            valid_until,
            authority,
            key,
        } = checked;
        Ok(Self {
            claims: Arc::new(claims::whole(leaf, spiffe_id.as_ref())?),
            spiffe_id,
            generation: view.generation,
            valid_until,
            subject_dn: leaf.subject_dn().to_owned(),
            authority,
            key,
        })
    }

    /// Makes one from a remembered chain whose authority is still trusted.
    pub(super) fn again(
        remembered: &RememberedChain,
        spiffe_id: Option<SpiffeId>,
        view: &Held<X509Authorities>,
        valid_until: Timestamp,
    ) -> Self {
        let mut claims = remembered.claims.clone();
        claims.remove("spiffe");
        if let Some(id) = &spiffe_id {
            claims.insert("spiffe".into(), claims::spiffe(id));
        }
        let dn = claims
            .get("x509")
            .and_then(|x509| x509.pointer("/subject/dn"))
            .and_then(Value::as_str);
        Self {
            subject_dn: dn.unwrap_or_default().to_owned(),
            claims: Arc::new(claims),
            spiffe_id,
            generation: view.generation,
            valid_until,
            authority: remembered.authority.clone(),
            key: remembered.key.clone(),
        }
    }

    /// Returns what one of the registry's own tokens must contain to verify this chain again.
    #[must_use]
    pub fn remembered(&self) -> RememberedChain {
        let mut claims = (*self.claims).clone();
        claims.remove("spiffe");
        RememberedChain {
            authority: self.authority.clone(),
            key: self.key.clone(),
            claims,
        }
    }

    #[must_use]
    pub const fn spiffe_id(&self) -> Option<&SpiffeId> {
        self.spiffe_id.as_ref()
    }

    #[must_use]
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    pub(crate) fn shared_claims(&self) -> Arc<Map<String, Value>> {
        self.claims.clone()
    }

    /// Returns the fingerprint of the leaf's public key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the fingerprint of the authority's public key.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns the generation of the authorities that verified the chain.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// Returns the earliest of the expiries of the leaf, the intermediates used and the authority, and of the
    /// source's staleness bound.
    #[must_use]
    pub const fn valid_until(&self) -> Timestamp {
        self.valid_until
    }

    /// Returns the subject in the form of RFC 4514. It may be empty.
    #[must_use]
    pub fn subject_dn(&self) -> &str {
        &self.subject_dn
    }
}

/// Until when a chain is valid, and the fingerprints of the authority's key and of the leaf's key.
pub(super) struct Checked {
    pub(super) valid_until: Timestamp,
    pub(super) authority: String,
    pub(super) key: String,
}
