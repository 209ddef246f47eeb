//! Tokens of an external token server, which zot configures with `bearer.realm`, `service` and `cert`. Such a
//! token lists what its bearer may do. An action is allowed only if access control grants it to the token's
//! subject too.
//!
//! <https://distribution.github.io/distribution/spec/auth/jwt/>

use crate::clock::Timestamp;
use crate::identity::deny::{DenyList, Proved};
use crate::identity::refusal::Reason;
use crate::identity::{CredentialType, Identity, Principal, Scope};
use crate::trust::Authorities;
use crate::trust::jwks::KeySet;
use crate::trust::jwt::{self, TokenServerRules, Unverified};
use std::sync::Arc;

/// The one external token server.
#[derive(Clone, Debug)]
pub struct TokenServer {
    pub rules: TokenServerRules,
    pub keys: Arc<Authorities<KeySet>>,
}

impl TokenServer {
    /// Returns the identity that the token names. A token without a subject is for an anonymous caller.
    pub(super) fn identity(
        &self,
        token: &Unverified,
        deny: &DenyList,
        now: Timestamp,
    ) -> Result<Identity, Reason> {
        let verified = jwt::verify_token_server(token, &self.rules, &self.keys, now)?;
        deny.check(Proved::Token {
            claims: verified.claims(),
            entry: None,
            spiffe_id: None,
            key: verified.key(),
        })?;
        let scope = Some(Arc::new(Scope::granted(verified.access())));
        let anonymous = Identity {
            scope,
            valid_until: verified.valid_until(),
            ..Identity::anonymous()
        };
        if verified.subject().is_empty() {
            return Ok(anonymous);
        }
        let issuer = verified.issuer().to_owned();
        let subject = verified.subject().to_owned();
        Ok(Identity {
            username: subject.clone(),
            principal: Principal::TokenServer { issuer, subject },
            credential: CredentialType::TokenServer,
            claims: Arc::new(verified.into_claims()),
            ..anonymous
        })
    }
}
