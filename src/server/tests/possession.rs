//! The proof that a client has the key of its certificate, even if rustls rejects the certificate.

use super::{Pki, Running, self_signed};
use crate::server::{ChainCheck, ClientAuth};
use crate::trust::x509::testing::{Ca, MadeUp, key, unknown_critical, version_1};
use crate::trust::x509::{Leaf, provable_key};
use pki_types::{CertificateDer, PrivateKeyDer};
use rcgen::KeyPair;
use rustls::ClientConfig;
use rustls::SupportedProtocolVersion;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::sync::Arc;

const ID: &str = "spiffe://prod.test/a";
const VERSIONS: [&[&SupportedProtocolVersion]; 2] = [&[&rustls::version::TLS12], &[&rustls::version::TLS13]];

/// Presents this certificate and signs with this key, even if they do not match.
fn presenting(
    pki: &Pki,
    versions: &[&'static SupportedProtocolVersion],
    leaf: &CertificateDer<'static>,
    key: &KeyPair,
) -> ClientConfig {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let key = default_provider().key_provider.load_private_key(key).unwrap();
    let mut client = pki.client_of(versions, None);
    client.client_auth_cert_resolver =
        Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![leaf.clone()], key)));
    client
}

/// Certificates for this key that rustls rejects, although it supports the key.
fn not_taken(ca: &Ca, key: &KeyPair) -> [CertificateDer<'static>; 2] {
    [
        ca.leaf(key, unknown_critical),
        version_1(ca, &ca.svid_der_for(ID, key)),
    ]
}

#[tokio::test]
async fn a_certificate_that_rustls_rejects_does_not_end_the_handshake() {
    let pki = Pki::new();
    let ca = Ca::root("prod.test");
    let key = key();
    let server = Running::tls(pki.server(ClientAuth::Optional, None)).await;
    for versions in VERSIONS {
        for leaf in not_taken(&ca, &key) {
            assert!(webpki::EndEntityCert::try_from(&leaf).is_err());
            assert_eq!(
                server.ask(presenting(&pki, versions, &leaf, &key)).await.unwrap(),
                "true a chain 127.0.0.1"
            );
        }
    }
}

#[tokio::test]
async fn the_client_must_have_the_key_of_a_certificate_that_rustls_rejects() {
    let pki = Pki::new();
    let ca = Ca::root("prod.test");
    let owner = key();
    let server = Running::tls(pki.server(ClientAuth::Optional, None)).await;
    for versions in VERSIONS {
        for leaf in not_taken(&ca, &owner) {
            server
                .ask(presenting(&pki, versions, &leaf, &key()))
                .await
                .unwrap_err();
        }
        server
            .ask(presenting(&pki, versions, &self_signed(false).0[0], &key()))
            .await
            .unwrap_err();
    }
}

#[tokio::test]
async fn an_unsupported_key_does_not_end_the_handshake_and_its_certificate_is_rejected() {
    let pki = Pki::new();
    let ca = Ca::root("prod.test");
    let server = Running::tls(pki.server(ClientAuth::Optional, None)).await;
    let weak = ca.svid_der_for(ID, &MadeUp::rsa(128));
    let large = ca.svid_der_with(ID, |params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("a".try_into().unwrap()); 10_000]
    });
    let garbage = CertificateDer::from(b"no certificate".to_vec());
    for versions in VERSIONS {
        for leaf in [&weak, &large, &garbage] {
            assert_eq!(
                server
                    .ask(presenting(&pki, versions, leaf, &key()))
                    .await
                    .unwrap(),
                "true a chain 127.0.0.1"
            );
            assert_eq!(provable_key(leaf).unwrap_err(), Leaf::parse(leaf).unwrap_err());
        }
    }
}

#[tokio::test]
async fn an_unsupported_key_ends_the_handshake_if_a_certificate_is_required() {
    let pki = Pki::new();
    let ca = Ca::root("prod.test");
    // This holds even if the chain check accepts everything.
    let judges: [Option<ChainCheck>; 2] = [None, Some(Arc::new(|_| Ok(())))];
    for judge in judges {
        let server = Running::tls(pki.server(ClientAuth::Required, judge)).await;
        for versions in VERSIONS {
            let weak = ca.svid_der_for(ID, &MadeUp::rsa(128));
            server
                .ask(presenting(&pki, versions, &weak, &key()))
                .await
                .unwrap_err();
            let owner = key();
            assert!(
                server
                    .ask(presenting(&pki, versions, &ca.svid_der_for(ID, &owner), &owner))
                    .await
                    .is_ok()
            );
        }
    }
}

#[tokio::test]
async fn every_kind_of_key_proves_itself() {
    let pki = Pki::new();
    let ca = Ca::root("prod.test");
    let server = Running::tls(pki.server(ClientAuth::Optional, None)).await;
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let of = |algorithm| KeyPair::generate_for(algorithm).unwrap();
    for key in [
        of(&rcgen::PKCS_ECDSA_P256_SHA256),
        of(&rcgen::PKCS_ECDSA_P384_SHA384),
        of(&rcgen::PKCS_ECDSA_P521_SHA512),
        of(&rcgen::PKCS_ED25519),
        rsa,
    ] {
        let leaf = ca.svid_der_for(ID, &key);
        for versions in VERSIONS {
            let asked = server.ask(presenting(&pki, versions, &leaf, &key)).await;
            assert_eq!(asked.unwrap(), "true a chain 127.0.0.1", "{:?}", key.algorithm());
        }
    }
}

/// If a key that the provider supports were treated as unsupported, its certificate would need no proof.
#[test]
fn the_supported_keys_are_those_of_the_provider() {
    let algorithms = default_provider().signature_verification_algorithms;
    let known: Vec<_> = algorithms
        .mapping
        .iter()
        .flat_map(|(_, algorithms)| *algorithms)
        .map(|one| one.public_key_alg_id())
        .collect();
    for id in &known {
        assert!(crate::trust::x509::can_prove(id), "{id:?}");
    }
    for id in webpki::ALL_VERIFICATION_ALGS
        .iter()
        .map(|one| one.public_key_alg_id())
    {
        assert!(
            !crate::trust::x509::can_prove(&id) || known.contains(&id),
            "{id:?}"
        );
    }
}
