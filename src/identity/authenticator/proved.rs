//! From a verified credential to an identity: first the deny list, then the mapping.

use super::Authenticator;
use crate::identity::deny::Proved;
use crate::identity::identity::Proof;
use crate::identity::mapping::Verified;
use crate::identity::{CredentialType, Identity, Mapping, Principal, Refused, Scope};
use crate::trust::jwt::{self, VerifiedJwt};
use crate::trust::x509::VerifiedChain;
use std::sync::Arc;

impl Authenticator {
    /// `entry` is the name of the entry that accepted an ID token. `audiences` and `hosts` are the configured
    /// audiences and the registry's own host names, which are audiences too.
    pub(super) fn proved_token(
        &self,
        verified: &Arc<VerifiedJwt>,
        entry: Option<&str>,
        credential: CredentialType,
        mapping: &Mapping,
        (audiences, hosts): (&[String], &[String]),
    ) -> Result<Identity, Refused> {
        let spiffe_id = verified.spiffe_id();
        self.deny.check(Proved::Token {
            claims: verified.claims(),
            entry,
            spiffe_id,
            key: verified.key(),
        })?;
        let mapped = mapping.map(&Verified {
            credential,
            entry,
            claims: verified.claims(),
            spiffe_id,
            common_name: None,
        })?;
        let oidc = || Principal::Oidc {
            issuer: verified.issuer().unwrap_or_default().into(),
            entry: entry.map(Into::into),
            subject: verified.subject().into(),
        };
        let cap = jwt::audience_cap(verified.claims(), audiences, hosts);
        let cap = cap.map(|names| {
            Arc::new(
                names
                    .into_iter()
                    .map(Scope::repository)
                    .fold(Scope::default(), Scope::or),
            )
        });
        Ok(Identity {
            cap,
            username: mapped.username,
            groups: mapped.groups,
            principal: spiffe_id.map_or_else(oidc, |id| Principal::Spiffe(id.clone())),
            credential,
            claims: verified.shared_claims(),
            valid_until: verified.valid_until(),
            proof: Proof::Jwt(verified.clone()),
            ..Identity::anonymous()
        })
    }

    pub(super) fn proved_chain(
        &self,
        chain: Arc<VerifiedChain>,
        common_name: Option<&str>,
        credential: CredentialType,
        principal: Principal,
        mapping: &Mapping,
    ) -> Result<Identity, Refused> {
        let claims = chain.claims();
        let spiffe_id = chain.spiffe_id();
        self.deny.check(Proved::Chain {
            claims,
            spiffe_id,
            key: chain.key(),
            authority: chain.authority(),
        })?;
        let mapped = mapping.map(&Verified {
            credential,
            entry: None,
            claims,
            spiffe_id,
            common_name,
        })?;
        Ok(Identity {
            username: mapped.username,
            groups: mapped.groups,
            principal,
            credential,
            claims: chain.shared_claims(),
            valid_until: chain.valid_until(),
            proof: Proof::Chain(chain),
            ..Identity::anonymous()
        })
    }
}
