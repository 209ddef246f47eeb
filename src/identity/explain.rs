//! Explains to an operator which entries of the configuration a credential is tried by, and the result of
//! each. This never authenticates a request.

use super::authenticator::{Authenticator, Route};
use super::credential::Credential;
use super::grounds::Grounds;
use super::refusal::Reason;
use super::{CertificateEntry, Evidence, Failure, Identity, Peer, Presented};
use crate::clock::Timestamp;
use crate::secret::Secret;
use crate::trust::jwt::Unverified;

/// One entry, and its result if it were the only entry of its kind.
#[derive(Debug)]
pub struct Tried {
    pub entry: Entry,
    pub outcome: Result<Identity, Failure>,
}

/// An entry, identified by its index in its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    Issuer(usize),
    TrustDomain(usize),
    Certificate(usize),
}

impl Authenticator {
    /// Tries each entry that the credential is routed to, in order. The list is empty if no entry fits or if
    /// this kind of credential has no entries. The final result is that of [`Authenticator::authenticate`].
    pub async fn tried(&self, presented: &Presented<'_>, now: Timestamp) -> Vec<Tried> {
        match Credential::choose(presented) {
            Ok(Credential::Token(token)) => self.tried_by_token(&token, now).await,
            Ok(Credential::Certificate(peer)) => self.tried_by_certificate(peer, now),
            Ok(Credential::Anonymous | Credential::Password { .. }) | Err(_) => Vec::new(),
        }
    }

    async fn tried_by_token(&self, token: &Secret, now: Timestamp) -> Vec<Tried> {
        let Ok(token) = Unverified::parse(token.expose()) else {
            return Vec::new();
        };
        match self.route(&token) {
            Ok(Route::Oidc(entries)) => {
                let mut tried = Vec::new();
                for entry in entries {
                    let outcome = self
                        .oidc_identity(&token, &[entry], &mut Grounds::default(), now)
                        .await;
                    tried.extend(place(&self.issuers, entry).map(|at| attempt(Entry::Issuer(at), outcome)));
                }
                tried
            }
            Ok(Route::Svid(domain)) => {
                let outcome = self
                    .svid_identity(&token, domain, &mut Grounds::default(), now)
                    .await;
                place(&self.domains, domain)
                    .map(|at| attempt(Entry::TrustDomain(at), outcome))
                    .into_iter()
                    .collect()
            }
            Ok(Route::Minted(_) | Route::TokenServer(_)) | Err(_) => Vec::new(),
        }
    }

    fn tried_by_certificate(&self, peer: &Peer, now: Timestamp) -> Vec<Tried> {
        let Ok(leaf) = peer.leaf() else { return Vec::new() };
        if !self.is_svid(&leaf) {
            // Each entry gets its own leaf, because a leaf counts the signature checks spent on it.
            let one = |(at, entry): (usize, &CertificateEntry)| {
                let leaf = peer.leaf().ok()?;
                let outcome = self.plain_identity(
                    std::slice::from_ref(entry),
                    peer,
                    &leaf,
                    &mut Grounds::default(),
                    now,
                );
                Some(attempt(Entry::Certificate(at), outcome))
            };
            return self.certificates.iter().enumerate().filter_map(one).collect();
        }
        let domain = leaf
            .spiffe_id()
            .ok()
            .and_then(|id| self.domain(id.trust_domain()));
        let place = domain.and_then(|domain| place(&self.domains, domain));
        place
            .map(|at| {
                attempt(
                    Entry::TrustDomain(at),
                    self.x509_svid_identity(peer, &leaf, &mut Grounds::default(), now),
                )
            })
            .into_iter()
            .collect()
    }
}

fn attempt(entry: Entry, outcome: Result<Identity, Reason>) -> Tried {
    Tried {
        entry,
        outcome: outcome.map_err(|why| why.with(Evidence::default())),
    }
}

fn place<T>(list: &[T], wanted: &T) -> Option<usize> {
    list.iter().position(|one| std::ptr::eq(one, wanted))
}
