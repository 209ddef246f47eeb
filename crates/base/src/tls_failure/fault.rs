//! Messages for the path builder's errors, which print as Rust by themselves.

use std::fmt;
use webpki::Error;

/// Continues a sentence about a certificate or its chain: `it …`.
#[derive(Debug)]
pub struct Fault<'a>(pub &'a Error);

impl fmt::Display for Fault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(words(self.0))
    }
}

#[expect(deprecated, reason = "older names of the same faults are still errors")]
const fn words(why: &Error) -> &'static str {
    match why {
        Error::CaUsedAsEndEntity => {
            "it is the certificate of an authority (cA true), not of a client or server; issue a certificate for the client or server itself"
        }
        Error::EndEntityUsedAsCa => {
            "a certificate in it signs another but is not an authority's (cA false); issue from an authority"
        }
        Error::UnsupportedCertVersion => {
            "it is not an X.509 certificate of version 3; issue it as one, with extensions"
        }
        Error::UnsupportedCriticalExtension => {
            "it has a critical extension that is not supported; issue it without that extension, or not critical"
        }
        Error::InvalidSignatureForPublicKey => {
            "a signature does not verify: an authority with the issuer's name is known but has another key; check whether it was replaced"
        }
        Error::PathLenConstraintViolated => {
            "it has more intermediates than an authority in it allows (pathLenConstraint); issue from an authority further up"
        }
        Error::MaximumPathDepthExceeded => {
            "it has too many intermediates; issue from an authority further up"
        }
        Error::MaximumSignatureChecksExceeded
        | Error::MaximumPathBuildCallsExceeded
        | Error::MaximumNameConstraintComparisonsExceeded => {
            "it would take too much work to find its path; send only the intermediates that lead to the authority"
        }
        Error::RequiredEkuNotFound | Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => {
            "an extended key usage in it does not allow this use; issue the certificate and its authorities with clientAuth or serverAuth, \
             as needed, or without the extension"
        }
        Error::NameConstraintViolation => {
            "an authority in it does not permit a name of the certificate (name constraints); issue within the constraints"
        }
        Error::UnsupportedSignatureAlgorithm
        | Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKey
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
        | Error::SignatureAlgorithmMismatch => {
            "it is signed with an algorithm that is not supported; use SHA-256 or better with RSA of 2048 bits or more, ECDSA or Ed25519"
        }
        Error::UnknownIssuer => "it was not issued by an authority that is known here",
        Error::CertExpired { .. } => "a certificate in it has expired",
        Error::CertNotValidYet { .. } => "a certificate in it is not valid yet; compare the clocks",
        Error::InvalidCertValidity => "a certificate in it ends before it begins",
        Error::CertRevoked | Error::CertDistrusted => "a certificate in it is revoked",
        Error::BadDer
        | Error::BadDerTime
        | Error::TrailingData(_)
        | Error::MalformedExtensions
        | Error::ExtensionValueInvalid
        | Error::MalformedDnsIdentifier
        | Error::MalformedNameConstraint
        | Error::InvalidNetworkMaskConstraint
        | Error::InvalidSerialNumber => "a certificate in it is malformed; issue it again",
        _ => "it breaks a rule of RFC 5280 6",
    }
}
