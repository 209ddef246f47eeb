//! X.509-SVIDs.

use super::Authenticator;
use crate::clock::Timestamp;
use crate::identity::grounds::Grounds;
use crate::identity::refusal::Reason;
use crate::identity::{CredentialType, Identity, Peer, Principal, Refused};
use crate::trust::x509::{self, Leaf, RememberedChain};
use std::sync::Arc;

impl Authenticator {
    pub(in crate::identity) fn x509_svid_identity(
        &self,
        peer: &Peer,
        leaf: &Leaf,
        grounds: &mut Grounds,
        now: Timestamp,
    ) -> Result<Identity, Reason> {
        let id = leaf.spiffe_id().map_err(Refused::Chain)?;
        let domain = self
            .domain(id.trust_domain())
            .ok_or(Refused::UnknownTrustDomain)?;
        let authorities = domain.x509.as_ref().ok_or(Refused::KindNotAccepted)?;
        grounds.rest_on(authorities, now);
        let chain = peer.svid(leaf, authorities, grounds, now)?;
        // Verification has compared this ID with the leaf's. A chain without a SPIFFE ID does not belong to
        // an SVID.
        let principal = Principal::Spiffe(chain.spiffe_id().ok_or(Refused::UnknownTrustDomain)?.clone());
        let identity = self.proved_chain(
            chain,
            leaf.subject_cn(),
            CredentialType::X509Svid,
            principal,
            &domain.mapping,
        )?;
        Ok(self.in_own_namespace(None, Some(&domain.mapping), identity)?)
    }

    pub(super) fn x509_svid_again(
        &self,
        chain: &RememberedChain,
        grounds: &mut Grounds,
        now: Timestamp,
    ) -> Result<Identity, Reason> {
        let id = chain.spiffe_id().ok_or(Refused::UnknownTrustDomain)?;
        let domain = self
            .domain(id.trust_domain())
            .ok_or(Refused::UnknownTrustDomain)?;
        let authorities = domain.x509.as_ref().ok_or(Refused::KindNotAccepted)?;
        grounds.rest_on(authorities, now);
        let view = authorities.view(now).map_err(Reason::Undecidable)?;
        let verified = Arc::new(x509::reverify_svid(chain, &view, now).map_err(Refused::Chain)?);
        let identity = self.proved_chain(
            verified,
            chain.subject_cn(),
            CredentialType::X509Svid,
            Principal::Spiffe(id),
            &domain.mapping,
        )?;
        Ok(self.in_own_namespace(None, Some(&domain.mapping), identity)?)
    }
}
