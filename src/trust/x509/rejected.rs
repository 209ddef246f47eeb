//! Why a certificate is rejected. The messages tell the operators of the authority or of this registry what
//! to change.

use crate::clock::Timestamp;
use crate::limits::{
    CERTIFICATE_BYTES, CERTIFICATE_EXTENSIONS, CERTIFICATE_NAME_BYTES, CERTIFICATE_NAMES, CHAIN_BYTES,
    INTERMEDIATES, SIGNATURE_CHECKS,
};
use crate::spiffe_id::{InvalidSpiffeId, SpiffeId, TrustDomain};
use crate::tls_failure::Fault;
use std::fmt;
use std::sync::Arc;

/// Fields contain bounded texts of the certificate, since a rejection is cached as long as its connection.
/// `Display` escapes them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    #[error("the certificate is malformed: {0}")]
    Malformed(#[from] Malformed),
    #[error("the client certificate is over a limit: {0}")]
    Oversized(#[from] Oversized),
    #[error(
        "expected at most {INTERMEDIATES} intermediate certificates after the client's own, found {found}; send only those that lead to \
         the authority"
    )]
    TooManyIntermediates { found: usize },
    #[error(
        "expected a certificate chain of at most {CHAIN_BYTES} bytes, found {bytes}; send only those that lead to the authority"
    )]
    ChainTooLarge { bytes: usize },
    /// Such a certificate never becomes an identity: the handshake could not check that the client has the
    /// key.
    #[error("the client cannot prove that it has the certificate's key: {0}")]
    UnprovableKey(#[from] Unprovable),
    #[error("expected an X.509 certificate of version 3, found version {found}; issue one with extensions")]
    Version { found: u8 },
    #[error(
        "the certificate has the critical extension {}, which this registry does not support; issue it without that extension, or not critical",
        Named(oid)
    )]
    CriticalExtension { oid: String },
    #[error(
        "expected exactly one URI name in the X.509-SVID, a SPIFFE ID, found none; other names and the subject are ignored"
    )]
    NoUriName,
    #[error(
        "expected exactly one URI name in the X.509-SVID, found {found}; issue it with the SPIFFE ID alone"
    )]
    SeveralUriNames { found: usize },
    #[error("the URI name {} of the X.509-SVID is not a SPIFFE ID: {why}", Shown(found))]
    SpiffeId { found: String, why: InvalidSpiffeId },
    #[error(
        "expected a workload's SPIFFE ID with a path in the X.509-SVID, found spiffe://{trust_domain}, which names the trust domain"
    )]
    RootPath { trust_domain: TrustDomain },
    #[error(
        "expected a workload's certificate with cA false, found that of a certificate authority; issue a certificate for the workload itself"
    )]
    CertificateAuthority,
    #[error("expected key usage digitalSignature in the X.509-SVID, found no key usage at all")]
    NoKeyUsage,
    #[error("expected key usage digitalSignature in the X.509-SVID, found a key usage without it")]
    NoDigitalSignature,
    #[error("the X.509-SVID's key usage has {found}, which only an authority may have")]
    AuthorityKeyUsage { found: &'static str },
    #[error(
        "expected clientAuth in the certificate's extended key usage, found others only; add it, or issue without the extension"
    )]
    NoClientAuth,
    #[error(
        "the certificate is not valid before {not_before}, and it is {now}; compare the clocks of issuer and registry"
    )]
    NotYetValid { not_before: Timestamp, now: Timestamp },
    #[error("the certificate expired at {not_after}, and it is {now}; present the renewed one")]
    Expired { not_after: Timestamp, now: Timestamp },
    #[error("{origin} holds no X.509 authority, so no certificate is accepted from it")]
    NoAuthorities { origin: Arc<str> },
    #[error(
        "none of the {held} X.509 authorities from {origin} is valid at {now}; the last one is valid until {last}: refresh the bundle"
    )]
    AuthoritiesOutOfDate {
        origin: Arc<str>,
        held: usize,
        last: Timestamp,
        now: Timestamp,
    },
    #[error(
        "no chain leads from the certificate's issuer {} to an authority from {origin}: the certificate must be sent with its \
         intermediates, and the bundle must have their root{}",
        Shown(issuer),
        List(passed_over)
    )]
    NoPath {
        issuer: String,
        origin: Arc<str>,
        passed_over: Vec<PassedOver>,
    },
    #[error(
        "no path to an authority from {origin} was found with {SIGNATURE_CHECKS} signature checks: too many authorities share a name; \
         issue certificates with key identifiers, and send only the intermediates that lead to the authority"
    )]
    SignatureChecks { origin: Arc<str> },
    #[error(
        "the issuer {} in the certificate's chain cannot be used: {why}",
        Shown(issuer)
    )]
    UnfitIssuer { issuer: String, why: Unfit },
    #[error(
        "the authority {} constrains URI names, which this registry cannot check; issue the certificate from an authority without \
         constraints of URI names",
        Shown(authority)
    )]
    UriConstraints { authority: String },
    #[error(
        "the authority {} constrains directory names, which this registry cannot check; issue the certificate from an authority without \
         constraints of directory names",
        Shown(authority)
    )]
    DirectoryConstraints { authority: String },
    #[error(
        "the certificate has a name that an authority in its chain does not permit (name constraints); issue it within the constraints"
    )]
    NameConstraints,
    /// Only for the credential behind one of the registry's own tokens.
    #[error(
        "the authority that issued the certificate behind this token is no longer in {origin}; present a certificate of a current authority"
    )]
    AuthorityWithdrawn { origin: Arc<str> },
    /// Any other rule of RFC 5280 6.
    #[error(
        "the certificate chain is not valid by the authorities from {origin}: {}",
        Fault(why)
    )]
    Path { origin: Arc<str>, why: webpki::Error },
}

