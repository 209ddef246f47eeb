//! A parsed token that is not verified (RFC 7515 3.1, 5.2). Anything in it may be forged. It is used only to
//! choose the rules and keys that verify it, and for the log.

use super::Algorithm;
use super::rejected::{Part, Rejected};
use crate::limits::TOKEN_BYTES;
use crate::spiffe_id::SpiffeId;
use crate::trust::Sender;
use crate::trust::json;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use std::fmt;
use std::net::IpAddr;

/// Whether a text has the form of a JWT: three parts, of which the first begins like a JSON object in
/// base64url. It may still be invalid, but it is meant as a token and not as a password.
#[must_use]
pub fn looks_like_jwt(text: &str) -> bool {
    let mut parts = text.split('.');
    let (Some(header), Some(claims), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    // `{` is encoded as `e` and a character whose six bits begin with 11.
    let object = matches!(
        header.as_bytes(),
        [b'e', b'w'..=b'z' | b'0'..=b'9' | b'-' | b'_', ..]
    );
    object && !claims.is_empty()
}

#[derive(Clone)]
pub struct Unverified {
    /// Header and payload as received. The signature covers them.
    pub(super) signed: String,
    pub(super) signature: Vec<u8>,
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    pub(super) typ: Option<String>,
    pub(super) claims: Map<String, Value>,
    /// The sender, which takes a place while newer keys are fetched.
    pub(super) sender: Sender,
}

impl Unverified {
    pub fn parse(token: &str) -> Result<Self, Rejected> {
        if token.len() > TOKEN_BYTES {
            return Err(Rejected::TooLong { bytes: token.len() });
        }
        let parts: Vec<_> = token.split('.').collect();
        let [header, claims, signature] = parts[..] else {
            return Err(Rejected::NotCompact { parts: parts.len() });
        };
        let header = object(header, Part::Header)?;
        let algorithm = header
            .get("alg")
            .and_then(Value::as_str)
            .ok_or(header_type(&header, "alg"))?;
        let algorithm = algorithm.parse().map_err(|_| Rejected::UnknownAlgorithm {
            found: algorithm.into(),
        })?;
        if let Some(name) = FORBIDDEN_HEADERS
            .into_iter()
            .find(|name| header.contains_key(*name))
        {
            return Err(Rejected::ForbiddenHeader { name });
        }
        let key_id = optional_text(&header, "kid")?;
        let typ = optional_text(&header, "typ")?;
        if typ.as_deref().is_some_and(is_wit) {
            return Err(Rejected::WitSvid);
        }
        let signed = token.rsplit_once('.').map_or("", |(signed, _)| signed).to_owned();
        let claims = object(claims, Part::Claims)?;
        Ok(Self {
            signed,
            signature: decode(signature, Part::Signature)?,
            algorithm,
            key_id,
            typ,
            claims,
            sender: Sender::default(),
        })
    }

    /// Sets the address of the client that sent the token.
    #[must_use]
    pub fn sent_from(self, address: Option<IpAddr>) -> Self {
        Self {
            sender: address.map_or(self.sender, Sender::at),
            ..self
        }
    }

    #[must_use]
    pub const fn sender(&self) -> Sender {
        self.sender
    }

    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.claims.get("sub").and_then(Value::as_str)
    }

    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    pub(in crate::trust) fn typ(&self) -> Option<&str> {
        self.typ.as_deref()
    }

    pub(in crate::trust) const fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// Returns the subject, if it is a SPIFFE ID. The token then claims to be a JWT-SVID.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<SpiffeId> {
        self.subject()?.parse().ok()
    }
}

/// The readable parts of a token that [`Unverified::parse`] rejected. Only for logs: nothing may be decided
/// by them, since another parser may read the same token differently.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnverifiedParts {
    pub issuer: Option<String>,
    pub subject: Option<String>,
    pub key_id: Option<String>,
}

impl UnverifiedParts {
    #[must_use]
    pub fn of(token: &str) -> Self {
        let parts: Vec<_> = token.split('.').collect();
        let [header, claims, _] = parts[..] else {
            return Self::default();
        };
        if token.len() > TOKEN_BYTES {
            return Self::default();
        }
        let read =
            |part| serde_json::from_slice::<Map<String, Value>>(&decode(part, Part::Header).ok()?).ok();
        let header = read(header).unwrap_or_default();
        let claims = read(claims).unwrap_or_default();
        let text =
            |object: &Map<String, Value>, name| object.get(name).and_then(Value::as_str).map(str::to_owned);
        Self {
            issuer: text(&claims, "iss"),
            subject: text(&claims, "sub"),
            key_id: text(&header, "kid"),
        }
    }
}

/// Does not show the token.
impl fmt::Debug for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Unverified");
        shown
            .field("algorithm", &self.algorithm)
            .field("key_id", &self.key_id);
        shown
            .field("issuer", &self.issuer())
            .field("subject", &self.subject())
            .finish_non_exhaustive()
    }
}

fn object(part: &str, name: Part) -> Result<Map<String, Value>, Rejected> {
    json::object(&decode(part, name)?).map_err(|why| Rejected::Json { part: name, why })
}

fn decode(part: &str, name: Part) -> Result<Vec<u8>, Rejected> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| Rejected::Encoding { part: name })
}

fn optional_text(header: &Map<String, Value>, name: &'static str) -> Result<Option<String>, Rejected> {
    match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(header_type(header, name)),
    }
}

fn header_type(header: &Map<String, Value>, name: &'static str) -> Rejected {
    Rejected::HeaderType {
        name,
        found: json::kind(header.get(name)),
    }
}

/// Whether this `typ` is that of a WIT-SVID. A media type is compared without case and without `application/`
/// (RFC 7515 4.1.9).
fn is_wit(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    typ.strip_prefix("application/").unwrap_or(&typ) == WIT_TYPE
}

/// Headers that must be understood but are not supported, or that change what is signed. Headers with a key
/// (`jwk`, `x5c`) or its location (`jku`, `x5u`) are ignored: only the issuer's keys verify a token.
const FORBIDDEN_HEADERS: [&str; 2] = ["crit", "b64"];

/// <https://github.com/spiffe/spiffe/blob/main/standards/WIT-SVID.md>
const WIT_TYPE: &str = "wit+jwt";
