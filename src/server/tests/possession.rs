//! The proof that a client has the key of its certificate: rustls need not accept the certificate for that.

use super::{Pki, Running, self_signed};
use crate::server::{ClientAuth, Judge};
use crate::trust::x509::testing::{Ca, MadeUp, key, unknown_critical};
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

/// Presents this certificate and signs with this key, whether they fit or not.
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

/// Certificates that rustls does not take, for this key, which it can verify by.
fn not_taken(ca: &Ca, key: &KeyPair) -> [CertificateDer<'static>; 2] {
    [
        ca.leaf(key, unknown_critical),
        ca.version_1(&ca.svid_for(ID, key)),
    ]
}

#[tokio::test]
async fn a_certificate_that_rustls_does_not_take_ends_no_handshake() {
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
async fn and_its_key_must_be_the_clients_all_the_same() {
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
async fn a_key_that_proves_nothing_ends_no_handshake_and_is_no_leaf() {
    let pki = Pki::new();
    let ca = Ca::root("prod.test");
    let server = Running::tls(pki.server(ClientAuth::Optional, None)).await;
    let weak = ca.svid_for(ID, &MadeUp::rsa(128));
    let large = ca.svid_with(ID, |params| {
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
async fn where_one_is_required_a_key_that_proves_nothing_ends_the_handshake() {
    let pki = Pki::new();
    let ca = Ca::root("prod.test");
    // Even if whoever judges were careless.
    let judges: [Option<Judge>; 2] = [None, Some(Arc::new(|_| Ok(())))];
    for judge in judges {
        let server = Running::tls(pki.server(ClientAuth::Required, judge)).await;
        for versions in VERSIONS {
            let weak = ca.svid_for(ID, &MadeUp::rsa(128));
            server
                .ask(presenting(&pki, versions, &weak, &key()))
                .await
                .unwrap_err();
            let owner = key();
            assert!(
                server
                    .ask(presenting(&pki, versions, &ca.svid_for(ID, &owner), &owner))
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
        let leaf = ca.svid_for(ID, &key);
        for versions in VERSIONS {
            let asked = server.ask(presenting(&pki, versions, &leaf, &key)).await;
            assert_eq!(asked.unwrap(), "true a chain 127.0.0.1", "{:?}", key.algorithm());
        }
    }
}

/// A key that the provider could verify by, and that counts as one that proves nothing, would be let in
/// without a proof.
#[test]
fn the_keys_that_can_prove_something_are_those_of_the_provider() {
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
