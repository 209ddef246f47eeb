//! The registry's own tokens. Such a token stands for the credential that was exchanged for it, and that
//! credential is verified again at each use: its issuer or trust domain must still be configured, the key or
//! authority that verified it must still be trusted, and the mapping is applied again. Only the expiry is the
//! session's.

use super::Authenticator;
use crate::clock::{Clock, Timestamp};
use crate::identity::deny::Proved;
use crate::identity::grounds::Grounds;
use crate::identity::refusal::Reason;
use crate::identity::{Identity, Refused, Scope, Session};
use crate::trust::Authorities;
use crate::trust::jwks::KeySet;
use crate::trust::jwt::{Bearer, Unverified};
use crate::trust::minted::{self, Kind, MintedRules, Source, Times};
use std::sync::Arc;

/// How the registry's own tokens are verified.
#[derive(Clone, Debug)]
pub struct Minted {
    pub rules: MintedRules,
    pub keys: Arc<Authorities<KeySet>>,
    /// What dates the tokens, if it is not this machine's clock.
    pub clock: Option<Clock>,
}

impl Minted {
    fn times(&self, own: Timestamp) -> Times {
        Times {
            own,
            tokens: self.clock.as_ref().map_or(own, Clock::now),
        }
    }
}

impl Authenticator {
    pub(super) async fn minted_identity(
        &self,
        token: &Unverified,
        kind: Kind,
        minted: &Minted,
        grounds: &mut Grounds,
        now: Timestamp,
    ) -> Result<Identity, Reason> {
        grounds.rest_on(&minted.keys, now);
        let times = minted.times(now);
        let verified = minted::verify(token, kind, &minted.rules, &minted.keys, times)?;
        // Everything that follows uses this machine's clock. Without sessions, the original credential must not
        // have expired by it either.
        let here = now.plus(verified.expires().since(times.tokens));
        let expires = match minted.rules.session_lifetime.is_zero() {
            true => here.min(verified.expires()),
            false => here,
        };
        self.deny.check(Proved::Minted {
            id: verified.id(),
            session: verified.session(),
        })?;
        let bearer = Bearer {
            sender: token.sender(),
            expires,
        };
        let identity = match verified.source() {
            None => Identity::anonymous(),
            Some(Source::Oidc { entry, token }) => {
                self.oidc_again(entry.as_deref(), token, bearer, grounds, now)
                    .await?
            }
            Some(Source::JwtSvid(token)) => self.jwt_svid_again(token, bearer, grounds, now).await?,
            Some(Source::X509Svid(chain)) => self.x509_svid_again(chain, grounds, now)?,
            Some(Source::X509 { entry, chain }) => self.plain_again(entry, chain, grounds, now)?,
            Some(Source::Htpasswd { user, fingerprint }) => {
                let passwords = self.passwords.as_ref().ok_or(Refused::KindNotAccepted)?;
                grounds.rest_on(passwords, now);
                let identity = passwords
                    .again(user, fingerprint)
                    .ok_or(Refused::PasswordWithdrawn)?;
                self.deny.check(Proved::Password { user })?;
                self.in_own_namespace(None, None, identity)?
            }
        };
        let scope = verified.access().map(|access| Arc::new(Scope::granted(access)));
        let token = verified.id().to_owned();
        let first = verified.session().to_owned();
        let session = Session {
            began: verified.began(),
            ends: verified.expires(),
            token,
            first,
        };
        let valid_until = identity.valid_until.min(expires);
        Ok(Identity {
            scope,
            session: Some(session),
            valid_until,
            ..identity
        })
    }
}
