//! Tokens of an external token server, as zot's `bearer.realm`, `service` and `cert` set it up. Such a token
//! says itself what its bearer may do; it counts as far as access control grants it to its subject too.
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
    /// Whoever the token names. Without a subject it was issued to nobody in particular, who may do what the
    /// anonymous may.
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
        let nobody = Identity {
            scope,
            valid_until: verified.valid_until(),
            ..Identity::anonymous()
        };
        if verified.subject().is_empty() {
            return Ok(nobody);
        }
        let issuer = verified.issuer().to_owned();
        let subject = verified.subject().to_owned();
        Ok(Identity {
            username: subject.clone(),
            principal: Principal::TokenServer { issuer, subject },
            credential: CredentialType::TokenServer,
            claims: Arc::new(verified.into_claims()),
            ..nobody
        })
    }
}
