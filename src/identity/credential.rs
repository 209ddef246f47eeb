//! Which credential of a request counts. Exactly one is chosen by a fixed rule, before anything is believed,
//! and there is no second choice when it turns out to be bad (RFC 9110 11.6.2, RFC 6750 2.1, RFC 7617 2).

use super::{Peer, Refused};
use crate::secret::Secret;
use crate::trust::jwt::looks_like_jwt;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::fmt;
use std::net::IpAddr;

/// What a request carries that may say who is asking.
pub struct Presented<'a> {
    /// The value of every `Authorization` header.
    pub authorization: Vec<&'a [u8]>,
    /// What the client proved in the TLS handshake to have the key of.
    pub peer: Option<&'a Peer>,
    /// Whether what the client sends without being told counts. `false` for a browser's request on behalf of
    /// another site: its certificate says nothing about who wants it.
    pub ambient: bool,
    /// Where the client is, if that is known. It decides nothing but who waits for whom.
    pub address: Option<IpAddr>,
}

/// Without the credential.
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

/// The one that counts, still untrusted.
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

    /// Clients that know passwords only put the token there. Empty name and password are how some of them say
    /// nobody.
    fn from_basic(encoded: &str) -> Result<Self, Refused> {
        let decoded = BASIC.decode(encoded).map_err(|_| Refused::MalformedBasic)?;
        let decoded = std::str::from_utf8(&decoded).map_err(|_| Refused::MalformedBasic)?;
        match decoded.split_once(':').ok_or(Refused::MalformedBasic)? {
            ("", "") => Ok(Self::Anonymous),
            (user, password) => Ok(Self::from_password(user, password)),
        }
    }

    /// A password that looks like a token is one, whatever the name: no password file has such a password,
    /// and whether it has the name must not show.
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

/// What an `Authorization` header presents: the user that goes with a password, and the password or the
/// token. For fuzzing.
#[doc(hidden)]
#[must_use]
pub fn credential_read(value: &[u8]) -> Option<(Option<String>, Secret)> {
    match Credential::from_header(value).ok()? {
        Credential::Token(token) => Some((None, token)),
        Credential::Password { user, password } => Some((Some(user), password)),
        Credential::Anonymous | Credential::Certificate(_) => None,
    }
}

/// Some clients leave the padding out.
const BASIC: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
