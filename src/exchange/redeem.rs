//! From a grant to an identity.

use super::Grant;
use crate::clock::Timestamp;
use crate::identity::{Authenticator, CredentialType, Failure, Identity, Presented};
use serde_json::Value;

/// Authenticates a grant. Only [`Grant::ClientCredentials`] uses the credential of the request itself. For
/// the other grants the form is enough, and the request's header may be meant for another token service.
pub async fn redeem(
    grant: &Grant,
    authenticator: &Authenticator,
    presented: &Presented<'_>,
    now: Timestamp,
) -> Result<Identity, NotRedeemed> {
    let from = presented.address;
    match grant {
        Grant::Password { user, password } => Ok(authenticator
            .authenticate_password(user, password, from, now)
            .await?),
        Grant::RefreshToken(token) => Ok(authenticator.authenticate_refresh(token, from, now).await?),
        Grant::TokenExchange { subject } => Ok(authenticator.authenticate_token(subject, from, now).await?),
        Grant::ClientCredentials { client_id } => {
            let identity = authenticator
                .authenticate(presented, now)
                .await
                .map_err(NotRedeemed::Client)?;
            if identity.is_anonymous() {
                return Err(NotRedeemed::NoClient);
            }
            if is_named(&identity, client_id.as_deref()) {
                Ok(identity)
            } else {
                Err(NotRedeemed::ClientId)
            }
        }
        Grant::ClientAssertion { client_id, assertion } => {
            let identity = authenticator
                .authenticate_token(assertion, from, now)
                .await
                .map_err(NotRedeemed::Client)?;
            if identity.credential() != CredentialType::JwtSvid || identity.session().is_some() {
                return Err(NotRedeemed::NoJwtSvid);
            }
            match identity
                .claims()
                .get("aud")
                .and_then(Value::as_array)
                .map_or(0, Vec::len)
            {
                1 if is_named(&identity, client_id.as_deref()) => Ok(identity),
                1 => Err(NotRedeemed::ClientId),
                found => Err(NotRedeemed::SeveralAudiences { found }),
            }
        }
    }
}

/// Whether `client_id` is the identity's SPIFFE ID. It is not compared without a SPIFFE ID.
fn is_named(identity: &Identity, client_id: Option<&str>) -> bool {
    client_id.is_none_or(|client_id| identity.spiffe_id().is_none_or(|id| client_id == id.as_str()))
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NotRedeemed {
    /// The grant's credential is rejected.
    #[error(transparent)]
    Grant(#[from] Failure),
    /// The client's own credential is rejected.
    #[error(transparent)]
    Client(Failure),
    #[error("client_credentials needs a client certificate on this connection, or a client_assertion")]
    NoClient,
    #[error("the client_assertion must be a JWT-SVID")]
    NoJwtSvid,
    #[error(
        "the client_assertion must be for one audience, found {found}: each other audience could replay it here"
    )]
    SeveralAudiences { found: usize },
    #[error("client_id must be the SPIFFE ID of the credential, or be left out")]
    ClientId,
}
