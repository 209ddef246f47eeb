//! The X.509 authorities of one trust domain, each with its dates: path building looks at none of an anchor's.

use crate::clock::Timestamp;
use crate::trust::jwks::{Parsed, Skipped};
use pki_types::pem::PemObject;
use pki_types::{CertificateDer, TrustAnchor};
use std::fmt;
use std::sync::Arc;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Authorities that may sign X.509-SVIDs of one trust domain. Immutable and cheap to clone.
#[derive(Clone, Default)]
pub struct X509Authorities(Arc<Vec<Authority>>);

pub(super) struct Authority {
    pub(super) anchor: TrustAnchor<'static>,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBundle {
    #[error("not PEM that can be read")]
    Pem,
    #[error("PEM without any certificate")]
    NoCertificate,
    #[error("the certificates' DER framing is broken")]
    Framing,
}

/// Reads a PEM file of authorities.
pub fn parse_pem(text: &[u8]) -> Result<Parsed<X509Authorities>, InvalidBundle> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().map_err(|_| InvalidBundle::Pem)?;
    if all.is_empty() { Err(InvalidBundle::NoCertificate) } else { Ok(tolerant(all)) }
}

/// Reads concatenated DER, as the Workload API sends it (W-13). No bytes at all are an emptied bundle.
pub fn parse_der(mut der: &[u8]) -> Result<Parsed<X509Authorities>, InvalidBundle> {
    let mut all = Vec::new();
    while !der.is_empty() {
        let (rest, _) = X509Certificate::from_der(der).map_err(|_| InvalidBundle::Framing)?;
        let (one, _) = der.split_at_checked(der.len() - rest.len()).ok_or(InvalidBundle::Framing)?;
        all.push(CertificateDer::from(one.to_vec()));
        der = rest;
    }
    Ok(tolerant(all))
}

/// Keeps what can be used and names the rest.
fn tolerant(all: Vec<CertificateDer<'static>>) -> Parsed<X509Authorities> {
    let (mut good, mut skipped) = (Vec::new(), Vec::new());
    for (i, der) in all.iter().enumerate() {
        match authority(der) {
            Ok(authority) => good.push(authority),
            Err(why) => skipped.push(Skipped { element: format!("certificate {i}"), why }),
        }
    }
    Parsed { value: X509Authorities(Arc::new(good)), skipped }
}

fn authority(der: &CertificateDer<'_>) -> Result<Authority, String> {
    let (_, parsed) = X509Certificate::from_der(der).map_err(|_| "not DER that can be read".to_owned())?;
    let anchor = webpki::anchor_from_trusted_cert(der).map_err(|why| why.to_string())?.to_owned();
    let validity = parsed.validity();
    let [not_before, not_after] = [validity.not_before, validity.not_after].map(|date| Timestamp::from_secs(date.timestamp()));
    Ok(Authority { anchor, not_before, not_after })
}

impl X509Authorities {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Those whose own dates include `now`.
    pub(super) fn valid_at(&self, now: Timestamp) -> impl Iterator<Item = &Authority> {
        self.0.iter().filter(move |one| one.not_before <= now && now <= one.not_after)
    }
}

impl fmt::Debug for X509Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "X509Authorities({})", self.len())
    }
}
