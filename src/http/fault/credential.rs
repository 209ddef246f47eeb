//! Credentials that are bad, or that cannot be checked now.

use super::{ChallengeError, Fault, RETRY_SECONDS};
use crate::identity::{self, Busy, Refused};
use crate::oci::ErrorCode;
use http::StatusCode;
use http::header::RETRY_AFTER;
use std::borrow::Cow;

impl From<identity::Failure> for Fault {
    fn from(failure: identity::Failure) -> Self {
        match failure {
            identity::Failure::Refused(refusal) => Self {
                challenge: Some(ChallengeError::InvalidToken),
                ..Self::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, refused(&refusal.reason)).log(&refusal.reason)
            },
            identity::Failure::Undecidable { why, .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                None,
                "the credential cannot be verified now, because the registry does not have the keys for it yet: try again",
            )
            .log(why)
            .header(RETRY_AFTER, RETRY_SECONDS),
            identity::Failure::Busy { why: why @ Busy::Everyone, .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, None, "too many passwords are being checked: try again")
                    .log(why)
                    .header(RETRY_AFTER, RETRY_SECONDS)
            }
            identity::Failure::Busy { why: why @ Busy::Source { retry }, .. } => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                ErrorCode::TooManyRequests,
                "too many passwords from this address are being checked or were wrong: try again later",
            )
            .log(why)
            .header(RETRY_AFTER, &retry.as_secs().to_string()),
        }
    }
}

/// What a client learns about its bad credential. What the registry expected and found stays in the log. The
/// exception is a fault that the client's certificate has whatever this registry trusts.
fn refused(reason: &Refused) -> Cow<'static, str> {
    match reason {
        Refused::Chain(why) if why.is_of_the_certificate_alone() => why.to_string().into(),
        reason => summary(reason).into(),
    }
}

const fn summary(reason: &Refused) -> &'static str {
    match reason {
        Refused::SeveralAuthorizationHeaders => "the request has several Authorization headers: send one",
        Refused::Scheme => {
            "the Authorization header is neither Bearer nor Basic with a token as its password"
        }
        Refused::MalformedBasic => "the Authorization header is not base64 of user:password",
        Refused::NotAToken => "the password is not a token: present an OIDC ID token or a JWT-SVID",
        Refused::Password => "the name or the password is wrong",
        Refused::PasswordNotComparable => {
            "the password is longer than 72 bytes or has a NUL byte: no password here can match it"
        }
        Refused::PasswordWithdrawn => "the password has changed: log in again",
        Refused::Revoked { .. } => "the credential is revoked",
        Refused::Jwt(_) => {
            "the token is not accepted: check that it is meant for this registry and has not expired"
        }
        Refused::UnknownIssuer => "the token's issuer is not accepted here",
        Refused::UnknownTrustDomain => "the SPIFFE ID's trust domain is not accepted here",
        Refused::KindNotAccepted => {
            "credentials of this kind are not accepted from its issuer or trust domain"
        }
        Refused::Chain(_) => {
            "the client certificate is not accepted: check that an authority which this registry trusts issued it, and that it has not expired"
        }
        Refused::Validation { .. } => {
            "the credential does not meet the conditions that are configured for its issuer"
        }
        Refused::Mapping { .. }
        | Refused::EmptyUsername
        | Refused::UsernameTooLong { .. }
        | Refused::UsernameIsSpiffeId
        | Refused::UsernameIsAnIssuers { .. }
        | Refused::NoCommonName
        | Refused::NoAttribute
        | Refused::TooManyGroups { .. }
        | Refused::GroupTooLong { .. } => "the credential's claims cannot be mapped to an identity",
    }
}
