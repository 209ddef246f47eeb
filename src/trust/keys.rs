//! Keys as a list: for people, and to compare the keys of two trust domains.

use crate::clock::Timestamp;

/// One key or X.509 authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    pub kind: KeyKind,
    /// The `kid` of a JWT key, if it has one; the subject of an X.509 authority.
    pub id: Option<String>,
    /// The signature algorithms that a JWT key verifies; what kind of key an X.509 authority has.
    pub algorithms: Vec<&'static str>,
    /// Of an X.509 authority. JWT keys carry no dates.
    pub not_after: Option<Timestamp>,
    /// Of a JWT key that the latest key set of an OIDC issuer lacks: until then it verifies.
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

    /// The fingerprint of each public key, with what people call the key.
    fn prints(&self) -> Vec<(&str, String)>;

    /// The same without the keys of these fingerprints.
    #[must_use]
    fn without(&self, gone: &dyn Fn(&str) -> bool) -> Self
    where
        Self: Sized;
}
