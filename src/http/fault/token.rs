//! Errors of the token endpoint. Clients that ask for tokens also read the words of RFC 6749, 5.2.

use super::{ChallengeError, Fault};
use crate::exchange::{GrantError, NotIssued, NotRedeemed};
use crate::limits::FORM_BYTES;
use crate::oci::ErrorCode;
use http::StatusCode;

impl Fault {
    pub(in crate::http) fn oauth(self, error: &'static str) -> Self {
        Self {
            oauth: Some(error),
            ..self
        }
    }

    /// Marks the client's own credential as bad. One that cannot be checked now is not bad.
    pub(in crate::http) fn bad_client(self) -> Self {
        if self.status == StatusCode::UNAUTHORIZED {
            self.oauth("invalid_client")
        } else {
            self
        }
    }

    /// Adds the error code of RFC 6749, 5.2, if there is none yet.
    pub(in crate::http) fn for_token_clients(self) -> Self {
        let error = self.oauth.unwrap_or(match self.status {
            StatusCode::UNAUTHORIZED => "invalid_grant",
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => "temporarily_unavailable",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request",
        });
        self.oauth(error)
    }

    pub(in crate::http) fn other_service(ours: &str) -> Self {
        let message = format!(
            "tokens are issued only for the service {ours}: leave `service` out, or copy it from the challenge"
        );
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::Unsupported, message)
    }

    /// RFC 8693 2.2.2.
    pub(in crate::http) fn invalid_target() -> Self {
        let message = "audience and resource must name this registry: its service, or its address";
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::Unsupported, message).oauth("invalid_target")
    }

    pub(in crate::http) fn form_too_large() -> Self {
        let message = format!("the form has more than {FORM_BYTES} bytes");
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::Unsupported, message)
    }
}

impl From<GrantError> for Fault {
    fn from(error: GrantError) -> Self {
        let (status, oauth) = match &error {
            GrantError::UnsupportedGrantType => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
            GrantError::AssertionType => (StatusCode::UNAUTHORIZED, "invalid_client"),
            GrantError::NoGrantType
            | GrantError::Missing { .. }
            | GrantError::Repeated { .. }
            | GrantError::SubjectTokenType
            | GrantError::RequestedTokenType
            | GrantError::ActorToken => (StatusCode::BAD_REQUEST, "invalid_request"),
        };
        let code = if status == StatusCode::UNAUTHORIZED {
            ErrorCode::Unauthorized
        } else {
            ErrorCode::Unsupported
        };
        Self::new(status, code, error.to_string()).oauth(oauth)
    }
}

impl From<NotRedeemed> for Fault {
    fn from(why: NotRedeemed) -> Self {
        match why {
            NotRedeemed::Grant(failure) => failure.into(),
            NotRedeemed::Client(failure) => Self::from(failure).bad_client(),
            NotRedeemed::NoClient
            | NotRedeemed::NoJwtSvid
            | NotRedeemed::SeveralAudiences { .. }
            | NotRedeemed::ClientId => {
                Self::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, why.to_string())
                    .oauth("invalid_client")
            }
        }
    }
}

impl From<NotIssued> for Fault {
    fn from(why: NotIssued) -> Self {
        let bad_request =
            |why: NotIssued| Self::new(StatusCode::BAD_REQUEST, ErrorCode::Unsupported, why.to_string());
        match why {
            NotIssued::Anonymous => Self::unauthenticated(),
            NotIssued::Expired => Self {
                challenge: Some(ChallengeError::InvalidToken),
                ..Self::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, why.to_string())
            },
            NotIssued::NotExchanged => bad_request(why).oauth("invalid_grant"),
            NotIssued::TooLarge { .. } => bad_request(why),
            NotIssued::TooManyScopes => bad_request(why).oauth("invalid_scope"),
            NotIssued::Keys(why) => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                None,
                "no token can be signed: the registry's log has the reason",
            )
            .log(why),
        }
    }
}
