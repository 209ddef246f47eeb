//! Which entries of the configuration a credential is routed to, and each one's own word, for people who ask
//! why. Nobody is identified by it.

use super::authenticator::{Authenticator, Route};
use super::credential::Credential;
use super::grounds::Grounds;
use super::refusal::Reason;
use super::{CertificateEntry, Evidence, Failure, Identity, Peer, Presented};
use crate::clock::Timestamp;
use crate::secret::Secret;
use crate::trust::jwt::Unverified;

/// One entry and what it says, as if it were the only one of its kind.
#[derive(Debug)]
pub struct Tried {
    pub entry: Entry,
    pub outcome: Result<Identity, Failure>,
}

/// An entry, by its place in its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    Issuer(usize),
    TrustDomain(usize),
    Certificate(usize),
}

impl Authenticator {
    /// The entries that are asked about this credential, in their order. None if it names nobody's, or is of
    /// a kind that has no entries. What counts in the end is [`Authenticator::authenticate`]'s word.
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
                    tried.extend(place(&self.issuers, entry).map(|at| told(Entry::Issuer(at), outcome)));
                }
                tried
            }
            Ok(Route::Svid(domain)) => {
                let outcome = self
                    .svid_identity(&token, domain, &mut Grounds::default(), now)
                    .await;
                place(&self.domains, domain)
                    .map(|at| told(Entry::TrustDomain(at), outcome))
                    .into_iter()
                    .collect()
            }
            Ok(Route::Minted(_) | Route::TokenServer(_)) | Err(_) => Vec::new(),
        }
    }

    fn tried_by_certificate(&self, peer: &Peer, now: Timestamp) -> Vec<Tried> {
        let Ok(leaf) = peer.leaf() else { return Vec::new() };
        if !self.is_svid(&leaf) {
            // Each with a leaf of its own, since a leaf counts what its judgements cost.
            let one = |(at, entry): (usize, &CertificateEntry)| {
                let leaf = peer.leaf().ok()?;
                let outcome = self.plain_identity(
                    std::slice::from_ref(entry),
                    peer,
                    &leaf,
                    &mut Grounds::default(),
                    now,
                );
                Some(told(Entry::Certificate(at), outcome))
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
                told(
                    Entry::TrustDomain(at),
                    self.x509_svid_identity(peer, &leaf, &mut Grounds::default(), now),
                )
            })
            .into_iter()
            .collect()
    }
}

fn told(entry: Entry, outcome: Result<Identity, Reason>) -> Tried {
    Tried {
        entry,
        outcome: outcome.map_err(|why| why.with(Evidence::default())),
    }
}

fn place<T>(list: &[T], wanted: &T) -> Option<usize> {
    list.iter().position(|one| std::ptr::eq(one, wanted))
}
