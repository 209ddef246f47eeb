//! TLS clients that verify a server by its host name and by the configured or the system's authorities. There
//! are two differences to the usual verification. An error says what is wrong with which certificate. A
//! self-signed certificate that is configured as its own authority is accepted, as curl and Go do, although
//! it is marked as an authority's (`openssl req -x509`).

use super::pem::is_encrypted;
use super::verdict::{self, Words};
use crate::clock::Timestamp;
use crate::tls_failure::{Failure, Fault};
use pki_types::pem::PemObject as _;
use pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use std::sync::Arc;
use webpki::EndEntityCert;

/// The authorities that verify servers, and their name in messages.
#[derive(Clone, Debug)]
pub struct Authorities<'a> {
    /// Certificates in PEM. `None` for the system's.
    pub pem: Option<&'a [u8]>,
    /// As in `the authorities in ca.pem`.
    pub named: &'a str,
    /// What to do if they do not verify the right server, as in `name its authority in
    /// certificateAuthorityFile`.
    pub fix: &'a str,
}

/// The TLS configuration for an HTTP client.
pub type Tls = ClientConfig;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTls {
    #[error("{named}: expected PEM with at least one certificate, found none")]
    NoAuthority { named: String },
    #[error("{named}: {subject}: {why}")]
    Authority {
        named: String,
        subject: String,
        why: String,
    },
    #[error("the system has no certificate authorities that can be used; {fix}")]
    System { fix: String },
    #[error("the client certificate and its key must be PEM, and the key must belong to the certificate")]
    Identity,
    #[error(
        "the client certificate's private key is encrypted, and a passphrase cannot be entered here: decrypt it with `openssl pkey -in KEY -out FILE`"
    )]
    EncryptedKey,
    #[error("the TLS client cannot be set up")]
    Client,
}

/// Makes a TLS client. `identity` is a client certificate with its chain and its key, in PEM.
pub fn client(authorities: &Authorities<'_>, identity: Option<&[u8]>) -> Result<Tls, InvalidTls> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| InvalidTls::Client)?;
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier(authorities)?);
    let Some(pem) = identity else {
        return Ok(builder.with_no_client_auth());
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| InvalidTls::Identity)?;
    if is_encrypted(pem) {
        return Err(InvalidTls::EncryptedKey);
    }
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| InvalidTls::Identity)?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|_| InvalidTls::Identity)
}

pub(super) fn verifier(authorities: &Authorities<'_>) -> Result<Arc<dyn ServerCertVerifier>, InvalidTls> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let (inner, own) = match authorities.pem {
        None => (system(&provider, authorities)?, Vec::new()),
        Some(pem) => configured(pem, &provider, authorities)?,
    };
    let words = Words {
        authorities: authorities.named.to_owned(),
        fix: authorities.fix.to_owned(),
    };
    Ok(Arc::new(Verifier { inner, own, words }))
}

fn system(
    provider: &Arc<CryptoProvider>,
    authorities: &Authorities<'_>,
) -> Result<Arc<dyn ServerCertVerifier>, InvalidTls> {
    let verifier = rustls_platform_verifier::Verifier::new(provider.clone());
    verifier
        .map(|verifier| Arc::new(verifier) as _)
        .map_err(|_| InvalidTls::System {
            fix: authorities.fix.to_owned(),
        })
}

type Configured = (Arc<dyn ServerCertVerifier>, Vec<CertificateDer<'static>>);

fn configured(
    pem: &[u8],
    provider: &Arc<CryptoProvider>,
    authorities: &Authorities<'_>,
) -> Result<Configured, InvalidTls> {
    let named = || authorities.named.to_owned();
    let own: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| InvalidTls::NoAuthority { named: named() })?;
    let mut roots = RootCertStore::empty();
    for der in &own {
        let anchor = webpki::anchor_from_trusted_cert(der);
        let anchor = anchor.map_err(|why| InvalidTls::Authority {
            named: named(),
            subject: verdict::subject(der),
            why: Fault(&why).to_string(),
        })?;
        roots.roots.push(anchor.to_owned());
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let verifier: Arc<dyn ServerCertVerifier> =
        verifier.map_err(|_| InvalidTls::NoAuthority { named: named() })?;
    Ok((verifier, own))
}

#[derive(Debug)]
struct Verifier {
    inner: Arc<dyn ServerCertVerifier>,
    /// The configured authorities.
    own: Vec<CertificateDer<'static>>,
    words: Words,
}

impl Verifier {
    /// A certificate that is configured as its own authority needs no path. The other rules for a server's
    /// certificate still apply.
    fn check_pinned(
        &self,
        leaf: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), CertificateError> {
        let other = |why: webpki::Error| CertificateError::Other(OtherError(Arc::new(why)));
        verdict::check_dates_and_purpose(
            leaf,
            Timestamp::from_secs(i64::try_from(now.as_secs()).unwrap_or(i64::MAX)),
        )?;
        let parsed = EndEntityCert::try_from(leaf).map_err(other)?;
        parsed
            .verify_is_valid_for_subject_name(name)
            .map_err(|_| CertificateError::NotValidForName)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let why = match self.inner.verify_server_cert(leaf, chain, name, ocsp, now) {
            Err(Error::InvalidCertificate(why)) => why,
            other => return other,
        };
        let why = if verdict::is_authority(&why) && self.own.iter().any(|one| one.as_ref() == leaf.as_ref()) {
            match self.check_pinned(leaf, name, now) {
                Ok(()) => return Ok(ServerCertVerified::assertion()),
                Err(why) => why,
            }
        } else {
            why
        };
        let failure: Failure = verdict::sentence(leaf, name, &why, &self.words);
        Err(Error::InvalidCertificate(CertificateError::Other(OtherError(
            Arc::new(failure),
        ))))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
