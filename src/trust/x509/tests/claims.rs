//! Tests of the claims of certificates.

use super::super::testing::{Ca, HOUR, NOW, at, holding, key, leaf, uri, valid};
use super::super::*;
use super::ID;
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, SanType, SerialNumber};
use serde_json::{Value, json};

fn full(params: &mut CertificateParams) {
    valid(params, at(-HOUR), at(HOUR));
    params.serial_number = Some(SerialNumber::from_slice(&[0x8f, 0x01]));
    params.distinguished_name.push(DnType::CommonName, "builder");
    params
        .distinguished_name
        .push(DnType::OrganizationalUnitName, "ci");
    params
        .subject_alt_names
        .push(SanType::DnsName("b.example.org".try_into().unwrap()));
    params
        .subject_alt_names
        .push(SanType::Rfc822Name("b@example.org".try_into().unwrap()));
    params
        .subject_alt_names
        .push(SanType::IpAddress([10, 0, 0, 1].into()));
    params
        .subject_alt_names
        .push(SanType::IpAddress("2001:db8::1".parse().unwrap()));
}

fn x509(sha256: &Value) -> Value {
    json!({
        "subject": {"cn": "builder", "o": ["SPIRE"], "ou": ["ci"], "dn": "OU=ci,CN=builder,O=SPIRE,C=US"},
        "san": {"dns": ["b.example.org"], "email": ["b@example.org"], "ip": ["10.0.0.1", "2001:db8::1"], "uri": [ID]},
        "serial": "8f01",
        "sha256": sha256,
        "issuer_dn": "CN=root",
    })
}

#[test]
fn an_svid_yields_its_spiffe_id() {
    let root = Ca::root("root");
    let verified = verify_svid(&leaf(&root.svid_der_with(ID, full)), &[], &holding(&[&root]), NOW).unwrap();
    let claims = verified.claims();
    let sha256 = &claims["x509"]["sha256"];
    let spiffe = json!({"id": ID, "trust_domain": "example.org", "path": "/ns/a/sa/b", "segments": ["ns", "a", "sa", "b"]});
    let expected = json!({
        "sub": ID, "exp": at(HOUR).as_secs(), "nbf": at(-HOUR).as_secs(), "spiffe": spiffe, "x509": x509(sha256),
    });
    assert_eq!(Value::Object(claims.clone()), expected);
    assert_eq!(verified.spiffe_id().map(ToString::to_string).as_deref(), Some(ID));
    assert_eq!(sha256.as_str().map(str::len), Some(64));
}

#[test]
fn a_plain_certificates_claims_have_its_issuer_and_subject() {
    let root = Ca::root("root");
    let verified = verify_plain(&leaf(&root.svid_der_with(ID, full)), &[], &holding(&[&root]), NOW).unwrap();
    let claims = verified.claims();
    let expected = json!({
        "iss": "CN=root", "sub": "OU=ci,CN=builder,O=SPIRE,C=US", "exp": at(HOUR).as_secs(), "nbf": at(-HOUR).as_secs(),
        "x509": x509(&claims["x509"]["sha256"]),
    });
    assert_eq!(Value::Object(claims.clone()), expected);
}

#[test]
fn empty_lists_are_present_and_a_missing_common_name_is_not() {
    let root = Ca::root("root");
    let der = root.leaf(&key(), |params| {
        params.distinguished_name = DistinguishedName::new()
    });
    let bare = leaf(&der);
    assert_eq!((bare.subject_cn(), bare.subject_dn()), (None, ""));
    let verified = verify_plain(&bare, &[], &holding(&[&root]), NOW).unwrap();
    let x509 = &verified.claims()["x509"];
    assert_eq!(x509["subject"], json!({"o": [], "ou": [], "dn": ""}));
    assert_eq!(x509["san"], json!({"dns": [], "email": [], "ip": [], "uri": []}));
}

#[test]
fn a_value_cannot_look_like_another_attribute() {
    for (value, dn) in [
        ("a,O=admins", r"CN=a\,O\=admins"),
        ("a+OU=b", r"CN=a\+OU\=b"),
        (" a ", r"CN=\ a\ "),
        ("#a#", r"CN=\#a#"),
        ("a\\b\"<>;", r#"CN=a\\b\"\<\>\;"#),
        ("a\nb\u{85}", r"CN=a\0ab\c2\85"),
        ("é", "CN=é"),
    ] {
        let der = Ca::root("root").leaf(&key(), |params| {
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, value);
        });
        assert_eq!(leaf(&der).subject_dn(), dn);
        assert_eq!(leaf(&der).subject_cn(), Some(value));
    }
    let der = Ca::root("root").leaf(&key(), |params| {
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(
            DnType::CustomDnType(vec![2, 5, 4, 45]),
            DnValue::Utf8String("id".into()),
        );
        params.subject_alt_names = vec![uri(ID)];
    });
    assert_eq!(leaf(&der).subject_dn(), "2.5.4.45=#0c026964");
}

#[test]
fn the_last_of_several_common_names_is_used_as_in_go() {
    let root = Ca::root("root");
    let der = root.leaf(&key(), |params| {
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "first");
        params.distinguished_name.push(DnType::OrganizationName, "acme");
        // Another key for the same attribute; the library accepts only one.
        params.distinguished_name.push(
            DnType::CustomDnType(vec![2, 5, 4, 3]),
            DnValue::Utf8String("last".into()),
        );
    });
    assert_eq!(
        (leaf(&der).subject_cn(), leaf(&der).subject_dn()),
        (Some("last"), "CN=last,O=acme,CN=first")
    );
    let verified = verify_plain(&leaf(&der), &[], &holding(&[&root]), NOW).unwrap();
    assert_eq!(
        (
            &verified.claims()["x509"]["subject"]["cn"],
            verified.remembered().subject_cn()
        ),
        (&json!("last"), Some("last"))
    );
}
