//! Tests of valid and invalid documents and elements.

use super::*;
use crate::trust::jwt::Algorithm;
use crate::trust::jwt::testing::{Signer, encode, key_set};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RsaKeyPair};
use serde_json::json;

fn read(elements: &[Value], rule: UseRule) -> Parsed<KeySet> {
    parse(&key_set(elements), rule).unwrap()
}

/// Returns why the only element is skipped.
fn skipped(element: Value, rule: UseRule) -> String {
    let parsed = read(&[element], rule);
    assert!(parsed.value.is_empty());
    assert_eq!(parsed.skipped.len(), 1);
    parsed.skipped[0].why.clone()
}

fn ec() -> Signer {
    Signer::new(Algorithm::ES256, "ec")
}

fn rsa() -> Signer {
    Signer::new(Algorithm::RS256, "rsa")
}

fn without(mut element: Value, member: &str) -> Value {
    element.as_object_mut().unwrap().remove(member);
    element
}

#[test]
fn b_01_keys_must_be_a_list() {
    let keys = |found| Err(InvalidJwks::Keys { found });
    for (document, outcome) in [
        ("{}", keys("nothing")),
        (r#"{"keys":null}"#, keys("null")),
        (r#"{"keys":{}}"#, keys("an object")),
        (r#"{"Keys":[]}"#, keys("nothing")),
        ("[]", Err(InvalidJwks::Json(InvalidJson::NotAnObject))),
        (
            "-----BEGIN CERTIFICATE-----",
            Err(InvalidJwks::Json(InvalidJson::Syntax { line: 1, column: 2 })),
        ),
        (
            "",
            Err(InvalidJwks::Json(InvalidJson::Syntax { line: 1, column: 0 })),
        ),
        (
            r#"{"keys":[]} x"#,
            Err(InvalidJwks::Json(InvalidJson::Syntax { line: 1, column: 13 })),
        ),
        (
            r#"{"keys":[],"keys":[]}"#,
            Err(InvalidJwks::Json(InvalidJson::Duplicate {
                member: "keys".into(),
            })),
        ),
        (
            r#"{"keys":[{"kid":"a","kid":"b"}]}"#,
            Err(InvalidJwks::Json(InvalidJson::Duplicate { member: "kid".into() })),
        ),
    ] {
        assert_eq!(
            parse(document.as_bytes(), UseRule::Oidc).map(|_| ()),
            outcome,
            "{document}"
        );
    }
}

#[test]
fn b_02_an_empty_list_is_well_formed() {
    let parsed = parse(br#"{"keys":[]}"#, UseRule::SpiffeBundle).unwrap();
    assert!(parsed.value.is_empty() && parsed.skipped.is_empty());
}

#[test]
fn b_04_one_bad_element_does_not_spoil_the_rest() {
    let good = ec().jwk_with("kid", "good");
    let elements = [
        json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": "post-quantum", "pub": "AA"}),
        json!({"kid": "typeless"}),
        json!(7),
        json!({"kty": "EC", "crv": "secp256k1", "kid": "curve\n", "x": "AA", "y": "AA"}),
        good,
        ec().jwk_with("kid", 5),
    ];
    let parsed = read(&elements, UseRule::Oidc);
    assert_eq!(parsed.value.key_ids().collect::<Vec<_>>(), ["good"]);
    let skipped: Vec<_> = parsed.skipped.iter().map(ToString::to_string).collect();
    assert_eq!(
        skipped,
        [
            r#"keys[0] (kid post-quantum): expected kty `RSA`, `EC` or `OKP`, found "AKP""#,
            "keys[1] (kid typeless): expected a string as `kty`, found nothing",
            "keys[2]: expected an object, found a number",
            r#"keys[3] (kid curve\n): expected crv P-256, P-384 or P-521, found "secp256k1""#,
            "keys[5] (kid 5): expected a non-empty string as `kid`, found a number",
        ]
    );
}

#[test]
fn b_05_use_depends_on_the_source_and_on_case() {
    let table = [
        (json!(null), [false, false, false, true]),
        (json!("sig"), [true, false, true, true]),
        (json!("SIG"), [false, false, false, true]),
        (json!("enc"), [false, false, false, true]),
        (json!("jwt-svid"), [false, true, true, true]),
        (json!("JWT-SVID"), [false, false, false, true]),
        (json!("x509-svid"), [false, false, false, true]),
        (json!(["sig"]), [false, false, false, true]),
    ];
    let rules = [
        UseRule::Oidc,
        UseRule::SpiffeBundle,
        UseRule::WorkloadApi,
        UseRule::Ignored,
    ];
    for (stated, counts) in table {
        for (rule, counts) in rules.into_iter().zip(counts) {
            assert_eq!(
                read(&[ec().jwk_with("use", stated.clone())], rule).value.len(),
                usize::from(counts),
                "{stated} {rule:?}"
            );
        }
    }
    for (rule, counts) in rules.into_iter().zip([true, false, true, true]) {
        assert_eq!(
            read(&[ec().jwk()], rule).value.len(),
            usize::from(counts),
            "absent, {rule:?}"
        );
    }
    let missing = skipped(ec().jwk(), UseRule::SpiffeBundle);
    assert_eq!(
        missing,
        "expected `use` to be `x509-svid` or `jwt-svid`, found nothing"
    );
    for silent in ["x509-svid", "wit-svid"] {
        assert_eq!(read(&[json!({"use": silent})], UseRule::SpiffeBundle).skipped, []);
    }
}

/// As Keycloak and others publish them.
#[test]
fn ignored_elements_are_reported_apart_from_faults() {
    let table = [
        (rsa().jwk_with("use", "enc"), UseRule::Oidc, true),
        (ec().jwk_with("use", "something-new"), UseRule::Oidc, true),
        (ec().jwk_with("key_ops", json!(["wrapKey"])), UseRule::Oidc, true),
        (rsa().jwk_with("alg", "RSA-OAEP"), UseRule::Oidc, true),
        (
            json!({"kty": "AKP", "alg": "ML-DSA-44", "use": "sig", "kid": "pq", "pub": "AA"}),
            UseRule::Oidc,
            true,
        ),
        (
            json!({"kty": "EC", "crv": "secp256k1", "kid": "k", "x": "AA", "y": "AA"}),
            UseRule::Oidc,
            true,
        ),
        (ec().jwk_with("use", "something-new"), UseRule::SpiffeBundle, true),
        (ec().jwk(), UseRule::SpiffeBundle, true),
        (
            json!({"kty": "AKP", "use": "jwt-svid", "kid": "pq", "pub": "AA"}),
            UseRule::SpiffeBundle,
            true,
        ),
        (ec().jwk_with("use", json!(["sig"])), UseRule::Oidc, false),
        (rsa().jwk_with("n", "AAAA=="), UseRule::Oidc, false),
        (rsa().jwk_with("n", encode([0xff; 128])), UseRule::Oidc, false),
        (ec().jwk_with("kid", 7), UseRule::Oidc, false),
        (ec().jwk_with("alg", json!(null)), UseRule::Oidc, false),
        (ec().jwk_with("alg", "ES384"), UseRule::Oidc, false),
        (ec().jwk_with("d", json!(null)), UseRule::Oidc, false),
        (
            json!({"kty": "RSA", "use": "enc", "d": "AA"}),
            UseRule::Oidc,
            false,
        ),
        (json!({"kty": "oct", "k": "AAAA"}), UseRule::Oidc, false),
        (json!({"kid": "typeless"}), UseRule::Oidc, false),
        (
            without(ec().jwk_with("use", "jwt-svid"), "kid"),
            UseRule::SpiffeBundle,
            false,
        ),
    ];
    for (element, rule, ignored) in table {
        let good = ec().jwk_with(
            "use",
            if rule == UseRule::SpiffeBundle {
                "jwt-svid"
            } else {
                "sig"
            },
        );
        let parsed = read(&[good, element.clone()], rule);
        assert_eq!((parsed.value.len(), parsed.skipped.len()), (1, 1), "{element}");
        assert_eq!(
            parsed.skipped[0].ignored, ignored,
            "{element}: {}",
            parsed.skipped[0]
        );
    }
    let only = read(&[rsa().jwk_with("use", "enc")], UseRule::Oidc);
    assert!(
        !only.skipped[0].ignored,
        "if no key is usable, ignored elements are faults"
    );
}

#[test]
fn b_08_spiffe_keys_need_a_kid() {
    let bare = || without(ec().jwk_with("use", "jwt-svid"), "kid");
    for rule in [UseRule::SpiffeBundle, UseRule::WorkloadApi] {
        assert_eq!(
            skipped(bare(), rule),
            "expected a non-empty string as `kid`, found nothing"
        );
        assert_eq!(
            skipped(ec().jwk_with("kid", ""), UseRule::WorkloadApi),
            "expected a non-empty string as `kid`, found a string"
        );
    }
    for rule in [UseRule::Oidc, UseRule::Ignored] {
        assert_eq!(read(&[without(ec().jwk(), "kid")], rule).value.len(), 1);
    }
}

#[test]
fn b_18_no_private_key_and_no_shared_secret() {
    assert!(skipped(ec().jwk_with("d", "AA"), UseRule::WorkloadApi).starts_with("this is a private key"));
    assert!(
        skipped(ec().jwk_with("d", json!(null)), UseRule::Oidc)
            .ends_with("found `d: null`; leave the member out")
    );
    for rule in [UseRule::Oidc, UseRule::Ignored, UseRule::WorkloadApi] {
        assert!(
            skipped(json!({"kty": "oct", "kid": "s", "k": "AAAA"}), rule)
                .starts_with("this is a shared secret")
        );
    }
}

#[test]
fn key_ops_must_allow_verifying_and_alg_must_fit() {
    assert_eq!(
        read(
            &[ec().jwk_with("key_ops", json!(["sign", "verify"]))],
            UseRule::Oidc
        )
        .value
        .len(),
        1
    );
    for bad in [json!([]), json!(["encrypt"])] {
        assert_eq!(
            skipped(ec().jwk_with("key_ops", bad), UseRule::Oidc),
            "the key is not for verifying: its `key_ops` has no `verify`"
        );
    }
    assert_eq!(
        skipped(ec().jwk_with("key_ops", "verify"), UseRule::Oidc),
        "expected a list as `key_ops`, found a string"
    );
    assert_eq!(
        read(&[ec().jwk_with("alg", "ES256")], UseRule::Oidc).value.len(),
        1
    );
    for bad in ["ES384", "RS256"] {
        assert!(
            skipped(ec().jwk_with("alg", bad), UseRule::Oidc).contains("does not fit the key"),
            "{bad}"
        );
    }
    for bad in ["HS256", "none", "RSA-OAEP"] {
        assert!(
            skipped(ec().jwk_with("alg", bad), UseRule::Oidc).contains("not a supported signature algorithm"),
            "{bad}"
        );
    }
}

#[test]
fn an_ec_point_lies_on_its_curve_and_is_written_in_full() {
    let point = "the coordinates are not a point of the curve P-256";
    let zeros = encode([0; 32]);
    assert_eq!(skipped(ec().jwk_with("x", zeros.clone()), UseRule::Oidc), point);
    for short in [encode([1; 31]), encode([0; 33]), String::new()] {
        assert_eq!(skipped(ec().jwk_with("y", short), UseRule::Oidc), point);
    }
    assert_eq!(
        skipped(ec().jwk_with("x", format!("{zeros}=")), UseRule::Oidc),
        "`x` is not base64url without padding"
    );
    assert_eq!(
        skipped(without(ec().jwk(), "y"), UseRule::Oidc),
        "expected a string as `y`, found nothing"
    );
    assert!(skipped(ec().jwk_with("crv", "P-384"), UseRule::Oidc).contains("P-384"));
    let edwards = Signer::new(Algorithm::EdDSA, "ed");
    assert_eq!(read(&[edwards.jwk()], UseRule::Oidc).value.len(), 1);
    assert!(skipped(edwards.jwk_with("x", "AA"), UseRule::Oidc).contains("Ed25519"));
    assert!(skipped(edwards.jwk_with("crv", "X25519"), UseRule::Oidc).contains("X25519"));
}

#[test]
fn rsa_keys_have_2048_to_8192_bits_not_counting_zeros_in_front() {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let modulus = pair.public_key().modulus();
    let exponent = pair.public_key().exponent();
    let modulus = modulus.big_endian_without_leading_zero();
    let jwk = |n: &[u8], e: &[u8]| json!({"kty": "RSA", "kid": "k", "n": encode(n), "e": encode(e)});
    let e = exponent.big_endian_without_leading_zero();
    assert_eq!(
        read(
            &[jwk(&[&[0, 0], modulus].concat(), &[&[0], e].concat())],
            UseRule::Oidc
        )
        .value
        .len(),
        1
    );
    let mut shorter = modulus.to_vec();
    shorter[0] = 0x7f;
    for (n, found) in [
        (shorter, 2047),
        (modulus[..128].to_vec(), 1024),
        (vec![0; 300], 0),
        (vec![0xff; 1025], 8200),
    ] {
        assert_eq!(
            skipped(jwk(&n, e), UseRule::Oidc),
            format!("expected an RSA modulus of 2048 to 8192 bits, found {found}")
        );
    }
    for weak in [
        &[1][..],
        &[2],
        &[],
        &[0],
        &[1, 0],
        &[2, 0, 0, 0, 1],
        &[1, 0, 0, 0, 0, 1],
    ] {
        assert!(
            read(&[jwk(modulus, weak)], UseRule::Oidc).value.is_empty(),
            "{weak:?}"
        );
    }
}

#[test]
fn prints_no_key_material_and_clones_share() {
    let keys = read(&[rsa().jwk(), ec().jwk()], UseRule::Oidc)
        .value
        .demanding_issuer("https://i");
    let text = format!("{keys:?}");
    assert!(
        text.contains("rsa") && text.contains("PS512") && text.contains("https://i"),
        "{text}"
    );
    assert!(text.len() < 400, "{text}");
    assert!(KeySet::default().is_empty());
}

/// RFC 7638 3.1.
#[test]
fn a_keys_fingerprint_begins_its_thumbprint() {
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let thumbprint =
        crate::trust::digest_of_base64url("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs").unwrap();
    let expected = crate::trust::fingerprint_of_digest(&thumbprint);
    let example = json!({"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"});
    assert_eq!(
        **read(&[example], UseRule::Oidc).value.keys()[0].fingerprint(),
        *expected
    );
}
