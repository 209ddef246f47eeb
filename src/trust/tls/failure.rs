//! Why a connection failed, from the chain of errors that a client library gives. Their texts hold Rust, and
//! stop short of the cause.

use super::verdict::certificate_words;
use crate::shell::quoted;
use rustls::{AlertDescription, CertificateError};
use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

/// What is wrong, and what to change if that is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    pub what: String,
    pub fix: Option<String>,
}

impl Failure {
    pub(super) fn fixable(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            fix: Some(fix.into()),
        }
    }
}

impl From<String> for Failure {
    fn from(what: String) -> Self {
        Self { what, fix: None }
    }
}

impl From<&str> for Failure {
    fn from(what: &str) -> Self {
        what.to_owned().into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.fix.iter().try_for_each(|fix| write!(f, "; {fix}"))
    }
}

/// Why a connection to a server failed.
#[must_use]
pub fn explain(error: &(dyn Error + 'static)) -> Failure {
    explain_peer(error, "server")
}

/// The same where the other side is a `peer`.
#[must_use]
pub fn explain_peer(error: &(dyn Error + 'static), peer: &str) -> Failure {
    // The outer texts only say that something failed.
    let mut cause = Some(error);
    let mut innermost = String::new();
    while let Some(one) = cause {
        if let Some(tls) = one.downcast_ref::<rustls::Error>() {
            return of_tls(tls, peer);
        }
        // What an I/O error wraps is not among its causes.
        let inner = one.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = match inner {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => {
                innermost = one.to_string();
                one.source()
            }
        };
    }
    innermost.into()
}

/// Why a file is no PEM. The library prints the bytes that it met as a list of numbers.
#[must_use]
pub const fn pem_words(why: &pki_types::pem::Error) -> &'static str {
    use pki_types::pem::Error;
    match why {
        Error::MissingSectionEnd { .. } => "a section's end marker is missing; the file may be cut off",
        Error::IllegalSectionStart { .. } => "a section's begin marker is malformed",
        Error::Base64Decode(_) => "a section is not base64",
        Error::NoItemsFound => "it has no section",
        Error::SectionTooLarge => "a section is too large",
        _ => "it cannot be read",
    }
}

/// Whether PEM holds a private key that only a passphrase opens: PKCS#8, or as OpenSSL wrote it before.
#[must_use]
pub fn is_encrypted(pem: &[u8]) -> bool {
    let has = |mark: &[u8]| pem.windows(mark.len()).any(|window| window == mark);
    has(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || has(b"\nProc-Type: 4,ENCRYPTED")
}

/// What to do about such a file.
#[must_use]
pub fn decrypt(file: &Path) -> String {
    format!(
        "decrypt it with `openssl pkey -in {} -out FILE`, and let only the owner read FILE",
        quoted(file)
    )
}

fn of_tls(error: &rustls::Error, peer: &str) -> Failure {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(why)) => {
            match why.0.downcast_ref::<Failure>() {
                Some(failure) => failure.clone(),
                None => format!(
                    "the {peer}'s certificate is not accepted: {}",
                    certificate_words(&CertificateError::Other(why.clone()))
                )
                .into(),
            }
        }
        rustls::Error::InvalidCertificate(why) => format!(
            "the {peer}'s certificate is not accepted: {}",
            certificate_words(why)
        )
        .into(),
        rustls::Error::General(text) => text.as_str().into(),
        rustls::Error::NoCertificatesPresented => format!("the {peer} presented no certificate").into(),
        rustls::Error::AlertReceived(alert) => of_alert(*alert, peer),
        rustls::Error::InvalidMessage(_)
        | rustls::Error::InappropriateMessage { .. }
        | rustls::Error::InappropriateHandshakeMessage { .. } => Failure::fixable(
            format!("the {peer} sent something that is not TLS"),
            "it may speak plain HTTP on this port: check scheme and port",
        ),
        rustls::Error::PeerIncompatible(_) | rustls::Error::NoApplicationProtocol => Failure::fixable(
            format!("the {peer} offers nothing that is supported here"),
            "have it speak TLS 1.2 or 1.3 with ECDHE",
        ),
        rustls::Error::PeerMisbehaved(_) | rustls::Error::DecryptError => {
            format!("the {peer} broke the rules of TLS").into()
        }
        _ => format!("the TLS handshake with the {peer} failed").into(),
    }
}

fn of_alert(alert: AlertDescription, peer: &str) -> Failure {
    let refused = |why: &str| format!("the {peer} refused our certificate: {why}").into();
    match alert {
        AlertDescription::CertificateRequired => {
            format!("the {peer} requires a certificate, and none was presented").into()
        }
        AlertDescription::UnknownCA => refused("it does not know the authority that issued it"),
        AlertDescription::CertificateExpired => refused("it has expired"),
        AlertDescription::CertificateRevoked => refused("it is revoked"),
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate => refused("it does not accept this one"),
        AlertDescription::AccessDenied => format!("the {peer} denied access in the handshake").into(),
        AlertDescription::UnrecognisedName => {
            format!("the {peer} does not know the host name it was asked for").into()
        }
        AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity => Failure::fixable(
            format!("the {peer} offers nothing that is supported here"),
            "have it speak TLS 1.2 or 1.3 with ECDHE",
        ),
        AlertDescription::HandshakeFailure => {
            format!("the {peer} refused the handshake, as one does that requires a certificate").into()
        }
        _ => format!("the {peer} ended the handshake").into(),
    }
}
