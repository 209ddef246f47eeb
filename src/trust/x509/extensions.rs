//! Parses a certificate and the extensions that the rules need, strictly. x509-parser alone is too lenient:
//! it reports an unreadable basicConstraints as absent, ignores bytes after an extension's value, and keeps
//! unreadable names.

use super::name;
use super::rejected::Malformed;
use x509_parser::asn1_rs::{Any, FromDer as _};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};

/// Parses a certificate. Nothing else may be in `der`.
pub(super) fn certificate(der: &[u8]) -> Result<X509Certificate<'_>, Malformed> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok((rest, _)) => Err(Malformed::TrailingBytes { bytes: rest.len() }),
        Err(_) => Err(Malformed::Der),
    }
}

/// RFC 5280 4.2.1. An extension that is absent is `None` or empty.
#[derive(Debug, Default)]
pub(super) struct Extensions<'a> {
    pub(super) basic_constraints: Option<BasicConstraints>,
    pub(super) key_usage: Option<KeyUsage>,
    pub(super) extended_key_usage: Option<ExtendedKeyUsage>,
    pub(super) alternative_names: Vec<GeneralName<'a>>,
    pub(super) constrains: Constrains,
    /// The first critical extension that the path builder does not support.
    pub(super) unknown_critical: Option<String>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct BasicConstraints {
    pub(super) ca: bool,
    pub(super) path_len: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct KeyUsage {
    pub(super) digital_signature: bool,
    pub(super) key_cert_sign: bool,
    pub(super) crl_sign: bool,
}

/// Whether an authority constrains kinds of names that the path builder cannot check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Constrains {
    pub(super) uri: bool,
    pub(super) directory: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct ExtendedKeyUsage {
    pub(super) any: bool,
    pub(super) client_auth: bool,
    pub(super) server_auth: bool,
}

impl<'a> Extensions<'a> {
    pub(super) fn read(certificate: &X509Certificate<'a>) -> Result<Self, Malformed> {
        let mut read = Self::default();
        let mut seen = Vec::new();
        for extension in certificate.iter_extensions() {
            if seen.contains(&&extension.oid) {
                return Err(Malformed::RepeatedExtension { oid: oid(extension) });
            }
            seen.push(&extension.oid);
            if extension.critical
                && read.unknown_critical.is_none()
                && !KNOWN.contains(&extension.oid.as_bytes())
            {
                read.unknown_critical = Some(oid(extension));
            }
            read.take(extension)?;
        }
        Ok(read)
    }

    fn take(&mut self, extension: &X509Extension<'a>) -> Result<(), Malformed> {
        let unreadable = || Malformed::Extension { oid: oid(extension) };
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(found) => {
                self.basic_constraints = Some(BasicConstraints {
                    ca: found.ca,
                    path_len: found.path_len_constraint,
                });
            }
            ParsedExtension::KeyUsage(found) => {
                self.key_usage = Some(KeyUsage {
                    digital_signature: found.digital_signature(),
                    key_cert_sign: found.key_cert_sign(),
                    crl_sign: found.crl_sign(),
                });
            }
            ParsedExtension::ExtendedKeyUsage(found) => {
                self.extended_key_usage = Some(ExtendedKeyUsage {
                    any: found.any,
                    client_auth: found.client_auth,
                    server_auth: found.server_auth,
                });
            }
            ParsedExtension::SubjectAlternativeName(found) => {
                if found
                    .general_names
                    .iter()
                    .any(|name| matches!(name, GeneralName::Invalid(..)))
                {
                    return Err(Malformed::AlternativeName);
                }
                self.alternative_names.clone_from(&found.general_names);
            }
            ParsedExtension::NameConstraints(found) => {
                let subtrees = found
                    .permitted_subtrees
                    .iter()
                    .chain(&found.excluded_subtrees)
                    .flatten();
                for subtree in subtrees {
                    self.constrains.uri |= matches!(subtree.base, GeneralName::URI(_));
                    self.constrains.directory |= matches!(subtree.base, GeneralName::DirectoryName(_));
                }
            }
            ParsedExtension::ParseError { .. } => return Err(unreadable()),
            _ => return Ok(()),
        }
        match Any::from_der(extension.value) {
            Ok(([], _)) => Ok(()),
            _ => Err(unreadable()),
        }
    }

    pub(super) fn is_authority(&self) -> bool {
        self.basic_constraints.is_some_and(|found| found.ca)
    }
}

/// Returns the OID, shortened, since it may be as long as the certificate.
fn oid(extension: &X509Extension<'_>) -> String {
    name::shortened(&extension.oid.to_id_string())
}

/// The critical extensions that webpki supports: key usage, alternative names, basic constraints, name
/// constraints, CRL distribution points and extended key usage.
const KNOWN: [&[u8]; 6] = [
    &[0x55, 0x1d, 0x0f],
    &[0x55, 0x1d, 0x11],
    &[0x55, 0x1d, 0x13],
    &[0x55, 0x1d, 0x1e],
    &[0x55, 0x1d, 0x1f],
    &[0x55, 0x1d, 0x25],
];
