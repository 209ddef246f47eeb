//! JWT-SVIDs.

use super::{Authenticator, Domain};
use crate::clock::Timestamp;
use crate::identity::grounds::Grounds;
use crate::identity::refusal::Reason;
use crate::identity::{CredentialType, Identity, Refused};
use crate::trust::jwt::{self, Bearer, Remembered, Unverified, VerifiedJwt};
use std::sync::Arc;

impl Authenticator {
    pub(in crate::identity) async fn svid_identity(
        &self,
        token: &Unverified,
        domain: &Domain,
        grounds: &mut Grounds,
        now: Timestamp,
    ) -> Result<Identity, Reason> {
        let keys = domain.jwt.as_ref().ok_or(Refused::KindNotAccepted)?;
        grounds.rest_on(keys, now);
        let verified = Arc::new(jwt::verify_svid(token, &domain.rules, keys, now).await?);
        self.of_jwt_svid(&verified, domain)
    }

    pub(super) async fn jwt_svid_again(
        &self,
        token: &Remembered,
        bearer: Bearer,
        grounds: &mut Grounds,
        now: Timestamp,
    ) -> Result<Identity, Reason> {
        let id = token.spiffe_id().ok_or(Refused::UnknownTrustDomain)?;
        let domain = self
            .domain(id.trust_domain())
            .ok_or(Refused::UnknownTrustDomain)?;
        let keys = domain.jwt.as_ref().ok_or(Refused::KindNotAccepted)?;
        grounds.rest_on(keys, now);
        let verified = Arc::new(jwt::reverify_svid(token, bearer, &domain.rules, keys, now).await?);
        self.of_jwt_svid(&verified, domain)
    }

    fn of_jwt_svid(&self, verified: &Arc<VerifiedJwt>, domain: &Domain) -> Result<Identity, Reason> {
        let audiences = &domain.rules.audiences;
        let hosts = &domain.rules.hosts;
        let identity = self.proved_token(
            verified,
            None,
            CredentialType::JwtSvid,
            &domain.mapping,
            (audiences, hosts),
        )?;
        Ok(self.in_own_namespace(None, Some(&domain.mapping), identity)?)
    }
}
