//! Client certificates. A certificate is verified once for each connection, as an X.509-SVID or as a plain
//! certificate.

use super::Authenticator;
use crate::clock::Timestamp;
use crate::identity::grounds::Grounds;
use crate::identity::{CredentialType, Evidence, Failure, Identity, Peer, Refused};
use crate::trust::x509::Leaf;

impl Authenticator {
    pub(super) async fn certificate_identity(
        &self,
        peer: &Peer,
        now: Timestamp,
    ) -> Result<Identity, Failure> {
        if let Some(known) = peer.known_to(&self.itself, now) {
            return known;
        }
        let _verifying = peer.verifying().await;
        if let Some(known) = peer.known_to(&self.itself, now) {
            return known;
        }
        let mut grounds = Grounds::default();
        let found = self.verify_certificate(peer, &mut grounds, now);
        peer.keep(&self.itself, found.clone(), grounds, now);
        found
    }

    #[expect(clippy::result_large_err, reason = "made once a connection")]
    fn verify_certificate(
        &self,
        peer: &Peer,
        grounds: &mut Grounds,
        now: Timestamp,
    ) -> Result<Identity, Failure> {
        let leaf = peer
            .leaf()
            .map_err(|why| peer.evidence().refused(Refused::Chain(why)))?;
        let (identity, credential) = if self.is_svid(&leaf) {
            (
                self.x509_svid_identity(peer, &leaf, grounds, now),
                CredentialType::X509Svid,
            )
        } else {
            (
                self.plain_identity(&self.certificates, peer, &leaf, grounds, now),
                CredentialType::X509,
            )
        };
        identity.map_err(|why| {
            why.with(Evidence {
                credential: Some(credential),
                ..peer.evidence()
            })
        })
    }

    /// Whether to verify the certificate as an X.509-SVID: it has a URI name with the scheme `spiffe`. The
    /// exception is a URI outside the configured trust domains while a plain entry takes usernames from URIs.
    /// Only the names decide: a certificate that breaks a rule of SVIDs is an invalid SVID and is never tried
    /// as a plain certificate.
    pub(in crate::identity) fn is_svid(&self, leaf: &Leaf) -> bool {
        let known = || {
            self.domains
                .iter()
                .any(|domain| leaf.claims_trust_domain(&domain.rules.trust_domain))
        };
        leaf.claims_spiffe() && (known() || !self.certificates.iter().any(|entry| entry.mapping.names_uris()))
    }
}
