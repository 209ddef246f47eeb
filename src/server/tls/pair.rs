//! A certificate and its key, from two files that are read together.

use crate::clock::Timestamp;
use crate::file_error::FileError;
use crate::tls_failure::explain_peer;
use crate::trust::tls::{decrypt, is_encrypted, pem_words};
use pki_types::pem::PemObject;
use pki_types::{CertificateDer, PrivateKeyDer};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairFiles {
    /// PEM: the leaf, then its intermediates.
    pub cert: PathBuf,
    /// PEM: PKCS#8, SEC 1 or PKCS#1, not encrypted.
    pub key: PathBuf,
}

/// Why a certificate and its key cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidTls {
    #[error("the file {} cannot be read: {why}", file.display())]
    Unreadable { file: PathBuf, why: FileError },
    #[error("the file {} is not well-formed PEM: {why}", file.display())]
    Pem { file: PathBuf, why: &'static str },
    #[error("the file {} has no certificate: expected \"-----BEGIN CERTIFICATE-----\", the server's own first", file.display())]
    NoCertificate { file: PathBuf },
    #[error("the file {} has no private key: expected \"-----BEGIN PRIVATE KEY-----\", not encrypted", file.display())]
    NoKey { file: PathBuf },
    #[error("the private key in {} is encrypted, and the registry asks for no passphrase: {}", file.display(), decrypt(file))]
    Encrypted { file: PathBuf },
    #[error("the key in {} does not belong to the first certificate in {}: replace both files together", key.display(), cert.display())]
    Mismatch { cert: PathBuf, key: PathBuf },
    #[error("the certificate in {} with the key in {} cannot be used: {}", cert.display(), key.display(), explain_peer(why, "registry"))]
    Unusable {
        cert: PathBuf,
        key: PathBuf,
        why: rustls::Error,
    },
    #[error("the X.509-SVID cannot be presented: {}", explain_peer(why, "registry"))]
    Svid { why: rustls::Error },
    #[error("TLS cannot be set up: {}", explain_peer(.0, "registry"))]
    Versions(rustls::Error),
}

pub(super) struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    /// The DNS names of the leaf, in lower case; a wildcard with its `*.`.
    pub(super) names: Vec<String>,
    /// The hash of both files' content.
    pub(super) hash: [u8; 32],
}

impl Pair {
    pub(super) fn read(files: &PairFiles, provider: &CryptoProvider) -> Result<Self, InvalidTls> {
        let cert = read(&files.cert)?;
        let key = read(&files.key)?;
        let mut hash = Sha256::new();
        hash.update(cert.len().to_be_bytes());
        hash.update(&cert);
        hash.update(&key);
        let malformed = |file: &Path, why: pki_types::pem::Error| InvalidTls::Pem {
            file: file.to_owned(),
            why: pem_words(&why),
        };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&cert)
            .collect::<Result<_, _>>()
            .map_err(|error| malformed(&files.cert, error))?;
        if chain.is_empty() {
            return Err(InvalidTls::NoCertificate {
                file: files.cert.clone(),
            });
        }
        if is_encrypted(&key) {
            return Err(InvalidTls::Encrypted {
                file: files.key.clone(),
            });
        }
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| match error {
            pki_types::pem::Error::NoItemsFound => InvalidTls::NoKey {
                file: files.key.clone(),
            },
            error => malformed(&files.key, error),
        })?;
        let certified = certified(chain, key, provider).map_err(|error| {
            let PairFiles { cert, key } = files.clone();
            match error {
                rustls::Error::InconsistentKeys(_) => InvalidTls::Mismatch { cert, key },
                why => InvalidTls::Unusable { cert, key, why },
            }
        })?;
        let names = leaf(&certified).map(|leaf| dns_names(&leaf)).unwrap_or_default();
        Ok(Self {
            certified: Arc::new(certified),
            names,
            hash: hash.finalize().into(),
        })
    }

    pub(super) fn not_after(&self) -> Option<Timestamp> {
        not_after(&self.certified)
    }
}

/// Combines a chain and its key. Fails if the key does not belong to the leaf.
pub(super) fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, rustls::Error> {
    CertifiedKey::from_der(chain, key, provider)
}

pub(super) fn not_after(key: &CertifiedKey) -> Option<Timestamp> {
    leaf(key).map(|leaf| Timestamp::from_secs(leaf.validity().not_after.timestamp()))
}

fn leaf(key: &CertifiedKey) -> Option<X509Certificate<'_>> {
    X509Certificate::from_der(key.cert.first()?.as_ref())
        .ok()
        .map(|(_, leaf)| leaf)
}

fn dns_names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = leaf.subject_alternative_name() else {
        return Vec::new();
    };
    let dns = |name: &GeneralName<'_>| {
        if let GeneralName::DNSName(name) = name {
            Some(name.to_ascii_lowercase())
        } else {
            None
        }
    };
    names.value.general_names.iter().filter_map(dns).collect()
}

fn read(file: &Path) -> Result<Vec<u8>, InvalidTls> {
    std::fs::read(file).map_err(|error| InvalidTls::Unreadable {
        file: file.to_owned(),
        why: FileError::new(file, &error),
    })
}
