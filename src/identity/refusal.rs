//! Why a caller has no identity. There are two kinds: the credential was rejected ([`Failure::Refused`],
//! 401), or it could not be checked ([`Failure::Undecidable`] and [`Failure::Busy`], 503).

use super::CredentialType;
use crate::expr;
use crate::limits::{GROUPS, PASSWORD_BYTES, PASSWORDS_OF_NAME, PASSWORDS_OF_SOURCE, USERNAME_BYTES};
use crate::trust::{NoKeys, jwt, x509};
use std::fmt;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Refused(Refusal),
    #[error("{why}{evidence}")]
    Undecidable { why: NoKeys, evidence: Evidence },
    /// The password could not be checked in time.
    #[error("{why}{evidence}")]
    Busy { why: Busy, evidence: Evidence },
}

/// Why a password was not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    #[error(
        "the password was not checked: the queue is full; look for clients that guess passwords from many addresses"
    )]
    Everyone,
    /// The client may try again after `retry`.
    #[error(
        "the password was not checked: this client's address has {PASSWORDS_OF_SOURCE} attempts that wait or failed a moment ago, or {PASSWORDS_OF_NAME} for this username; look for a client there that guesses passwords or repeats a wrong one"
    )]
    Source { retry: Duration },
}

/// A rejected credential. The caller is then not treated as anonymous.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{reason}{evidence}")]
pub struct Refusal {
    pub reason: Refused,
    pub evidence: Evidence,
}

/// Why a credential was rejected. The [`Evidence`] identifies the credential.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    #[error("expected one Authorization header, found several; leave only one")]
    SeveralAuthorizationHeaders,
    #[error("expected the Authorization scheme Bearer, or Basic with a token as its password")]
    Scheme,
    #[error("expected base64 of user:password after Basic")]
    MalformedBasic,
    #[error(
        "the password is not a token: expected an ID token or a JWT-SVID as the password; any username works"
    )]
    NotAToken,
    /// The message does not reveal whether the name or the password is wrong.
    #[error("the password file has no such name and password")]
    Password,
    #[error(
        "expected a password of at most {PASSWORD_BYTES} bytes without a NUL byte: bcrypt ignores the rest; choose a shorter password"
    )]
    PasswordNotComparable,
    #[error(transparent)]
    Jwt(jwt::Rejected),
    #[error("the password file no longer has the entry behind this token; log in again")]
    PasswordWithdrawn,
    /// `rule` is as in `http.auth.deny[0] (htpasswd "ann")`.
    #[error("the operator revoked this credential: {rule}; remove that rule to accept it again")]
    Revoked { rule: String },
    #[error(
        "the token's issuer is not configured here; compare its `iss` with the configured issuers, byte for byte"
    )]
    UnknownIssuer,
    #[error(
        "the SPIFFE ID's trust domain is not configured here; use an identity of a configured one, or configure it"
    )]
    UnknownTrustDomain,
    #[error(
        "this issuer, trust domain or authority is not configured for this kind of credential; use another kind, or configure it"
    )]
    KindNotAccepted,
    #[error(transparent)]
    Chain(x509::Rejected),
    #[error("{message}")]
    Validation { message: String },
    /// `part` is as in `validations[1]`.
    #[error("the mapping's {part} failed on this credential's claims: {why}")]
    Mapping { part: String, why: expr::Failed },
    #[error("the mapping yields an empty username; change the mapping")]
    EmptyUsername,
    #[error("expected a username of at most {USERNAME_BYTES} bytes, found {bytes}")]
    UsernameTooLong { bytes: usize },
    #[error(
        "a username may begin with spiffe:// only if it is this credential's own SPIFFE ID; change the mapping"
    )]
    UsernameIsSpiffeId,
    #[error(
        "the username begins with {issuer}/, which is reserved for the subjects of that issuer; map another username, or set allowOtherIssuersUsernames in the mapping"
    )]
    UsernameIsAnIssuers { issuer: String },
    #[error("the certificate's subject has no common name; map a username from something else it has")]
    NoCommonName,
    #[error(
        "the certificate has none of the attributes that give a username here (http.auth.mtls); issue it with one of them"
    )]
    NoAttribute,
    #[error("expected at most {GROUPS} groups, found {found}; filter them in the mapping")]
    TooManyGroups { found: usize },
    #[error("expected groups of at most {USERNAME_BYTES} bytes, found {bytes}")]
    GroupTooLong { bytes: usize },
}

/// What is known about a credential, for the log. Values from the credential are shortened. It never contains
/// a token or a password.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    pub credential: Option<CredentialType>,
    pub issuer: Option<String>,
    pub key_id: Option<String>,
    pub subject: Option<String>,
    /// The serial number of a certificate.
    pub serial: Option<String>,
}

impl Evidence {
    pub(super) fn refused(self, reason: Refused) -> Failure {
        Failure::Refused(Refusal {
            reason,
            evidence: self,
        })
    }

    pub(super) fn undecidable(self, why: NoKeys) -> Failure {
        Failure::Undecidable { why, evidence: self }
    }
}

/// A [`Failure`] without its [`Evidence`].
pub(super) enum Reason {
    Refused(Refused),
    Undecidable(NoKeys),
}

impl Reason {
    pub(super) fn with(self, evidence: Evidence) -> Failure {
        match self {
            Self::Refused(reason) => evidence.refused(reason),
            Self::Undecidable(why) => evidence.undecidable(why),
        }
    }
}

impl From<Refused> for Reason {
    fn from(reason: Refused) -> Self {
        Self::Refused(reason)
    }
}

impl From<jwt::Failure> for Reason {
    fn from(failure: jwt::Failure) -> Self {
        match failure {
            jwt::Failure::Rejected(why) => Self::Refused(Refused::Jwt(why)),
            jwt::Failure::Undecidable(why) => Self::Undecidable(why),
        }
    }
}

/// Shows ` (oidc, issuer "https://…", subject "…")`, or nothing if nothing is known.
impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = " (";
        if let Some(credential) = self.credential {
            write!(f, "{separator}{credential}")?;
            separator = ", ";
        }
        let texts = [
            ("issuer", &self.issuer),
            ("key", &self.key_id),
            ("subject", &self.subject),
            ("serial", &self.serial),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                write!(f, "{separator}{name} {text:?}")?;
                separator = ", ";
            }
        }
        if separator == ", " {
            f.write_str(")")
        } else {
            Ok(())
        }
    }
}

/// Shortens a text from a credential for a log line.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

const SHOWN_CHARACTERS: usize = 256;
