//! SPIFFE IDs and trust domain names (SPIFFE-ID), parsed strictly. An issuer must not use upper case in trust
//! domains, so upper case is rejected and not converted. Policies therefore never see two spellings of one
//! name.
//!
//! <https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md>

mod pattern;

pub use pattern::{InvalidPattern, SpiffePattern};

use crate::limits::{SPIFFE_ID_BYTES, TRUST_DOMAIN_BYTES};
use std::fmt;
use std::str::FromStr;

/// A trust domain's name: `[a-z0-9.-_]+`, at most 255 bytes. A name that looks like a DNS name or an IP
/// address is not treated differently.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(String);

impl TrustDomain {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns `spiffe://<name>`, the Workload API's form of a trust domain.
    #[must_use]
    pub fn id(&self) -> String {
        format!("spiffe://{}", self.0)
    }
}

impl FromStr for TrustDomain {
    type Err = InvalidSpiffeId;

    /// Parses the bare name, without a scheme.
    fn from_str(name: &str) -> Result<Self, InvalidSpiffeId> {
        if name.is_empty() {
            return Err(InvalidSpiffeId::NoTrustDomain);
        }
        if name.contains("://") {
            return Err(InvalidSpiffeId::TrustDomainScheme);
        }
        if name.len() > TRUST_DOMAIN_BYTES {
            return Err(InvalidSpiffeId::TooLong);
        }
        if !name
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_'))
        {
            return Err(InvalidSpiffeId::TrustDomainCharacter);
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A SPIFFE ID: `spiffe://<trust domain>[/<segment>…]`, at most 2048 bytes. Segments are not empty, not `.`
/// or `..`, and consist of `[a-zA-Z0-9.-_]`. The path is case-sensitive. An ID without a path names the trust
/// domain itself, not a workload.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: String,
    trust_domain: TrustDomain,
}

impl SpiffeId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Returns the path with its leading slash. It may be empty.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text
            .get(SCHEME.len() + self.trust_domain.0.len()..)
            .unwrap_or_default()
    }

    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.path().split('/').skip(1)
    }

    /// Whether it has a path, and so may belong to a workload.
    #[must_use]
    pub fn is_workload(&self) -> bool {
        !self.path().is_empty()
    }
}

impl FromStr for SpiffeId {
    type Err = InvalidSpiffeId;

    fn from_str(text: &str) -> Result<Self, InvalidSpiffeId> {
        if text.len() > SPIFFE_ID_BYTES {
            return Err(InvalidSpiffeId::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(InvalidSpiffeId::Scheme)?;
        let (domain, path) = rest
            .split_once('/')
            .map_or((rest, None), |(domain, path)| (domain, Some(path)));
        let trust_domain = domain.parse()?;
        for segment in path.into_iter().flat_map(|path| path.split('/')) {
            match segment {
                "" => return Err(InvalidSpiffeId::EmptySegment),
                "." | ".." => return Err(InvalidSpiffeId::DotSegment),
                _ if !segment
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')) =>
                {
                    return Err(InvalidSpiffeId::PathCharacter);
                }
                _ => {}
            }
        }
        Ok(Self {
            text: text.to_owned(),
            trust_domain,
        })
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpiffeId {
    #[error("a SPIFFE ID begins with spiffe:// in lower case")]
    Scheme,
    #[error("the trust domain is missing")]
    NoTrustDomain,
    #[error(
        "expected the bare name of a trust domain, such as prod.example.org: drop the scheme, and the path if there is one"
    )]
    TrustDomainScheme,
    #[error(
        "a trust domain consists of a-z, 0-9, `.`, `-` and `_`; no upper case, user, port or percent-encoding"
    )]
    TrustDomainCharacter,
    #[error("a SPIFFE ID has at most {SPIFFE_ID_BYTES} bytes, its trust domain {TRUST_DOMAIN_BYTES}")]
    TooLong,
    #[error("a path has no empty segment and no `/` at its end")]
    EmptySegment,
    #[error("a path has no segment `.` or `..`")]
    DotSegment,
    #[error(
        "a path consists of letters, digits, `.`, `-`, `_` and `/`; no query, fragment or percent-encoding"
    )]
    PathCharacter,
}

pub(crate) const SCHEME: &str = "spiffe://";

#[cfg(test)]
mod tests;
