//! What is wrong with a certificate.

use super::fault::Fault;
use crate::clock::Timestamp;
use pki_types::UnixTime;
use rustls::CertificateError;
use std::borrow::Cow;

/// Explains an error without the certificate itself.
#[must_use]
pub fn certificate_words(why: &CertificateError) -> Cow<'static, str> {
    let at = |time: &UnixTime| Timestamp::from_secs(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    match why {
        CertificateError::UnknownIssuer => "it was not issued by an authority that is known here".into(),
        CertificateError::BadSignature => {
            "a signature does not verify; an authority with the issuer's name is known but has another key".into()
        }
        CertificateError::ExpiredContext { not_after, .. } => format!("it expired at {}", at(not_after)).into(),
        CertificateError::Expired => "it has expired".into(),
        CertificateError::NotValidYetContext { not_before, .. } => format!("it is not valid before {}", at(not_before)).into(),
        CertificateError::NotValidYet => "it is not valid yet".into(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => "it is for another host name".into(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its extended key usage does not allow this use; issue it with serverAuth for a server and clientAuth for a client".into()
        }
        CertificateError::Revoked => "it is revoked".into(),
        CertificateError::UnhandledCriticalExtension => "it has a critical extension that is not supported".into(),
        CertificateError::BadEncoding => "it is malformed".into(),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "it is signed with an algorithm that is not supported; use SHA-256 or better with RSA of 2048 bits or more, ECDSA or Ed25519"
                .into()
        }
        CertificateError::ApplicationVerificationFailure => "it is rejected here".into(),
        other => path_error(other).map_or_else(|| "it cannot be verified".into(), |why| Fault(why).to_string().into()),
    }
}

/// Returns the path builder's error in it, if there is one.
#[must_use]
pub fn path_error(why: &CertificateError) -> Option<&webpki::Error> {
    let CertificateError::Other(why) = why else {
        return None;
    };
    why.0.downcast_ref::<webpki::Error>()
}
