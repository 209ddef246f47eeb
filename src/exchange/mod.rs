//! The token service, free of HTTP: a credential is exchanged for a token of our own, which names what it is
//! for and lives for a session. It decides nothing that is not decided again at each use: a token never
//! carries a right, only the credential that it stands for and the scope that it was asked for.
//!
//! <https://distribution.github.io/distribution/spec/auth/token/>,
//! <https://distribution.github.io/distribution/spec/auth/oauth/>, RFC 6749, RFC 8693.

mod grant;
mod issue;
mod keys;
mod redeem;
mod ring;
mod store_id;

pub use grant::{Grant, GrantError, GrantRequest};
pub use issue::{Asked, Issued, NotIssued, Terms};
pub use keys::{InvalidKeys, SigningKeys};
pub use redeem::{NotRedeemed, redeem};
pub use store_id::store_id;

#[cfg(test)]
mod tests;

use crate::identity::Minted;
use crate::trust::minted::MintedRules;
use std::sync::Arc;

/// Issues tokens. Cheap to clone; outlives a reload of the configuration.
#[derive(Clone, Debug)]
pub struct Tokens {
    issuer: Arc<str>,
    keys: Arc<SigningKeys>,
}

impl Tokens {
    /// `store` is the store's id: tokens of another store are strangers.
    #[must_use]
    pub fn new(store: &str, keys: Arc<SigningKeys>) -> Self {
        Self {
            issuer: format!("urn:wharfinger:{store}").into(),
            keys,
        }
    }

    #[must_use]
    pub fn keys(&self) -> &Arc<SigningKeys> {
        &self.keys
    }

    /// The `iss` of its tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What an authenticator needs to accept its tokens.
    #[must_use]
    pub fn verification(&self, terms: &Terms) -> Minted {
        let rules = MintedRules {
            issuer: self.issuer.to_string(),
            service: terms.service.clone(),
            session_lifetime: terms.session_lifetime,
        };
        Minted {
            rules,
            keys: self.keys.authorities().clone(),
        }
    }
}
