//! Client certificates that are not X.509-SVIDs.

use super::{Authenticator, CertificateEntry};
use crate::clock::Timestamp;
use crate::identity::grounds::Grounds;
use crate::identity::peer::Verdict;
use crate::identity::refusal::Reason;
use crate::identity::{CredentialType, Identity, Peer, Principal, Refused};
use crate::trust::x509::{self, Leaf, RememberedChain, VerifiedChain};
use serde_json::Value;
use std::sync::Arc;

impl Authenticator {
    /// Tries each entry in order, since a plain certificate does not say which entry it is for. An entry
    /// whose authorities are unavailable ends the search: the identity must not depend on which authorities
    /// happen to be loaded.
    pub(in crate::identity) fn plain_identity(
        &self,
        entries: &[CertificateEntry],
        peer: &Peer,
        leaf: &Leaf,
        grounds: &mut Grounds,
        now: Timestamp,
    ) -> Result<Identity, Reason> {
        let mut untrusted = None;
        let mut invalid = None;
        // A certificate with a SPIFFE URI is tried only by entries that take usernames from URIs.
        let wanted = |entry: &&CertificateEntry| !leaf.claims_spiffe() || entry.mapping.names_uris();
        for entry in entries.iter().filter(wanted) {
            grounds.rest_on(&entry.authorities, now);
            let chain = match peer.plain(leaf, &entry.authorities, grounds, now) {
                Ok(chain) => chain,
                Err(Verdict::Rejected(why)) => {
                    untrusted.get_or_insert(Refused::Chain(why));
                    continue;
                }
                Err(undecidable) => return Err(undecidable.into()),
            };
            let principal = Principal::Certificate {
                entry: entry.name.clone(),
                subject: subject(&chain),
            };
            match self.proved_chain(
                chain,
                leaf.subject_cn(),
                CredentialType::X509,
                principal,
                &entry.mapping,
            ) {
                Err(reason @ Refused::Validation { .. }) => _ = invalid.get_or_insert(reason),
                decided => return Ok(self.in_own_namespace(None, Some(&entry.mapping), decided?)?),
            }
        }
        Err(invalid.or(untrusted).unwrap_or(Refused::KindNotAccepted).into())
    }

    pub(super) fn plain_again(
        &self,
        entry: &str,
        chain: &RememberedChain,
        grounds: &mut Grounds,
        now: Timestamp,
    ) -> Result<Identity, Reason> {
        let entry = self
            .certificates
            .iter()
            .find(|one| one.name == entry)
            .ok_or(Refused::KindNotAccepted)?;
        let is_an_svids = self
            .domains
            .iter()
            .any(|domain| chain.claims_trust_domain(&domain.rules.trust_domain));
        if is_an_svids || (chain.claims_spiffe() && !entry.mapping.names_uris()) {
            return Err(Refused::KindNotAccepted.into());
        }
        grounds.rest_on(&entry.authorities, now);
        let view = entry.authorities.view(now).map_err(Reason::Undecidable)?;
        let verified = Arc::new(x509::reverify_plain(chain, &view, now).map_err(Refused::Chain)?);
        let principal = Principal::Certificate {
            entry: entry.name.clone(),
            subject: subject(&verified),
        };
        let identity = self.proved_chain(
            verified,
            chain.subject_cn(),
            CredentialType::X509,
            principal,
            &entry.mapping,
        )?;
        Ok(self.in_own_namespace(None, Some(&entry.mapping), identity)?)
    }
}

/// Returns the subject's DN, or the certificate's digest if the DN is empty.
fn subject(chain: &VerifiedChain) -> String {
    let digest = || {
        chain
            .claims()
            .get("x509")
            .and_then(|x509| x509.get("sha256"))
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    if chain.subject_dn().is_empty() {
        format!("sha256:{}", digest())
    } else {
        chain.subject_dn().to_owned()
    }
}
