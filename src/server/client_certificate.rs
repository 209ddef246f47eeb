//! Client certificates in the handshake. By default the server asks for one and does not verify it yet. A
//! client with a bad certificate can then still use a good token, or gets a readable 401. The handshake only
//! checks that the client has the key.
//!
//! [`provable_key`] decides whether that can be checked. rustls reads a key only from a certificate that it
//! accepts, so it gets the key alone. A certificate with an unknown critical extension, or of version 1, then
//! does not end the handshake. With a key of an unsupported kind the handshake continues without the proof,
//! and the same function makes [`Peer`](crate::identity::Peer) reject the certificate.

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
    /// The server asks for one. The handshake succeeds without one, or with a bad one.
    Optional,
    /// The handshake fails without one, or with one that the [`ChainCheck`] rejects.
    Required,
}

/// Verifies a chain, leaf first, in the handshake. Only [`ClientAuth::Required`] uses it.
pub type ChainCheck = Arc<dyn Fn(&[CertificateDer<'static>]) -> Result<(), NotAccepted> + Send + Sync>;

/// The reason why a client certificate ended the handshake.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct NotAccepted {
    pub reason: String,
    /// The evidence of the certificate.
    pub evidence: Box<Evidence>,
}

impl NotAccepted {
    /// The reason, if a client certificate caused `error`.
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
    check: Option<ChainCheck>,
    provider: &CryptoProvider,
) -> Option<Arc<dyn ClientCertVerifier>> {
    let required = match auth {
        ClientAuth::Off => return None,
        ClientAuth::Optional => false,
        ClientAuth::Required => true,
    };
    let check = check.filter(|_| required);
    Some(Arc::new(Verifier {
        required,
        check,
        algorithms: provider.signature_verification_algorithms,
    }))
}

struct Verifier {
    required: bool,
    check: Option<ChainCheck>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    /// There are no hints, so that a client sends its certificate whatever the trust domains are at the
    /// moment.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(check) = &self.check {
            let chain: Vec<_> = std::iter::once(leaf)
                .chain(intermediates)
                .map(|der| der.clone().into_owned())
                .collect();
            check(&chain)?;
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
    /// Checks the signature with `verify`, if the leaf's key is of a supported kind.
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
            // The same check makes `Peer` reject the certificate, so this is as if the client had sent none.
            Err(_) => Ok(HandshakeSignatureValid::assertion()),
        }
    }
}

/// Verifies as rustls does, but with the key alone. A scheme of TLS 1.2 does not name the curve, so each is
/// tried.
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
