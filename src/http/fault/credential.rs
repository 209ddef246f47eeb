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
                "the credential cannot be checked now: the key that could verify it is not known yet; try again",
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

/// What a client may know of why its credential is bad. What was expected and what was found stays in the
/// log, except for faults that the client's certificate has by itself, whatever this registry trusts.
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
        Refused::NotAToken => "the password is no token: present an OIDC ID token or a JWT-SVID",
        Refused::Password => "the name or the password is wrong",
        Refused::PasswordNotComparable => {
            "the password is longer than 72 bytes or has a NUL byte: it can be nobody's"
        }
        Refused::PasswordWithdrawn => "the password has changed: log in again",
        Refused::Revoked { .. } => "the credential is revoked",
        Refused::Jwt(_) => {
            "the token is not accepted: is it meant for this registry, and has it not expired?"
        }
        Refused::UnknownIssuer => "the token's issuer is not accepted here",
        Refused::UnknownTrustDomain => "the SPIFFE ID's trust domain is not accepted here",
        Refused::KindNotAccepted => "credentials of this kind are not accepted from there",
        Refused::Chain(_) => {
            "the client certificate is not accepted: is it issued by an authority of this registry, and has it not expired?"
        }
        Refused::Validation { .. } => {
            "the credential does not fulfil the conditions that are set for its issuer"
        }
        Refused::Mapping { .. }
        | Refused::EmptyUsername
        | Refused::UsernameTooLong { .. }
        | Refused::UsernameIsSpiffeId
        | Refused::UsernameIsAnIssuers { .. }
        | Refused::NoCommonName
        | Refused::NoAttribute
        | Refused::TooManyGroups { .. }
        | Refused::GroupTooLong { .. } => "the credential's claims do not yield an identity",
    }
}
