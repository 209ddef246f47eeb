//! Inspects the authorities of an entry for client certificates that are not SVIDs.

use pki_types::CertificateDer;
use pki_types::pem::PemObject as _;
use std::path::Path;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Whether an authority in this PEM file has a SPIFFE ID, as those of SPIRE and service meshes do. The
/// certificates that it issues then have one too.
pub(super) fn issue_svids(file: &Path) -> bool {
    let Ok(text) = std::fs::read(file) else {
        return false;
    };
    CertificateDer::pem_slice_iter(&text)
        .flatten()
        .any(|der| has_spiffe_id(&der))
}

fn has_spiffe_id(der: &[u8]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return false;
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return false;
    };
    let is_spiffe =
        |name: &GeneralName<'_>| matches!(name, GeneralName::URI(uri) if uri.starts_with("spiffe://"));
    names.value.general_names.iter().any(is_spiffe)
}
