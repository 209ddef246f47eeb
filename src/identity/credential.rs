//! The choice of a request's credential by a fixed rule, before anything is verified. If the chosen
//! credential is rejected, no other one is tried (RFC 9110 11.6.2, RFC 6750 2.1, RFC 7617 2).

use super::{Peer, Refused};
use crate::secret::Secret;
use crate::trust::jwt::looks_like_jwt;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::fmt;
use std::net::IpAddr;

/// The credentials of a request.
pub struct Presented<'a> {
    /// The value of every `Authorization` header.
    pub authorization: Vec<&'a [u8]>,
    /// The client's certificates from the TLS handshake.
    pub peer: Option<&'a Peer>,
    /// Whether to use the client certificate, which clients send unasked. `false` for a browser's request on
    /// behalf of another site: the user did not choose to send it.
    pub ambient: bool,
    /// The client's address, if it is known. It is used only to share waiting places fairly.
    pub address: Option<IpAddr>,
}

/// Does not show the credential.
impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Presented");
        shown
            .field("authorization_headers", &self.authorization.len())
            .field("peer", &self.peer);
        shown
            .field("ambient", &self.ambient)
            .field("address", &self.address)
            .finish()
    }
}

/// The chosen credential, not yet verified.
pub(super) enum Credential<'a> {
    Anonymous,
    Token(Secret),
    Password { user: String, password: Secret },
    Certificate(&'a Peer),
}

impl<'a> Credential<'a> {
    pub(super) fn choose(presented: &Presented<'a>) -> Result<Self, Refused> {
        match presented.authorization[..] {
            [] => Ok(presented
                .peer
                .filter(|peer| presented.ambient && !peer.is_empty())
                .map_or(Self::Anonymous, Self::Certificate)),
            [value] => Self::from_header(value),
            [..] => Err(Refused::SeveralAuthorizationHeaders),
        }
    }

    fn from_header(value: &[u8]) -> Result<Self, Refused> {
        let value = std::str::from_utf8(value).map_err(|_| Refused::Scheme)?;
        let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
        match scheme {
            _ if scheme.eq_ignore_ascii_case("bearer") => {
                Ok(Self::Token(Secret::new(rest.trim_matches(' '))))
            }
            _ if scheme.eq_ignore_ascii_case("basic") => Self::from_basic(rest.trim_matches(' ')),
            _ => Err(Refused::Scheme),
        }
    }

    /// Clients that support only passwords put a token in the password. Some clients send an empty name and
    /// password for an anonymous request.
    fn from_basic(encoded: &str) -> Result<Self, Refused> {
        let decoded = BASIC.decode(encoded).map_err(|_| Refused::MalformedBasic)?;
        let decoded = std::str::from_utf8(&decoded).map_err(|_| Refused::MalformedBasic)?;
        match decoded.split_once(':').ok_or(Refused::MalformedBasic)? {
            ("", "") => Ok(Self::Anonymous),
            (user, password) => Ok(Self::from_password(user, password)),
        }
    }

    /// A password that looks like a token is treated as one, whatever the name. No password file has such a
    /// password, and the answer must not reveal whether the file has the name.
    pub(super) fn from_password(user: &str, password: &str) -> Self {
        if looks_like_jwt(password) {
            Self::Token(Secret::new(password))
        } else {
            Self::Password {
                user: user.to_owned(),
                password: Secret::new(password),
            }
        }
    }
}

/// Returns what an `Authorization` header presents: the user of a password, and the password or the token.
/// For fuzzing.
#[doc(hidden)]
#[must_use]
pub fn credential_read(value: &[u8]) -> Option<(Option<String>, Secret)> {
    match Credential::from_header(value).ok()? {
        Credential::Token(token) => Some((None, token)),
        Credential::Password { user, password } => Some((Some(user), password)),
        Credential::Anonymous | Credential::Certificate(_) => None,
    }
}

/// Some clients omit the padding.
const BASIC: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
