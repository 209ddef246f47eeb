//! Client certificates in the handshake. By default they are asked for and taken along unjudged, so that a bad one gets a readable
//! 401 and does not keep a client with a good token from connecting. What is always checked is that the client has the key.

use pki_types::{CertificateDer, UnixTime};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::fmt;
use std::sync::Arc;

/// Whether clients are asked for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ClientAuth {
    #[default]
    Off,
    /// Asked for; none or a bad one does not end the handshake.
    Optional,
    /// None, or one that the [`Judge`] refuses, ends the handshake.
    Required,
}

/// Says in the handshake whether a chain, leaf first, is good. Asked only with [`ClientAuth::Required`].
pub type Judge = Arc<dyn Fn(&[CertificateDer<'static>]) -> bool + Send + Sync>;

/// `None` with [`ClientAuth::Off`].
pub(super) fn verifier(auth: ClientAuth, judge: Option<Judge>, provider: &CryptoProvider) -> Option<Arc<dyn ClientCertVerifier>> {
    let required = match auth {
        ClientAuth::Off => return None,
        ClientAuth::Optional => false,
        ClientAuth::Required => true,
    };
    let judge = judge.filter(|_| required);
    Some(Arc::new(Verifier { required, judge, algorithms: provider.signature_verification_algorithms }))
}

struct Verifier {
    required: bool,
    judge: Option<Judge>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    /// No hints: a client then sends what it has, whatever the trust domains are at the moment.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(judge) = &self.judge {
            let chain: Vec<_> = std::iter::once(leaf).chain(intermediates).map(|der| der.clone().into_owned()).collect();
            if !judge(&chain) {
                return Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
            }
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("required", &self.required).finish_non_exhaustive()
    }
}
