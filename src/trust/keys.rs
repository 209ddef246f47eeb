//! Keys as a list, for messages and for comparing the keys of trust domains.

use crate::clock::Timestamp;

/// One key or X.509 authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    pub kind: KeyKind,
    /// The `kid` of a JWT key, if it has one, or the subject of an X.509 authority.
    pub id: Option<String>,
    /// The signature algorithms that a JWT key verifies, or the type of an X.509 authority's key.
    pub algorithms: Vec<&'static str>,
    /// The expiry of an X.509 authority. JWT keys have no dates.
    pub not_after: Option<Timestamp>,
    /// Set for a JWT key that the issuer's latest key set no longer has: it verifies until then.
    pub withdrawn_until: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    X509,
    Jwt,
}

impl KeyKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X509 => "x509",
            Self::Jwt => "jwt",
        }
    }
}

/// Keys that can be listed.
pub trait Keys {
    fn describe(&self) -> Vec<KeyStatus>;

    /// Returns the fingerprint of each public key, and the name of the key for messages.
    fn prints(&self) -> Vec<(&str, String)>;

    /// Removes the keys for whose fingerprints `gone` returns `true`.
    #[must_use]
    fn without(&self, gone: &dyn Fn(&str) -> bool) -> Self
    where
        Self: Sized;
}
