//! TLS to a server that is verified by its X.509-SVID instead of its host name (SPIFFE Federation 5.2.2). The
//! server must have exactly the configured SPIFFE ID, verified by its trust domain's authorities. The client
//! does not authenticate.

use crate::clock::Timestamp;
use crate::spiffe_id::SpiffeId;
use crate::trust::x509::{Leaf, NotTheServer, Rejected, X509Authorities, verify_server};
use crate::trust::{Held, Slot};
use pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use std::sync::Arc;

/// Makes a TLS configuration for connections that begin about now.
pub(super) fn known_by(
    expected: &SpiffeId,
    authorities: X509Authorities,
    now: Timestamp,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let slot = Slot::new(format!("the bundle of {}", expected.trust_domain()));
    slot.publish(authorities, now, Timestamp::MAX);
    let verifier = Verifier {
        expected: expected.clone(),
        authorities: slot,
        now,
        provider: provider.clone(),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    // A resumed session would skip the verifier.
    config.resumption = Resumption::disabled();
    Ok(config)
}

#[derive(Debug)]
struct Verifier {
    expected: SpiffeId,
    authorities: Arc<Slot<X509Authorities>>,
    now: Timestamp,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn verify(&self, leaf: &CertificateDer<'_>, chain: &[CertificateDer<'_>]) -> Result<(), NotTheServer> {
        let leaf = Leaf::parse_known(leaf)?;
        let chain: Vec<_> = chain.iter().map(|one| one.clone().into_owned()).collect();
        let none = || Rejected::NoAuthorities {
            origin: self.authorities.source().clone(),
        };
        let view: Arc<Held<X509Authorities>> = self.authorities.held().ok_or_else(none)?;
        verify_server(&leaf, &chain, &view, &self.expected, self.now)
    }
}

impl ServerCertVerifier for Verifier {
    /// Ignores the server's host name (F-5).
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.verify(leaf, chain);
        verified
            .map(|()| ServerCertVerified::assertion())
            .map_err(|why| Error::General(format!("the server is not the configured endpoint: {why}")))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
