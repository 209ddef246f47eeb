//! Trust bundles in three formats: SPIFFE's JSON, PEM, and the Workload API's concatenated DER. A document
//! must be well-formed. Its elements are read one by one: an unusable one is skipped and reported, and the
//! others are used. A well-formed bundle without usable keys revokes all earlier ones.
//!
//! A bundle does not name its trust domain. The name comes from the configuration of the source (B-12), and
//! two bundles are never merged (B-13).
//!
//! <https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Trust_Domain_and_Bundle.md#4-spiffe-bundle-format>

mod element;
mod map;

pub use map::parse_map;

use super::json::{self, InvalidJson};
use super::jwks::{self, KeySet, Parsed, UseRule};
use super::skipped::{Skipped, promote};
use super::x509::{Authority, X509Authorities};
use crate::spiffe_id::InvalidSpiffeId;
use pki_types::pem::{self, SectionKind};
use serde_json::{Map, Value};
use std::time::Duration;
use x509_parser::asn1_rs::{Any, Class, FromDer as _, Tag};

/// The content of a SPIFFE bundle. X.509 authorities verify only X.509-SVIDs, and JWT keys verify only
/// JWT-SVIDs.
#[derive(Clone, Debug, Default)]
pub struct Bundle {
    pub x509: X509Authorities,
    pub jwt: KeySet,
    /// The order of a trust domain's bundles. It grows with every change.
    pub sequence: Option<u64>,
    /// How often the publisher asks for the bundle to be fetched; at least [`SHORTEST_REFRESH`].
    pub refresh_hint: Option<Duration>,
}

/// The shortest refresh interval, as in SPIRE. A hint of zero or less must not cause fetches without a pause.
pub const SHORTEST_REFRESH: Duration = Duration::from_secs(60);

/// Reads a SPIFFE bundle, a JWK Set with `spiffe_sequence` and `spiffe_refresh_hint`.
pub fn parse_spiffe(bytes: &[u8]) -> Result<Parsed<Bundle>, InvalidBundle> {
    bundle(&json::object(bytes)?)
}

fn bundle(document: &Map<String, Value>) -> Result<Parsed<Bundle>, InvalidBundle> {
    let elements = match document.get("keys") {
        Some(Value::Array(elements)) => elements,
        found => {
            return Err(InvalidBundle::Keys {
                found: json::kind(found),
            });
        }
    };
    let sequence = sequence(document)?;
    let Parsed {
        value: jwt,
        mut skipped,
    } = jwks::from_elements(elements, UseRule::SpiffeBundle);
    let x509 = gather(
        elements
            .iter()
            .enumerate()
            .filter_map(|(index, element)| element::authority(index, element)),
    );
    skipped.extend(x509.skipped);
    if x509.value.is_empty() && jwt.is_empty() {
        promote(&mut skipped);
    }
    let refresh_hint = refresh_hint(document, &mut skipped);
    Ok(Parsed {
        value: Bundle {
            x509: x509.value,
            jwt,
            sequence,
            refresh_hint,
        },
        skipped,
    })
}

/// Reads X.509 authorities from PEM. There must be at least one certificate. For a trust domain an empty file
/// is more likely a mistake than a revocation, which SPIFFE's JSON can express.
pub fn parse_pem(bytes: &[u8]) -> Result<Parsed<X509Authorities>, InvalidBundle> {
    let sections: Vec<(SectionKind, Vec<u8>)> = pem::SliceIter::new(bytes)
        .collect::<Result<_, _>>()
        .map_err(malformed_pem)?;
    if !sections.iter().any(|(kind, _)| *kind == SectionKind::Certificate) {
        return Err(InvalidBundle::NoCertificate);
    }
    Ok(gather(sections.iter().enumerate().map(|(index, (kind, der))| {
        let authority = match kind {
            SectionKind::Certificate => Authority::parse(der).map_err(|why| why.to_string()),
            other => Err(format!(
                "expected a certificate, found another PEM section ({})",
                section(*other)
            )),
        };
        authority.map_err(|why| Skipped::new(format!("PEM section {}", index + 1), why))
    })))
}

/// Reads X.509 authorities from concatenated DER, as the Workload API sends them. An empty input is an empty
/// bundle.
pub fn parse_der(concatenated: &[u8]) -> Result<Parsed<X509Authorities>, InvalidBundle> {
    let certificates = split_der(concatenated)?;
    Ok(gather(certificates.into_iter().enumerate().map(
        |(index, der)| {
            Authority::parse(der)
                .map_err(|why| Skipped::new(format!("certificate {}", index + 1), why.to_string()))
        },
    )))
}

