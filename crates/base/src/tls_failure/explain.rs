//! Explains why a connection failed.

use super::certificate::certificate_words;
use super::failure::Failure;
use rustls::{AlertDescription, CertificateError};
use std::error::Error;
use std::io;

/// Explains why a connection to a server failed.
#[must_use]
pub fn explain(error: &(dyn Error + 'static)) -> Failure {
    explain_peer(error, "server")
}

/// As [`explain`], with `peer` as the name of the other side.
#[must_use]
pub fn explain_peer(error: &(dyn Error + 'static), peer: &str) -> Failure {
    // The outer errors say only that something failed.
    let mut cause = Some(error);
    let mut innermost = String::new();
    while let Some(one) = cause {
        if let Some(tls) = one.downcast_ref::<rustls::Error>() {
            return of_tls(tls, peer);
        }
        // `source` of an I/O error does not return the error that it wraps.
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
            format!("the {peer} offers no TLS version or cipher suite that is supported here"),
            "have it speak TLS 1.2 or 1.3 with ECDHE",
        ),
        rustls::Error::PeerMisbehaved(_) | rustls::Error::DecryptError => {
            format!("the {peer} violated the TLS protocol").into()
        }
        _ => format!("the TLS handshake with the {peer} failed").into(),
    }
}

fn of_alert(alert: AlertDescription, peer: &str) -> Failure {
    let refused = |why: &str| format!("the {peer} refused our certificate: {why}").into();
    match alert {
        AlertDescription::CertificateRequired => {
            format!("the {peer} requires a certificate, but none was presented").into()
        }
        AlertDescription::UnknownCA => refused("it does not trust the authority that issued it"),
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
            format!("the {peer} offers no TLS version or cipher suite that is supported here"),
            "have it speak TLS 1.2 or 1.3 with ECDHE",
        ),
        AlertDescription::HandshakeFailure => {
            format!("the {peer} refused the handshake; it may require a certificate").into()
        }
        _ => format!("the {peer} ended the handshake").into(),
    }
}
