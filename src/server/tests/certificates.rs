//! The certificate that each client gets: by name, or the registry's own X.509-SVID, which SPIFFE clients
//! verify.

use super::{Pki, Running, ask, open};
use crate::server::{ClientAuth, PairFiles, Tls, TlsSettings};
use pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rcgen::{CertificateParams, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

type Svid = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Pki {
    /// Writes a pair of files whose certificate has these names.
    fn pair(&self, file: &str, names: &[&str]) -> (PairFiles, CertificateDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let cert = self.ca.certify(&CertificateParams::new(names).unwrap(), &key);
        let files = PairFiles {
            cert: self.folder().join(format!("{file}.crt")),
            key: self.folder().join(format!("{file}.key")),
        };
        std::fs::write(&files.cert, cert.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        (files, cert.der().clone())
    }

    /// A certificate as SPIRE issues it: with one URI and no name.
    fn svid(&self, id: &str) -> Svid {
        let key = KeyPair::generate().unwrap();
        (
            vec![self.ca.svid_der_for(id, &key)],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
    }

    /// A client that verifies the server only by the SPIFFE ID `expected`.
    fn spiffe_client(&self, expected: Expected) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = Verifier {
            root: self.ca.der.clone(),
            expected,
            provider: provider.clone(),
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        Arc::new(
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
                .with_no_client_auth(),
        )
    }
}

/// The server that a client expects.
#[derive(Clone, Copy, Debug)]
enum Expected {
    Exactly(&'static str),
    Below(&'static str),
    TrustDomain(&'static str),
    Anyone,
}

/// Verifies by the X509-SVID specification, 5: first the path to an authority of the trust domain, then the
/// only URI.
#[derive(Debug)]
struct Verifier {
    root: CertificateDer<'static>,
    expected: Expected,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let refused = || Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        let algorithms = self.provider.signature_verification_algorithms.all;
        let anchors = [webpki::anchor_from_trusted_cert(&self.root).unwrap()];
        let end = webpki::EndEntityCert::try_from(leaf).map_err(|_| refused())?;
        end.verify_for_usage(
            algorithms,
            &anchors,
            intermediates,
            now,
            webpki::KeyUsage::server_auth(),
            None,
            None,
        )
        .map_err(|_| refused())?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| refused())?;
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        let uris: Vec<_> = names
            .value
            .general_names
            .iter()
            .filter_map(|name| {
                if let GeneralName::URI(uri) = name {
                    Some(*uri)
                } else {
                    None
                }
            })
            .collect();
        let good = match (self.expected, &uris[..]) {
            (Expected::Anyone, _) => true,
            (Expected::Exactly(id), [uri]) => *uri == id,
            (Expected::Below(prefix), [uri]) => uri.starts_with(prefix),
            (Expected::TrustDomain(name), [uri]) => uri
                .strip_prefix("spiffe://")
                .is_some_and(|rest| rest.split('/').next() == Some(name)),
            _ => false,
        };
        if good {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(refused())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl Running {
    async fn shake_as(
        &self,
        client: &Arc<ClientConfig>,
        name: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(client.clone())
            .connect(name, self.connect().await)
            .await
    }

    async fn shown_for(&self, client: &Arc<ClientConfig>, name: &str) -> CertificateDer<'static> {
        let stream = self.shake_as(client, name).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0]
            .clone()
            .into_owned()
    }
}

/// A server with several files and, optionally, an X.509-SVID.
fn several(pki: &Pki, svid: bool) -> (Tls, [CertificateDer<'static>; 3]) {
    let (first, first_cert) = pki.pair("first", &["first.test", "one.wild.test"]);
    let (wild, wild_cert) = pki.pair("wild", &["*.wild.test"]);
    let (second, second_cert) = pki.pair("second", &["second.test"]);
    let settings = TlsSettings {
        files: vec![first, wild, second],
        svid,
        ..pki.settings(ClientAuth::Off)
    };
    (open(settings, None), [first_cert, wild_cert, second_cert])
}

#[tokio::test]
async fn a_client_gets_the_certificate_with_the_name_that_it_asks_for() {
    let pki = Pki::new();
    let (tls, [first, wild, second]) = several(&pki, false);
    let server = Running::tls(tls).await;
    let client = pki.spiffe_client(Expected::Anyone);
    for (name, expected) in [
        ("first.test", &first),
        ("second.test", &second),
        ("SECOND.test", &second),
        ("two.wild.test", &wild),
        ("one.wild.test", &first),
        ("a.two.wild.test", &first),
        ("wild.test", &first),
        ("other.test", &first),
        ("127.0.0.1", &first),
    ] {
        assert_eq!(server.shown_for(&client, name).await, *expected, "{name}");
    }
}

#[tokio::test]
async fn a_client_that_asks_for_another_name_gets_the_svid_if_there_is_one() {
    let pki = Pki::new();
    let (tls, [first, wild, second]) = several(&pki, true);
    let server = Running::tls(tls.clone()).await;
    let client = pki.spiffe_client(Expected::Anyone);
    assert_eq!(
        server.shown_for(&client, "other.test").await,
        first,
        "it has not come yet"
    );
    let svid = pki.svid("spiffe://prod.test/registry");
    let leaf = svid.0[0].clone();
    tls.present(Some(svid)).unwrap();
    // A wildcard comes before the SVID for the names that it covers.
    for (name, expected) in [
        ("other.test", &leaf),
        ("127.0.0.1", &leaf),
        ("second.test", &second),
        ("two.wild.test", &wild),
    ] {
        assert_eq!(server.shown_for(&client, name).await, *expected, "{name}");
    }
    tls.present(None).unwrap();
    assert_eq!(
        server.shown_for(&client, "other.test").await,
        first,
        "it was withdrawn"
    );
}

#[tokio::test]
async fn clients_verify_the_registry_as_an_x509_svid() {
    let pki = Pki::new();
    let tls = open(
        TlsSettings {
            svid: true,
            ..TlsSettings::default()
        },
        None,
    );
    let server = Running::tls(tls.clone()).await;
    let exactly = pki.spiffe_client(Expected::Exactly("spiffe://prod.test/ns/registry/wharfinger"));
    assert!(!tls.presents_something());
    assert!(
        server.shake_as(&exactly, "any.test").await.is_err(),
        "there is nothing to present yet"
    );

    tls.present(Some(pki.svid("spiffe://prod.test/ns/registry/wharfinger")))
        .unwrap();
    assert!(tls.presents_something());
    for expected in [
        Expected::Exactly("spiffe://prod.test/ns/registry/wharfinger"),
        Expected::Below("spiffe://prod.test/ns/registry/"),
        Expected::TrustDomain("prod.test"),
    ] {
        let mut stream = server
            .shake_as(&pki.spiffe_client(expected), "any.test")
            .await
            .unwrap();
        assert_eq!(
            ask(&mut stream).await.unwrap(),
            "true nobody 127.0.0.1",
            "{expected:?}"
        );
    }
    for other in [
        Expected::Exactly("spiffe://prod.test/ns/registry"),
        Expected::Below("spiffe://prod.test/ns/builders/"),
        Expected::TrustDomain("prod"),
    ] {
        assert!(
            server
                .shake_as(&pki.spiffe_client(other), "any.test")
                .await
                .is_err(),
            "{other:?}"
        );
    }
    let stranger = Pki::new();
    assert!(
        server
            .shake_as(
                &stranger.spiffe_client(Expected::TrustDomain("prod.test")),
                "any.test"
            )
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_rotated_svid_keeps_open_connections() {
    let pki = Pki::new();
    let tls = open(
        TlsSettings {
            svid: true,
            ..TlsSettings::default()
        },
        None,
    );
    tls.present(Some(pki.svid("spiffe://prod.test/registry")))
        .unwrap();
    let server = Running::tls(tls.clone()).await;
    let client = pki.spiffe_client(Expected::Exactly("spiffe://prod.test/registry"));
    let mut old = server.shake_as(&client, "any.test").await.unwrap();
    let next = pki.svid("spiffe://prod.test/registry");
    let leaf = next.0[0].clone();
    tls.present(Some(next)).unwrap();
    assert_eq!(server.shown_for(&client, "any.test").await, leaf);
    old.write_all(super::GET_AND_STAY).await.unwrap();
    old.read_exact(&mut [0; 15]).await.unwrap();
    let (_, key) = pki.svid("spiffe://prod.test/registry");
    assert!(
        tls.present(Some((vec![leaf.clone()], key))).is_err(),
        "a key of another certificate"
    );
    assert_eq!(
        server.shown_for(&client, "any.test").await,
        leaf,
        "what was presented stays"
    );
}

#[tokio::test]
async fn new_settings_apply_to_new_connections() {
    let pki = Pki::new();
    let (tls, [first, ..]) = several(&pki, false);
    let server = Running::tls(tls.clone()).await;
    let client = pki.spiffe_client(Expected::Anyone);
    let mut old = server.shake_as(&client, "first.test").await.unwrap();
    assert_eq!(server.shown_for(&client, "first.test").await, first);
    let (files, other) = pki.pair("other", &["other.test"]);
    let settings = TlsSettings {
        files: vec![files],
        ..TlsSettings::default()
    };
    tls.replace(crate::server::Prepared::read(settings).unwrap())
        .unwrap();
    assert_eq!(server.shown_for(&client, "first.test").await, other);
    assert_eq!(ask(&mut old).await.unwrap(), "true nobody 127.0.0.1");
}