impl Rejected {
    /// Whether the reason depends only on the client's own certificates. The client may then see it.
    #[must_use]
    pub const fn is_of_the_certificate_alone(&self) -> bool {
        matches!(
            self,
            Self::Malformed(_)
                | Self::Oversized(_)
                | Self::TooManyIntermediates { .. }
                | Self::ChainTooLarge { .. }
                | Self::UnprovableKey(_)
                | Self::Version { .. }
                | Self::CriticalExtension { .. }
        )
    }

    /// Updates the time in a rejection that is otherwise unchanged.
    pub(crate) fn at(self, at: Timestamp) -> Self {
        match self {
            Self::NotYetValid { not_before, .. } => Self::NotYetValid { not_before, now: at },
            Self::Expired { not_after, .. } => Self::Expired { not_after, now: at },
            Self::AuthoritiesOutOfDate {
                origin, held, last, ..
            } => Self::AuthoritiesOutOfDate {
                origin,
                held,
                last,
                now: at,
            },
            other => other,
        }
    }
}

/// Why a server is not the expected one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::trust) enum NotTheServer {
    #[error(transparent)]
    Certificate(#[from] Rejected),
    #[error(
        "expected serverAuth in the certificate's extended key usage, found others only; add it, or issue without the extension"
    )]
    NoServerAuth,
    #[error("expected the server to be {expected}, found {found}")]
    Other { expected: SpiffeId, found: SpiffeId },
}

/// An intermediate that the client sent and that cannot be part of a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", Shown(subject))]
pub struct PassedOver {
    /// Empty if it cannot be read.
    pub subject: String,
    pub why: Unfit,
}

/// Why a certificate may not sign others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("malformed: {0}")]
    Malformed(#[from] Malformed),
    #[error("over a limit: {0}")]
    Oversized(#[from] Oversized),
    #[error("expected the certificate of an authority, found one without cA true")]
    NotAnAuthority,
    #[error(
        "it has the critical extension {}, which this registry does not support; issue it without that extension, or not critical",
        Named(oid)
    )]
    CriticalExtension { oid: String },
    #[error("expected an authority with key usage keyCertSign, found one without it")]
    NoKeyCertSign,
    #[error("not valid before {not_before}")]
    NotYetValid { not_before: Timestamp },
    #[error("expired at {not_after}")]
    Expired { not_after: Timestamp },
    #[error("not usable as a trust anchor: {}", Fault(.0))]
    Anchor(webpki::Error),
}

/// Why a certificate is too large to be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Oversized {
    #[error(
        "expected at most {CERTIFICATE_BYTES} bytes, found {found}; issue it with fewer names and extensions"
    )]
    Bytes { found: usize },
    #[error("expected at most {CERTIFICATE_NAMES} names, found {found}; issue it with fewer")]
    Names { found: usize },
    #[error(
        "expected names of at most {CERTIFICATE_NAME_BYTES} bytes, found one of {bytes}; issue it with a shorter one"
    )]
    Name { bytes: usize },
    #[error("expected at most {CERTIFICATE_EXTENSIONS} extensions, found {found}; issue it with fewer")]
    Extensions { found: usize },
}