/// Splits concatenated certificates.
pub(in crate::trust) fn split_der(concatenated: &[u8]) -> Result<Vec<&[u8]>, InvalidBundle> {
    let mut rest = concatenated;
    let mut certificates = Vec::new();
    while !rest.is_empty() {
        let offset = concatenated.len() - rest.len();
        let (behind, one) = Any::from_der(rest).map_err(|_| InvalidBundle::Framing { offset })?;
        if one.class() != Class::Universal || one.tag() != Tag::Sequence {
            return Err(InvalidBundle::Framing { offset });
        }
        let (certificate, behind) = rest.split_at(rest.len() - behind.len());
        certificates.push(certificate);
        rest = behind;
    }
    Ok(certificates)
}

/// The document is not a bundle. It must never replace a valid one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBundle {
    #[error("not a SPIFFE bundle: {0}")]
    Json(#[from] InvalidJson),
    #[error("not a SPIFFE bundle: expected a list as `keys`, found {found}")]
    Keys { found: &'static str },
    #[error("not a SPIFFE bundle: expected an integer from 0 to 2^64-1 as `spiffe_sequence`, found {found}")]
    Sequence { found: &'static str },
    #[error("not a SPIFFE bundle map: expected an object as `trust_domains`, found {found}")]
    TrustDomains { found: &'static str },
    #[error("not a SPIFFE bundle map: {name:?} is not a trust domain: {why}")]
    TrustDomain { name: String, why: InvalidSpiffeId },
    #[error("not a SPIFFE bundle: expected an object as `trust_domains[{trust_domain:?}]`, found {found}")]
    Entry {
        trust_domain: String,
        found: &'static str,
    },
    #[error("not PEM: a section's end marker is missing; the file may be cut off")]
    PemEnd,
    #[error("not PEM: a section's begin marker is malformed")]
    PemStart,
    #[error("not PEM: a section is not base64")]
    PemBase64,
    #[error(
        "expected at least one PEM section BEGIN CERTIFICATE, found none; to withdraw every authority of a trust domain, write \
         {{\"keys\": []}}"
    )]
    NoCertificate,
    #[error("expected concatenated certificates in DER, found something else at byte {offset}")]
    Framing { offset: usize },
}

fn gather(elements: impl Iterator<Item = Result<Authority, Skipped>>) -> Parsed<X509Authorities> {
    let mut skipped = Vec::new();
    let usable = elements.filter_map(|authority| authority.map_err(|why| skipped.push(why)).ok());
    let value = usable.collect();
    Parsed { value, skipped }
}

/// Reads the sequence. Null is the same as absent: some publishers write it.
fn sequence(document: &Map<String, Value>) -> Result<Option<u64>, InvalidBundle> {
    match document.get("spiffe_sequence") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => match number.as_u64() {
            Some(sequence) => Ok(Some(sequence)),
            None => Err(InvalidBundle::Sequence {
                found: "another number",
            }),
        },
        found => Err(InvalidBundle::Sequence {
            found: json::kind(found),
        }),
    }
}

/// Reads the refresh hint. An unreadable one is reported, and the bundle is still used.
fn refresh_hint(document: &Map<String, Value>, skipped: &mut Vec<Skipped>) -> Option<Duration> {
    let found = document
        .get("spiffe_refresh_hint")
        .filter(|found| !found.is_null())?;
    let negative = || found.as_i64().map(|_| 0);
    match found.as_u64().or_else(negative) {
        Some(seconds) => Some(Duration::from_secs(seconds).max(SHORTEST_REFRESH)),
        None => {
            let why = format!(
                "expected an integer of seconds, found {}",
                json::kind(Some(found))
            );
            skipped.push(Skipped::new("spiffe_refresh_hint", why));
            None
        }
    }
}

/// Returns the name of a PEM section, as between `BEGIN` and the hyphens.
pub(in crate::trust) const fn section(kind: SectionKind) -> &'static str {
    match kind {
        SectionKind::Certificate => "CERTIFICATE",
        SectionKind::PublicKey => "PUBLIC KEY",
        SectionKind::RsaPrivateKey => "RSA PRIVATE KEY",
        SectionKind::PrivateKey => "PRIVATE KEY",
        SectionKind::EcPrivateKey => "EC PRIVATE KEY",
        SectionKind::Crl => "X509 CRL",
        SectionKind::Csr => "CERTIFICATE REQUEST",
        SectionKind::EchConfigList => "ECHCONFIG",
        _ => "of another kind",
    }
}

fn malformed_pem(why: pem::Error) -> InvalidBundle {
    match why {
        pem::Error::MissingSectionEnd { .. } => InvalidBundle::PemEnd,
        pem::Error::IllegalSectionStart { .. } => InvalidBundle::PemStart,
        pem::Error::Base64Decode(_) => InvalidBundle::PemBase64,
        _ => InvalidBundle::NoCertificate,
    }
}

#[cfg(test)]
mod tests;
