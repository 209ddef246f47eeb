//! Tests of valid and invalid documents and elements. The names have the number of the rule for bundles.

use super::*;
use crate::clock::Timestamp;
use crate::trust::x509::testing::{Ca, NOW, held, key_for, leaf};
use crate::trust::x509::{Rejected, verify_svid};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::PublicKeyData as _;
use serde_json::json;

const ID: &str = "spiffe://example.org/workload";

fn document(elements: &[Value]) -> Vec<u8> {
    json!({"keys": elements}).to_string().into_bytes()
}

fn read(elements: &[Value]) -> Parsed<Bundle> {
    parse_spiffe(&document(elements)).unwrap()
}

/// Returns the element for a P-256 authority with these members set. A member set to null is removed.
fn element(ca: &Ca, change: Value) -> Value {
    let point = ca.key().der_bytes();
    let x = URL_SAFE_NO_PAD.encode(&point[1..33]);
    let y = URL_SAFE_NO_PAD.encode(&point[33..]);
    let mut element = json!({"kty": "EC", "use": "x509-svid", "crv": "P-256", "x": x, "y": y, "x5c": [STANDARD.encode(&ca.der)]});
    for (member, value) in change.as_object().unwrap() {
        match value {
            Value::Null => element.as_object_mut().unwrap().remove(member),
            value => element
                .as_object_mut()
                .unwrap()
                .insert(member.clone(), value.clone()),
        };
    }
    element
}

/// Returns the element for a JWT key. Any point of the curve is good enough.
fn jwt_element(change: Value) -> Value {
    let mut members = json!({"use": "jwt-svid", "kid": "jwt", "x5c": null});
    members
        .as_object_mut()
        .unwrap()
        .extend(change.as_object().unwrap().clone());
    element(&Ca::root("any"), members)
}

/// Returns why the only element is skipped.
fn skipped(element: Value) -> String {
    let parsed = read(&[element]);
    assert!(parsed.value.x509.is_empty() && parsed.value.jwt.is_empty());
    assert_eq!(parsed.skipped.len(), 1, "{:?}", parsed.skipped);
    parsed.skipped[0].to_string()
}

fn judge(ca: &Ca, authorities: X509Authorities) -> Result<(), Rejected> {
    verify_svid(
        &leaf(&ca.svid_der(ID)),
        &[],
        &held(authorities, Timestamp::MAX),
        NOW,
    )
    .map(|_| ())
}

fn pem(ders: &[&[u8]]) -> String {
    let section = |der: &&[u8]| {
        format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            STANDARD.encode(der)
        )
    };
    ders.iter().map(section).collect()
}

