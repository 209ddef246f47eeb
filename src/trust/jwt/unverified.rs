//! A token as it came: parsed once, believed in nothing. Its readers may route by it and must not decide by it.

use super::{Algorithm, Rejected};
use crate::limits::TOKEN_BYTES;
use crate::spiffe_id::SpiffeId;
use crate::trust::json;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use std::fmt;

/// A compact JWS whose header is acceptable and whose claims are JSON. Nothing of it is verified.
pub struct Unverified {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    /// As written; its case matters for JWT-SVIDs only.
    pub(super) media_type: Option<String>,
    pub(super) claims: Map<String, Value>,
    pub(super) signed: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

/// Whether a password is meant to be a token: three parts, of which the first decodes to the start of a JSON object.
#[must_use]
pub fn looks_like_jwt(text: &str) -> bool {
    text.starts_with("eyJ") && text.bytes().filter(|b| *b == b'.').count() == 2
}

impl Unverified {
    /// Checks the size, the form and the header before anything else is looked at.
    pub fn parse(token: &str) -> Result<Self, Rejected> {
        if token.len() > TOKEN_BYTES {
            return Err(Rejected::TooLong { found: token.len() });
        }
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(Rejected::NotCompact);
        };
        let signed = token.get(..header.len() + 1 + claims.len()).unwrap_or_default().as_bytes().to_vec();
        // The engine refuses padding, white space and tail bits that are not zero (J-24).
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Rejected::NotCompact);
        let object = |part, text: &str| json::object(&decode(text)?).map_err(|why| Rejected::Json { part, why });
        let header = object("header", header)?;
        let algorithm = algorithm(&header)?;
        if let Some(name) = REFUSED_HEADERS.iter().find(|name| header.contains_key(**name)) {
            return Err(Rejected::Header(name));
        }
        let media_type = match header.get("typ") {
            None => None,
            Some(Value::String(name)) => Some(name.clone()),
            Some(other) => return Err(Rejected::Type { found: other.to_string() }),
        };
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) if !id.is_empty() => Some(id.clone()),
            Some(_) => return Err(Rejected::MalformedKeyId),
        };
        Ok(Self { algorithm, key_id, media_type, claims: object("claims", claims)?, signed, signature: decode(signature)? })
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

    /// The subject, if it is written as a SPIFFE ID.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<SpiffeId> {
        self.subject().and_then(|subject| subject.parse().ok())
    }
}

impl fmt::Debug for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unverified")
            .field("issuer", &self.issuer())
            .field("subject", &self.subject())
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

fn algorithm(header: &Map<String, Value>) -> Result<Algorithm, Rejected> {
    let found = match header.get("alg") {
        Some(Value::String(name)) => name.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    found.parse().map_err(|why: super::UnknownAlgorithm| Rejected::Algorithm { found, expected: why.to_string() })
}

/// Those that change how a token is read or bring their own keys.
const REFUSED_HEADERS: [&str; 6] = ["crit", "jku", "jwk", "x5u", "x5c", "b64"];
