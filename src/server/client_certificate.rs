//! Client certificates in the handshake. By default they are asked for and taken along unjudged, so that a
//! bad one gets a readable 401 and does not keep a client with a good token from connecting. What is checked
//! is that the client has the key.
//!
//! [`provable_key`] decides whether that can be checked at all. rustls reads the key out of the certificate
//! only where it would accept the certificate, too, so the key is handed to it by itself: then a certificate
//! with an unknown critical extension, or of version 1, does not end the handshake. Where the key can prove
//! nothing, the handshake goes on without the proof, and the same function keeps
//! [`Peer`](crate::identity::Peer) from taking that certificate for anybody's.

use crate::identity::Evidence;
use crate::trust::x509::provable_key;
use pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerMisbehaved,
    SignatureScheme,
};
use std::fmt;
use std::io;
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
pub type Judge = Arc<dyn Fn(&[CertificateDer<'static>]) -> Result<(), NotAccepted> + Send + Sync>;

/// Why a client certificate ended the handshake.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct NotAccepted {
    pub reason: String,
    /// Of the certificate.
    pub evidence: Box<Evidence>,
}

impl NotAccepted {
    /// The one that ended a handshake with `error`, if it was that.
    pub(super) fn of(error: &io::Error) -> Option<&Self> {
        match error.get_ref()?.downcast_ref()? {
            Error::InvalidCertificate(CertificateError::Other(OtherError(why))) => why.downcast_ref(),
            _ => None,
        }
    }
}

impl From<NotAccepted> for Error {
    fn from(why: NotAccepted) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why))))
    }
}

/// `None` with [`ClientAuth::Off`].
pub(super) fn verifier(
    auth: ClientAuth,
    judge: Option<Judge>,
    provider: &CryptoProvider,
) -> Option<Arc<dyn ClientCertVerifier>> {
    let required = match auth {
        ClientAuth::Off => return None,
        ClientAuth::Optional => false,
        ClientAuth::Required => true,
    };
    let judge = judge.filter(|_| required);
    Some(Arc::new(Verifier {
        required,
        judge,
        algorithms: provider.signature_verification_algorithms,
    }))
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
            let chain: Vec<_> = std::iter::once(leaf)
                .chain(intermediates)
                .map(|der| der.clone().into_owned())
                .collect();
            judge(&chain)?;
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.proved(leaf, |key| {
            verify_tls12(message, key, signature, &self.algorithms)
        })
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.proved(leaf, |key| {
            verify_tls13_signature_with_raw_key(message, key, signature, &self.algorithms)
        })
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl Verifier {
    /// Has `verify` check the signature, if the leaf's key can prove anything.
    fn proved(
        &self,
        leaf: &CertificateDer<'_>,
        verify: impl FnOnce(&SubjectPublicKeyInfoDer<'_>) -> Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        match provable_key(leaf) {
            Ok(key) => verify(&key),
            Err(why) if self.required => Err(NotAccepted {
                reason: why.to_string(),
                evidence: Box::default(),
            }
            .into()),
            // As if the client had sent no certificate: nobody ever takes it for this one's owner.
            Err(_) => Ok(HandshakeSignatureValid::assertion()),
        }
    }
}

/// As rustls does it, but with the key alone. A scheme of TLS 1.2 does not say which curve: each is tried.
fn verify_tls12(
    message: &[u8],
    key: &SubjectPublicKeyInfoDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let candidates = algorithms
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == signed.scheme)
        .map(|(_, candidates)| *candidates);
    let candidates = candidates.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    let key = webpki::RawPublicKeyEntity::try_from(key).map_err(|_| CertificateError::BadEncoding)?;
    let verified = candidates.iter().any(|algorithm| {
        key.verify_signature(*algorithm, message, signed.signature())
            .is_ok()
    });
    if verified {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(CertificateError::BadSignature.into())
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("required", &self.required)
            .finish_non_exhaustive()
    }
}
