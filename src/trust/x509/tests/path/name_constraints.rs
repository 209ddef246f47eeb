//! Name constraints of an authority or an intermediate.

use super::*;
use rcgen::SanType;

#[test]
fn x_18_uri_name_constraints_are_rejected() {
    let root = Ca::root("root");
    // permittedSubtrees: uniformResourceIdentifier "example.org"
    let constraint = [&[0x30, 17, 0xa0, 15, 0x30, 13, 0x86, 11][..], b"example.org"].concat();
    let signer = root.intermediate_with("signer", |params| {
        params
            .custom_extensions
            .push(extension(&[2, 5, 29, 30], &constraint))
    });
    let why = Rejected::UriConstraints {
        authority: "CN=signer".into(),
    };
    assert_eq!(
        judge(&signer.svid_der(ID), &[&signer], &holding(&[&root]), NOW),
        Err(why)
    );
    let constraining = Ca::root_with("root", |params| {
        params
            .custom_extensions
            .push(extension(&[2, 5, 29, 30], &constraint))
    });
    let why = Rejected::UriConstraints {
        authority: "CN=root".into(),
    };
    assert_eq!(
        judge(&constraining.svid_der(ID), &[], &holding(&[&constraining]), NOW),
        Err(why),
        "of the authority itself"
    );
    let plain = constraining.leaf(&key(), |_| {});
    assert!(
        verify_plain(&leaf(&plain), &[], &holding(&[&constraining]), NOW).is_ok(),
        "it has no URI name"
    );
}

#[test]
fn x_18_directory_name_constraints_are_rejected_by_name() {
    // permittedSubtrees: directoryName O=SPIRE
    let name = [
        0x30, 16, 0x31, 14, 0x30, 12, 6, 3, 0x55, 4, 10, 12, 5, b'S', b'P', b'I', b'R', b'E',
    ];
    let constraint = [&[0x30, 24, 0xa0, 22, 0x30, 20, 0xa4, 18][..], &name].concat();
    let root = Ca::root("root");
    let signer = root.intermediate_with("signer", |params| {
        params
            .custom_extensions
            .push(extension(&[2, 5, 29, 30], &constraint))
    });
    let why = judge(&signer.svid_der(ID), &[&signer], &holding(&[&root]), NOW).unwrap_err();
    assert_eq!(
        why,
        Rejected::DirectoryConstraints {
            authority: "CN=signer".into()
        }
    );
    assert!(
        why.to_string()
            .starts_with("the authority CN=signer constrains directory names, which"),
        "{why}"
    );
}

#[test]
fn x_18_a_forbidden_name_is_distinguished_from_constraints_that_cannot_be_checked() {
    use rcgen::{GeneralSubtree, NameConstraints};
    let root = Ca::root_with("root", |params| {
        let permitted_subtrees = vec![GeneralSubtree::DnsName("example.org".into())];
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees,
            excluded_subtrees: vec![],
        });
    });
    let with = |name: &str| {
        root.svid_der_with(ID, |params| {
            params
                .subject_alt_names
                .push(SanType::DnsName(name.try_into().unwrap()))
        })
    };
    assert!(judge(&with("a.example.org"), &[], &holding(&[&root]), NOW).is_ok());
    assert_eq!(
        judge(&with("a.example.com"), &[], &holding(&[&root]), NOW),
        Err(Rejected::NameConstraints)
    );
}