/// Why the handshake cannot check a signature by a certificate's key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unprovable {
    #[error(
        "expected an RSA key of 2048 to 8192 bits, found one of {bits}; issue the certificate for another key"
    )]
    RsaSize { bits: usize },
    #[error(
        "expected an ECDSA key (P-256, P-384 or P-521), an RSA or an Ed25519 key, found algorithm {oid}; issue it for another key"
    )]
    Algorithm { oid: String },
    #[error("its public key is malformed; issue the certificate again")]
    Malformed,
}

/// Why a certificate is not parsed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Oversized(#[from] Oversized),
}

impl From<Unread> for Rejected {
    fn from(why: Unread) -> Self {
        match why {
            Unread::Malformed(why) => Self::Malformed(why),
            Unread::Oversized(why) => Self::Oversized(why),
        }
    }
}

impl From<Unread> for Unfit {
    fn from(why: Unread) -> Self {
        match why {
            Unread::Malformed(why) => Self::Malformed(why),
            Unread::Oversized(why) => Self::Oversized(why),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("expected an X.509 certificate in DER")]
    Der,
    #[error("{bytes} bytes follow the certificate")]
    TrailingBytes { bytes: usize },
    #[error("the extension {oid} appears twice")]
    RepeatedExtension { oid: String },
    #[error("the extension {oid} cannot be read")]
    Extension { oid: String },
    #[error("a subject alternative name cannot be read")]
    AlternativeName,
    #[error("the subject or issuer name cannot be read")]
    Name,
}

/// Shows an extension's OID, with its name if it is an extension for policies.
struct Named<'a>(&'a str);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match POLICIES.iter().find(|(oid, _)| *oid == self.0) {
            Some((oid, name)) => write!(f, "{name} ({oid})"),
            None => f.write_str(self.0),
        }
    }
}

/// RFC 5280 4.2.1.
const POLICIES: [(&str, &str); 4] = [
    ("2.5.29.32", "certificatePolicies"),
    ("2.5.29.33", "policyMappings"),
    ("2.5.29.36", "policyConstraints"),
    ("2.5.29.54", "inhibitAnyPolicy"),
];

/// Shows a text of the certificate escaped and shortened.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("(no name)");
        }
        let end = self.0.char_indices().nth(SHOWN_CHARACTERS).map(|(end, _)| end);
        write!(
            f,
            "{}",
            self.0
                .get(..end.unwrap_or(self.0.len()))
                .unwrap_or_default()
                .escape_debug()
        )?;
        f.write_str(if end.is_some() { "…" } else { "" })
    }
}

/// Shows the first few elements and the number of the others.
struct List<'a>(&'a [PassedOver]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, one) in self.0.iter().take(SHOWN_ELEMENTS).enumerate() {
            write!(f, "{}{one}", if index == 0 { " (ignored: " } else { "; " })?;
        }
        match self.0.len() {
            0 => Ok(()),
            all if all > SHOWN_ELEMENTS => write!(f, "; and {} more)", all - SHOWN_ELEMENTS),
            _ => f.write_str(")"),
        }
    }
}

const SHOWN_CHARACTERS: usize = 200;
const SHOWN_ELEMENTS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_chain_makes_a_short_reason() {
        let at = Timestamp::from_secs(0);
        let expired = PassedOver {
            subject: "CN=\u{202e}".repeat(10_000),
            why: Unfit::Expired { not_after: at },
        };
        let no_path = |count| {
            let passed_over = vec![expired.clone(); count];
            Rejected::NoPath {
                issuer: "CN=x".repeat(10_000),
                origin: "bundle.json".into(),
                passed_over,
            }
            .to_string()
        };
        let text = no_path(48);
        assert!(
            text.contains("…: expired at 1970-01-01T00:00:00Z; and 45 more)"),
            "{text}"
        );
        assert!(text.len() < 3_500, "{} bytes: {text}", text.len());
        assert!(!no_path(3).contains("more)") && !no_path(0).contains("ignored"));
        let names = Rejected::SpiffeId {
            found: "é".repeat(100_000),
            why: InvalidSpiffeId::Scheme,
        }
        .to_string();
        assert!(names.len() < 700, "{names}");
    }
}
