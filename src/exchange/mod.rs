//! The token service, without HTTP. A credential is exchanged for one of the registry's own tokens, which has
//! a scope and lives for a session. A token grants no rights by itself: it contains the original credential's
//! claims and the scope, and access is decided again at each use.
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

use crate::clock::Clock;
use crate::identity::Minted;
use crate::trust::minted::MintedRules;
use std::sync::Arc;

/// Issues tokens. Cheap to clone. It stays in use across reloads of the configuration.
#[derive(Clone, Debug)]
pub struct Tokens {
    issuer: Arc<str>,
    keys: Arc<SigningKeys>,
    /// What dates the tokens, if other registries sign tokens for the same store.
    clock: Option<Clock>,
}

impl Tokens {
    /// `store` is the store's id. Tokens of another store are not accepted.
    #[must_use]
    pub fn new(store: &str, keys: Arc<SigningKeys>) -> Self {
        Self {
            issuer: format!("urn:wharfinger:{store}").into(),
            keys,
            clock: None,
        }
    }

    /// Other registries sign tokens for the same store. All of them use this clock for their tokens, so a wrong
    /// clock of one machine does not matter.
    #[must_use]
    pub fn shared(self, clock: Option<Clock>) -> Self {
        Self { clock, ..self }
    }

    #[must_use]
    pub fn keys(&self) -> &Arc<SigningKeys> {
        &self.keys
    }

    /// Returns the `iss` of its tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns what an authenticator needs to accept its tokens.
    #[must_use]
    pub fn verification(&self, terms: &Terms) -> Minted {
        let rules = MintedRules {
            issuer: self.issuer.to_string(),
            service: terms.service.clone(),
            session_lifetime: terms.session_lifetime,
            shared: self.clock.is_some(),
        };
        Minted {
            rules,
            keys: self.keys.authorities().clone(),
            clock: self.clock.clone(),
        }
    }
}
