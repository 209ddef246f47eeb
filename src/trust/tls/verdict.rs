//! Explains what is wrong with a server's certificate, and the fix.

use crate::clock::Timestamp;
use crate::tls_failure::{Failure, certificate_words, path_error};
use crate::trust::x509::dn;
use pki_types::{CertificateDer, ServerName};
use rustls::CertificateError;
use std::net::IpAddr;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

/// The name of the authorities in messages, and how to change them.
#[derive(Clone, Debug)]
pub(super) struct Words {
    pub(super) authorities: String,
    pub(super) fix: String,
}

/// Whether the certificate was rejected because it is an authority's.
pub(super) fn is_authority(why: &CertificateError) -> bool {
    matches!(path_error(why), Some(webpki::Error::CaUsedAsEndEntity))
}

fn is_critical_extension(why: &CertificateError) -> bool {
    let by_path = matches!(path_error(why), Some(webpki::Error::UnsupportedCriticalExtension));
    by_path || *why == CertificateError::UnhandledCriticalExtension
}

pub(super) fn sentence(
    leaf: &CertificateDer<'_>,
    server: &ServerName<'_>,
    why: &CertificateError,
    words: &Words,
) -> Failure {
    let server = server.to_str();
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(leaf) else {
        return Failure::fixable(
            format!("the certificate of {server} is malformed"),
            "issue it again",
        );
    };
    let who = format!("the certificate {} of {server}", subject_of(&certificate));
    let Words { authorities, fix } = words;
    let names = Names::of(&certificate);
    let self_signed = certificate.subject().as_raw() == certificate.issuer().as_raw();
    let issuer = dn(certificate.issuer());
    let validity = certificate.validity();
    match why {
        CertificateError::UnknownIssuer => {
            let also = if names.hosts.is_empty() {
                format!("; also, it {}", names.instead())
            } else {
                String::new()
            };
            if self_signed {
                let what = format!("{who} is self-signed and not among {authorities}{also}");
                Failure::fixable(what, format!("if it is the right one, {fix}"))
            } else {
                let what = format!(
                    "{who} was issued by {issuer}, and no chain leads from there to {authorities}{also}"
                );
                Failure::fixable(
                    what,
                    format!("{fix}, or have the server send its intermediate certificates"),
                )
            }
        }
        CertificateError::BadSignature => {
            let what =
                format!("{who} was issued by {issuer}, but {authorities} have that name with another key");
            Failure::fixable(what, format!("if the authority was replaced, {fix}"))
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
            if names.hosts.is_empty() =>
        {
            Failure::fixable(
                format!("{who} {}", names.instead()),
                format!("issue one with {server} as a subject alternative name"),
            )
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Failure::fixable(
                format!("{who} is for {}", names.hosts.join(", ")),
                format!("use one of these names, or issue it for {server} as well"),
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            let not_after = Timestamp::from_secs(validity.not_after.timestamp());
            Failure::fixable(
                format!("{who}, or one in its chain, has expired; its own expiry is {not_after}"),
                "renew it",
            )
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            let not_before = Timestamp::from_secs(validity.not_before.timestamp());
            Failure::fixable(
                format!("{who} is not valid before {not_before}"),
                "compare the clocks of both machines",
            )
        }
        why if is_critical_extension(why) => {
            let critical: Vec<_> = certificate
                .iter_extensions()
                .filter(|one| one.critical)
                .map(|one| one.oid.to_id_string())
                .collect();
            let known = |oid: &str| KNOWN.contains(&oid);
            let unknown: Vec<_> = critical
                .iter()
                .map(String::as_str)
                .filter(|oid| !known(oid))
                .collect();
            let what = match unknown.as_slice() {
                [] => format!(
                    "a certificate in the chain of {server} has a critical extension that is not supported"
                ),
                some => format!(
                    "{who} has the critical extension {}, which is not supported",
                    some.join(", ")
                ),
            };
            Failure::fixable(what, "issue it without that extension, or not critical")
        }
        other => match path_error(other) {
            Some(webpki::Error::CaUsedAsEndEntity) if self_signed => Failure::fixable(
                format!(
                    "{who} is self-signed, is marked as an authority's (cA true), and is not among {authorities}"
                ),
                format!("if it is the right one, {fix}; better, issue the server a certificate of its own"),
            ),
            Some(webpki::Error::CaUsedAsEndEntity) => Failure::fixable(
                format!("{who} is that of an authority (cA true), not of a server"),
                "issue the server a certificate of its own",
            ),
            Some(webpki::Error::UnsupportedCertVersion) => Failure::fixable(
                format!("{who} is of X.509 version 1, which cannot hold host names"),
                "issue it as version 3, with subject alternative names (openssl x509 -req … -extfile)",
            ),
            _ => format!("{who} is not accepted: {}", certificate_words(other)).into(),
        },
    }
}

/// Returns the subject for messages, or the serial number if there is no subject.
pub(super) fn subject(der: &CertificateDer<'_>) -> String {
    x509_parser::parse_x509_certificate(der).map_or_else(
        |_| "a malformed certificate".to_owned(),
        |(_, one)| subject_of(&one),
    )
}

/// Checks a certificate that needs no path.
pub(super) fn check_dates_and_purpose(
    leaf: &CertificateDer<'_>,
    now: Timestamp,
) -> Result<(), CertificateError> {
    let (_, certificate) =
        x509_parser::parse_x509_certificate(leaf).map_err(|_| CertificateError::BadEncoding)?;
    let validity = certificate.validity();
    if now < Timestamp::from_secs(validity.not_before.timestamp()) {
        return Err(CertificateError::NotValidYet);
    }
    if Timestamp::from_secs(validity.not_after.timestamp()) < Timestamp::from_secs(now.as_secs()) {
        return Err(CertificateError::Expired);
    }
    match certificate.extended_key_usage() {
        Ok(Some(usage)) if !usage.value.server_auth && !usage.value.any => {
            Err(CertificateError::InvalidPurpose)
        }
        Ok(_) => Ok(()),
        Err(_) => Err(CertificateError::BadEncoding),
    }
}

fn subject_of(certificate: &X509Certificate<'_>) -> String {
    let subject = dn(certificate.subject());
    if subject.is_empty() {
        format!(
            "without a subject (serial {})",
            certificate.raw_serial_as_string()
        )
    } else {
        subject
    }
}

/// The names in a certificate.
struct Names {
    /// DNS names and IP addresses.
    hosts: Vec<String>,
    uris: Vec<String>,
}

impl Names {
    fn of(certificate: &X509Certificate<'_>) -> Self {
        let mut hosts = Vec::new();
        let mut uris = Vec::new();
        let names = certificate.subject_alternative_name().ok().flatten();
        for name in names
            .iter()
            .flat_map(|found| &found.value.general_names)
            .take(SHOWN)
        {
            match name {
                GeneralName::DNSName(name) => hosts.push((*name).escape_debug().to_string()),
                GeneralName::IPAddress(bytes) => hosts.extend(address(bytes)),
                GeneralName::URI(uri) => uris.push((*uri).escape_debug().to_string()),
                _ => {}
            }
        }
        Self { hosts, uris }
    }

    /// Describes a certificate that names no host.
    fn instead(&self) -> String {
        match self.uris.first() {
            Some(uri) if uri.starts_with("spiffe://") => {
                format!(
                    "names no host, only {uri}: clients verify the host name, and an X.509-SVID has only a SPIFFE ID"
                )
            }
            Some(uri) => format!("names no host, only the URI {uri}"),
            None => {
                "names no host: it has no subject alternative name for one, and the common name is ignored"
                    .to_owned()
            }
        }
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    let four = <[u8; 4]>::try_from(bytes).map(|octets| IpAddr::from(octets).to_string());
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(|octets| IpAddr::from(octets).to_string()))
        .ok()
}

const SHOWN: usize = 8;
/// Extensions that may be critical: key usage, alternative names, basic and name constraints, CRL
/// distribution points and extended key usage.
const KNOWN: [&str; 6] = [
    "2.5.29.15",
    "2.5.29.17",
    "2.5.29.19",
    "2.5.29.30",
    "2.5.29.31",
    "2.5.29.37",
];
