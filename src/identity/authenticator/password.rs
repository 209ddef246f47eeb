//! Names and passwords of the password file.

use super::Authenticator;
use crate::identity::deny::Proved;
use crate::identity::htpasswd::{Attempt, NoMatch};
use crate::identity::refusal::shown;
use crate::identity::{Busy, CredentialType, Evidence, Failure, Identity, Refused, SourceAddress};
use crate::secret::Secret;
use std::net::IpAddr;
use std::time::Duration;

impl Authenticator {
    /// Verifies a name and a password by the password file.
    pub(super) async fn password_identity(
        &self,
        user: &str,
        password: Secret,
        from: Option<IpAddr>,
    ) -> Result<Identity, Failure> {
        let Some(passwords) = &self.passwords else {
            return Err(Evidence::default().refused(Refused::NotAToken));
        };
        let evidence = || Evidence {
            credential: Some(CredentialType::Htpasswd),
            subject: Some(shown(user)),
            ..Evidence::default()
        };
        let source = from.map_or(SourceAddress::UNKNOWN, SourceAddress::of);
        let fail_delay = self.fail_delay;
        let busy = |why| Failure::Busy {
            why,
            evidence: evidence(),
        };
        let identity = passwords
            .check(Attempt {
                user,
                password,
                source,
                fail_delay,
            })
            .await
            .map_err(|why| match why {
                NoMatch::Wrong => evidence().refused(Refused::Password),
                NoMatch::NotComparable => evidence().refused(Refused::PasswordNotComparable),
                NoMatch::SourceBusy => busy(Busy::Source {
                    retry: fail_delay.max(SOON),
                }),
                NoMatch::Busy => busy(Busy::Everyone),
            })?;
        let accepted = self
            .deny
            .check(Proved::Password { user })
            .and_then(|()| self.in_own_namespace(None, None, identity));
        accepted.map_err(|reason| evidence().refused(reason))
    }
}

/// The shortest `Retry-After` for an address that has too many attempts.
const SOON: Duration = Duration::from_secs(1);