#[test]
fn b_01_keys_must_be_a_list() {
    let keys = |found| InvalidBundle::Keys { found };
    for (document, why) in [
        ("{}", keys("nothing")),
        (r#"{"keys":null}"#, keys("null")),
        (r#"{"keys":{}}"#, keys("an object")),
        ("[]", InvalidBundle::Json(InvalidJson::NotAnObject)),
        (
            "-----BEGIN CERTIFICATE-----",
            InvalidBundle::Json(InvalidJson::Syntax { line: 1, column: 2 }),
        ),
        (
            "",
            InvalidBundle::Json(InvalidJson::Syntax { line: 1, column: 0 }),
        ),
        (
            r#"{"keys":[]} x"#,
            InvalidBundle::Json(InvalidJson::Syntax { line: 1, column: 13 }),
        ),
        (
            r#"{"keys":[],"keys":[]}"#,
            InvalidBundle::Json(InvalidJson::Duplicate {
                member: "keys".into(),
            }),
        ),
        (
            r#"{"keys":[{"use":"a","use":"b"}]}"#,
            InvalidBundle::Json(InvalidJson::Duplicate { member: "use".into() }),
        ),
    ] {
        assert_eq!(parse_spiffe(document.as_bytes()).err(), Some(why), "{document}");
    }
}

#[test]
fn b_02_an_empty_list_revokes() {
    let parsed = read(&[]);
    assert!(parsed.value.x509.is_empty() && parsed.value.jwt.is_empty() && parsed.skipped.is_empty());
    assert!(matches!(
        judge(&Ca::root("root"), parsed.value.x509),
        Err(Rejected::NoAuthorities { .. })
    ));
}

#[test]
fn b_03_a_list_without_a_usable_key_revokes() {
    let root = Ca::root("root");
    let parsed = read(&[
        element(&root, json!({"x5c": []})),
        jwt_element(json!({"kid": null})),
    ]);
    assert_eq!(parsed.skipped.len(), 2);
    assert!(matches!(
        judge(&root, parsed.value.x509),
        Err(Rejected::NoAuthorities { .. })
    ));
    assert!(parsed.value.jwt.is_empty());
}

#[test]
fn b_04_an_unknown_key_type_is_ignored_and_the_rest_is_used() {
    let root = Ca::root("root");
    let parsed = read(&[
        element(&root, json!({"kty": "AKP"})),
        element(&root, json!({"kty": null})),
        json!(7),
        element(&root, json!({})),
        jwt_element(json!({"kty": "AKP"})),
        jwt_element(json!({"kid": "good"})),
    ]);
    assert_eq!(judge(&root, parsed.value.x509), Ok(()));
    assert_eq!(parsed.value.jwt.key_ids().collect::<Vec<_>>(), ["good"]);
    let elements: Vec<_> = parsed.skipped.iter().map(|one| one.element.as_str()).collect();
    assert_eq!(elements, ["keys[2]", "keys[4] (kid jwt)", "keys[0]", "keys[1]"]);
}

#[test]
fn b_05_use_decides_and_is_case_sensitive() {
    let root = Ca::root("root");
    for (found, reported) in [
        (json!(null), true),
        (json!("sig"), true),
        (json!("X509-SVID"), true),
        (json!(["x509-svid"]), true),
        (json!("wit-svid"), false),
    ] {
        let parsed = read(&[element(&root, json!({"use": found, "kid": "one"}))]);
        assert!(
            parsed.value.x509.is_empty() && parsed.value.jwt.is_empty(),
            "{found}"
        );
        assert_eq!(!parsed.skipped.is_empty(), reported, "{found}");
    }
    let both = read(&[element(&root, json!({})), jwt_element(json!({}))]).value;
    assert_eq!(
        (both.x509.len(), both.jwt.len()),
        (1, 1),
        "an element is used only for its own kind"
    );
}

#[test]
fn b_04_to_b_06_ignored_elements_are_a_note_only_beside_a_usable_one() {
    let root = Ca::root("root");
    for (change, ignored) in [
        (json!({"kty": "AKP"}), true),
        (json!({"use": null}), true),
        (json!({"use": "of-tomorrow"}), true),
        (json!({"x5c": null}), true),
        (json!({"x5c": []}), true),
        (json!({"x5c": ["AAAA"]}), false),
        (json!({"x": "=="}), false),
        (json!({"kty": "oct"}), false),
    ] {
        let parsed = read(&[element(&root, json!({})), element(&root, change.clone())]);
        assert_eq!(
            parsed.skipped.iter().map(|one| one.ignored).collect::<Vec<_>>(),
            [ignored],
            "{change}"
        );
        assert!(
            read(&[element(&root, change)])
                .skipped
                .iter()
                .all(|one| !one.ignored),
            "nothing is usable"
        );
    }
}

#[test]
fn b_06_the_first_certificate_of_x5c_is_used_and_is_required() {
    let root = Ca::root("root");
    let other = Ca::root("other");
    let several = element(
        &root,
        json!({"x5c": [STANDARD.encode(&root.der), STANDARD.encode(&other.der), "junk"]}),
    );
    let authorities = read(&[several]).value.x509;
    assert_eq!(authorities.len(), 1);
    assert_eq!(judge(&root, authorities.clone()), Ok(()));
    assert!(judge(&other, authorities).is_err());
    for (x5c, found) in [
        (json!(null), "nothing"),
        (json!([]), "an empty list"),
        (json!("a"), "a string"),
        (json!([1]), "a list of something else"),
    ] {
        let why = format!("keys[0]: expected a list with a certificate as `x5c`, found {found}");
        assert_eq!(skipped(element(&root, json!({"x5c": x5c}))), why);
    }
}

#[test]
fn b_07_an_authority_may_have_a_key_id() {
    assert_eq!(
        read(&[element(&Ca::root("root"), json!({"kid": "one"}))])
            .value
            .x509
            .len(),
        1
    );
}

#[test]
fn b_08_a_jwt_key_must_have_a_key_id() {
    let why = "keys[0]: expected a non-empty string as `kid`, found nothing";
    assert_eq!(skipped(jwt_element(json!({"kid": null}))), why);
}

#[test]
fn b_09_the_sequence_is_an_integer_of_64_bits() {
    let sequence = |text: &str| {
        parse_spiffe(format!(r#"{{"keys":[],"spiffe_sequence":{text}}}"#).as_bytes())
            .map(|read| read.value.sequence)
    };
    assert_eq!(read(&[]).value.sequence, None);
    assert_eq!(sequence("null"), Ok(None));
    for found in [0, 1 << 63, u64::MAX] {
        assert_eq!(sequence(&found.to_string()), Ok(Some(found)));
    }
    for (text, found) in [
        ("-1", "another number"),
        ("1.5", "another number"),
        ("1.0", "another number"),
        ("18446744073709551616", "another number"),
        ("\"1\"", "a string"),
        ("[1]", "a list"),
    ] {
        assert_eq!(sequence(text), Err(InvalidBundle::Sequence { found }), "{text}");
    }
}

#[test]
fn b_10_the_refresh_hint_is_a_hint() {
    let hint = |text: &str| {
        let parsed =
            parse_spiffe(format!(r#"{{"keys":[],"spiffe_refresh_hint":{text}}}"#).as_bytes()).unwrap();
        (
            parsed.value.refresh_hint.map(|hint| hint.as_secs()),
            parsed.skipped.len(),
        )
    };
    assert_eq!(read(&[]).value.refresh_hint, None);
    assert_eq!(hint("300"), (Some(300), 0));
    for short in ["0", "-1", "59"] {
        assert_eq!(hint(short), (Some(SHORTEST_REFRESH.as_secs()), 0), "{short}");
    }
    assert_eq!(hint("null"), (None, 0));
    for mistyped in ["\"300\"", "1.5"] {
        assert_eq!(
            hint(mistyped),
            (None, 1),
            "{mistyped}: reported, and the bundle is used"
        );
    }
}

#[test]
fn b_11_unknown_members_are_ignored() {
    let root = Ca::root("root");
    let document = json!({"keys": [element(&root, json!({"x": null, "future": {"a": []}}))], "future": 1});
    assert!(
        parse_spiffe(document.to_string().as_bytes())
            .unwrap()
            .value
            .x509
            .is_empty(),
        "but `x` is the key itself"
    );
    let document =
        json!({"keys": [element(&root, json!({"future": {"a": []}, "alg": "ES256"}))], "future": 1});
    assert_eq!(
        parse_spiffe(document.to_string().as_bytes())
            .unwrap()
            .value
            .x509
            .len(),
        1
    );
}

#[test]
fn b_13_bundles_are_never_merged() {
    let ours = Ca::root("ours");
    let theirs = Ca::root("theirs");
    let [first, second] = [&ours, &theirs].map(|ca| read(&[element(ca, json!({}))]).value.x509);
    assert_eq!(judge(&ours, first.clone()), Ok(()));
    assert!(judge(&theirs, first).is_err());
    assert!(judge(&ours, second).is_err());
}

#[test]
fn b_17_a_corrupt_element_is_skipped_and_says_why() {
    let root = Ca::root("root");
    let other = Ca::root("other");
    let leaf = STANDARD.encode(root.svid_der(ID));
    let corrupt = STANDARD.encode([root.der.as_ref(), &[0]].concat());
    let urlsafe = json!({"x5c": ["_-_-"]});
    for (change, why) in [
        (
            json!({"x5c": [STANDARD.encode(&other.der)]}),
            "the certificate in `x5c` has another public key than the element itself",
        ),
        (
            json!({"x": "AAAA"}),
            "the certificate in `x5c` has another public key than the element itself",
        ),
        (json!({"x": "=="}), "`x` is not base64url without padding"),
        (json!({"y": 7}), "expected a string as `y`, found a number"),
        (
            urlsafe,
            "the first element of `x5c` is not base64 (the standard alphabet, padded)",
        ),
        (
            json!({"x5c": ["AAAA"]}),
            "the certificate in `x5c` is not usable: malformed: expected an X.509 certificate in DER",
        ),
        (
            json!({"x5c": [corrupt]}),
            "the certificate in `x5c` is not usable: malformed: 1 bytes follow the certificate",
        ),
        (
            json!({"x5c": [leaf]}),
            "the certificate in `x5c` is not usable: expected the certificate of an authority, found one without cA true",
        ),
    ] {
        assert_eq!(skipped(element(&root, change)), format!("keys[0]: {why}"));
    }
}

#[test]
fn b_17_every_kind_of_key_is_compared() {
    let ed25519 = Ca::root_of("root", key_for(&rcgen::PKCS_ED25519), |_| {});
    let x = URL_SAFE_NO_PAD.encode(ed25519.key().der_bytes());
    let okp = |x: &str| json!({"kty": "OKP", "crv": "Ed25519", "use": "x509-svid", "x": x, "x5c": [STANDARD.encode(&ed25519.der)]});
    assert_eq!(read(&[okp(&x)]).value.x509.len(), 1);
    assert!(skipped(okp("AAAA")).ends_with("another public key than the element itself"));

    let mut rsa: Value = serde_json::from_slice(include_bytes!(
        "../../../testdata/spire/cluster-b.example/bundle.json"
    ))
    .unwrap();
    let authority = rsa["keys"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .find(|one| one["use"] == "x509-svid")
        .unwrap();
    assert_eq!(
        (
            &authority["kty"],
            read(std::slice::from_ref(authority)).value.x509.len()
        ),
        (&json!("RSA"), 1)
    );
    authority["e"] = json!("Aw");
    assert!(skipped(authority.clone()).ends_with("another public key than the element itself"));
}

#[test]
fn b_18_private_and_shared_keys_are_rejected() {
    let root = Ca::root("root");
    let private = "this is a private key: its parameter `d` must never be published";
    assert_eq!(
        skipped(element(&root, json!({"d": "AA"}))),
        format!("keys[0]: {private}; replace the authority")
    );
    assert_eq!(
        skipped(element(&root, json!({"kty": "oct", "k": "AA"}))),
        "keys[0]: this is a shared secret (kty `oct`), which cannot be an authority's key"
    );
    assert_eq!(
        skipped(jwt_element(json!({"d": "AA"}))),
        format!("keys[0] (kid jwt): {private}; replace the key")
    );
    assert!(skipped(jwt_element(json!({"kty": "oct", "k": "AA"}))).contains("shared secret"));
}

#[test]
fn a_bundle_of_spire_is_read() {
    for text in [
        include_str!("../../../testdata/spire/cluster-a.example/bundle.json"),
        include_str!("../../../testdata/spire/cluster-b.example/bundle.json"),
        include_str!("../../../testdata/spire/cluster-c.example/bundle.json"),
    ] {
        let Parsed { value, skipped } = parse_spiffe(text.as_bytes()).unwrap();
        assert_eq!((value.x509.len(), value.jwt.len(), skipped), (1, 1, vec![]));
        let document: Value = serde_json::from_str(text).unwrap();
        assert_eq!(value.sequence, document["spiffe_sequence"].as_u64());
        assert_eq!(
            value.refresh_hint,
            document["spiffe_refresh_hint"].as_u64().map(Duration::from_secs)
        );
    }
}

#[test]
fn pem_holds_one_certificate_or_more() {
    let root = Ca::root("root");
    let other = Ca::root("other");
    let text = format!(
        "# roots\n{}between\n{}",
        pem(&[&root.der]),
        pem(&[&other.der]).replace('\n', "\r\n")
    );
    let parsed = parse_pem(text.as_bytes()).unwrap();
    assert_eq!((parsed.value.len(), parsed.skipped), (2, vec![]));
    for (text, why) in [
        ("", InvalidBundle::NoCertificate),
        ("{\"keys\":[]}", InvalidBundle::NoCertificate),
        (
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
            InvalidBundle::NoCertificate,
        ),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n", InvalidBundle::PemEnd),
        ("-----BEGIN CERTIFICATE\nAAAA\n", InvalidBundle::PemStart),
        (
            "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
            InvalidBundle::PemBase64,
        ),
    ] {
        assert_eq!(parse_pem(text.as_bytes()).err(), Some(why), "{text:?}");
    }
    let cut_off = &text.as_bytes()[..text.len() - 40];
    assert_eq!(
        parse_pem(cut_off).err(),
        Some(InvalidBundle::PemEnd),
        "half a file never replaces a good one"
    );
}

#[test]
fn pem_is_read_section_by_section() {
    let root = Ca::root("root");
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let text = format!(
        "{}{key}{}",
        pem(&[&[1, 2, 3]]),
        pem(&[&root.der, &root.svid_der(ID)])
    );
    let parsed = parse_pem(text.as_bytes()).unwrap();
    assert_eq!(judge(&root, parsed.value), Ok(()));
    assert_eq!(
        parsed.skipped.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "PEM section 1: malformed: expected an X.509 certificate in DER",
            "PEM section 2: expected a certificate, found another PEM section (PRIVATE KEY)",
            "PEM section 4: expected the certificate of an authority, found one without cA true",
        ]
    );
}

#[test]
fn concatenated_der() {
    let root = Ca::root("root");
    let other = Ca::root("other");
    let join = |parts: &[&[u8]]| parts.concat();
    assert!(parse_der(&[]).unwrap().value.is_empty(), "an empty bundle");
    assert_eq!(parse_der(&join(&[&root.der, &other.der])).unwrap().value.len(), 2);
    let parsed = parse_der(&join(&[&root.der, &[0x30, 1, 0], &root.svid_der(ID), &other.der])).unwrap();
    assert_eq!(parsed.value.len(), 2);
    let elements: Vec<_> = parsed.skipped.iter().map(|one| one.element.as_str()).collect();
    assert_eq!(elements, ["certificate 2", "certificate 3"]);
    let offset = root.der.len();
    for rest in [
        &other.der[..other.der.len() - 1],
        &[0],
        &[4, 0],
        &[0x30],
        b"-----BEGIN",
    ] {
        let outcome = parse_der(&join(&[&root.der, rest]));
        assert_eq!(outcome.err(), Some(InvalidBundle::Framing { offset }), "{rest:?}");
    }
}
