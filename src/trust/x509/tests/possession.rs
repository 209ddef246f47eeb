//! Tests of which keys the handshake can prove.

use super::super::testing::{Ca, MadeUp, NOW, holding, key, key_for, leaf, unknown_critical, version_1};
use super::super::*;
use super::ID;
use pki_types::CertificateDer;
use rcgen::{KeyPair, PublicKeyData, RsaKeySize};

fn unprovable(key: &impl PublicKeyData) -> Unprovable {
    let der = Ca::root("root").svid_der_for(ID, key);
    let why = match provable_key(&der) {
        Err(Rejected::UnprovableKey(why)) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        Leaf::parse(&der).unwrap_err(),
        Rejected::UnprovableKey(why.clone()),
        "identity uses the same function"
    );
    why
}

#[test]
fn keys_of_the_handshakes_algorithms_can_be_proved() {
    let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).unwrap();
    for key in [
        key_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        key_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        key_for(&rcgen::PKCS_ECDSA_P521_SHA512),
        key_for(&rcgen::PKCS_ED25519),
        rsa(RsaKeySize::_2048),
    ] {
        let der = Ca::root("root").svid_der_for(ID, &key);
        assert_eq!(
            provable_key(&der).unwrap().as_ref(),
            key.subject_public_key_info()
        );
        assert!(Leaf::parse(&der).is_ok());
    }
    assert!(
        provable_key(&Ca::root("root").svid_der_for(ID, &MadeUp::rsa(1024))).is_ok(),
        "8192 bits"
    );
}

#[test]
fn other_keys_cannot_be_proved() {
    assert_eq!(unprovable(&MadeUp::rsa(128)), Unprovable::RsaSize { bits: 1024 });
    assert_eq!(unprovable(&MadeUp::rsa(255)), Unprovable::RsaSize { bits: 2040 });
    assert_eq!(unprovable(&MadeUp::rsa(1025)), Unprovable::RsaSize { bits: 8200 });
    assert_eq!(
        unprovable(&MadeUp::new(&rcgen::PKCS_RSA_SHA256, &[0x30, 0])),
        Unprovable::Malformed
    );
    let off_the_curve = [&[4][..], &[1; 64]].concat();
    for bytes in [&off_the_curve[..], &[], &[4], &[0; 65]] {
        assert_eq!(
            unprovable(&MadeUp::new(&rcgen::PKCS_ECDSA_P256_SHA256, bytes)),
            Unprovable::Malformed,
            "{bytes:?}"
        );
    }
    assert_eq!(
        unprovable(&MadeUp::new(&rcgen::PKCS_ED25519, &[1; 31])),
        Unprovable::Malformed
    );
    // A key for another curve: its algorithm does not fit the point.
    assert_eq!(
        unprovable(&MadeUp::new(&rcgen::PKCS_ECDSA_P384_SHA384, key().der_bytes())),
        Unprovable::Malformed
    );
    // secp256k1 and Ed448, by patching the identifiers of P-256 and Ed25519.
    let patched = |key: &KeyPair, from: &[u8], to: &[u8]| {
        let mut der = Ca::root("root").svid_der_for(ID, key).to_vec();
        let place = der
            .windows(from.len())
            .rposition(|window| window == from)
            .unwrap();
        der[place..place + from.len()].copy_from_slice(to);
        provable_key(&der).unwrap_err().to_string()
    };
    let text = patched(
        &key_for(&rcgen::PKCS_ED25519),
        &[0x06, 3, 0x2b, 0x65, 0x70],
        &[0x06, 3, 0x2b, 0x65, 0x71],
    );
    assert!(text.contains("found algorithm 1.3.101.113"), "{text}");
    let p256 = [0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let text = patched(&key(), &p256, &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 1]);
    assert!(
        text.contains("found algorithm 1.2.840.10045.2.1 with 1.2.840.10045.3.1.1"),
        "{text}"
    );
}

#[test]
fn a_certificate_that_no_chain_can_save_is_proved_and_rejected_with_its_own_reason() {
    let root = Ca::root("root");
    let critical = root.svid_der_with(ID, unknown_critical);
    assert!(provable_key(&critical).is_ok());
    let refused = verify_svid(&leaf(&critical), &[], &holding(&[&root]), NOW).unwrap_err();
    assert_eq!(
        refused,
        Rejected::CriticalExtension {
            oid: "1.2.3.4".into()
        }
    );
    let old = version_1(&root, &root.svid_der(ID));
    assert!(provable_key(&old).is_ok());
    assert_eq!(Leaf::parse(&old).unwrap_err(), Rejected::Version { found: 1 });
}

#[test]
fn an_unreadable_certificate_is_rejected() {
    let good = Ca::root("root").svid_der(ID);
    for der in [
        &[][..],
        b"no certificate",
        &good[..good.len() - 1],
        &[good.as_ref(), &[0]].concat(),
    ] {
        assert!(matches!(provable_key(der), Err(Rejected::Malformed(_))));
        assert!(matches!(
            Leaf::parse(&CertificateDer::from(der)),
            Err(Rejected::Malformed(_))
        ));
    }
}
