//! From a grant to the identity that it proves.

use super::Grant;
use crate::clock::Timestamp;
use crate::identity::{Authenticator, CredentialType, Failure, Identity, Presented};
use serde_json::Value;

/// Who posted this. Only [`Grant::ClientCredentials`] looks at what the request itself presents: what a form
/// carries counts for itself, and the header beside it may be meant for somebody else's token service.
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

/// A workload's `client_id` is its SPIFFE ID.
fn is_named(identity: &Identity, client_id: Option<&str>) -> bool {
    client_id.is_none_or(|client_id| identity.spiffe_id().is_none_or(|id| client_id == id.as_str()))
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NotRedeemed {
    /// What was granted does not count.
    #[error(transparent)]
    Grant(#[from] Failure),
    /// The client does not prove who it is.
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
