//! Tests of SPIFFE-ID, one for each rule. The names have the rule's number in `docs/design/rules`.

use super::*;

fn id(text: &str) -> Result<SpiffeId, InvalidSpiffeId> {
    text.parse()
}

#[test]
fn id_1_scheme_and_trust_domain() {
    for bad in [
        "",
        "spiffe",
        "spiffe:",
        "spiffe:/td/a",
        "https://td/a",
        " spiffe://td/a",
    ] {
        assert_eq!(id(bad), Err(InvalidSpiffeId::Scheme), "{bad:?}");
    }
    for bad in ["spiffe://", "spiffe:///a"] {
        assert_eq!(id(bad), Err(InvalidSpiffeId::NoTrustDomain), "{bad:?}");
    }
}

#[test]
fn id_2_no_query_no_fragment() {
    for bad in ["spiffe://td?q", "spiffe://td#f"] {
        assert_eq!(id(bad), Err(InvalidSpiffeId::TrustDomainCharacter), "{bad:?}");
    }
    for bad in [
        "spiffe://td/a?",
        "spiffe://td/a?q",
        "spiffe://td/a#f",
        "spiffe://td/a#",
    ] {
        assert_eq!(id(bad), Err(InvalidSpiffeId::PathCharacter), "{bad:?}");
    }
}

#[test]
fn id_3_no_userinfo_no_port() {
    for bad in [
        "spiffe://u@td/a",
        "spiffe://u:p@td/a",
        "spiffe://td:1/a",
        "spiffe://td:/a",
    ] {
        assert_eq!(id(bad), Err(InvalidSpiffeId::TrustDomainCharacter), "{bad:?}");
    }
}

#[test]
fn id_4_and_7_characters() {
    for byte in 0..=255u8 {
        let character = char::from(byte);
        let in_domain =
            character.is_ascii_lowercase() || character.is_ascii_digit() || "._-".contains(character);
        assert_eq!(
            format!("t{character}d").parse::<TrustDomain>().is_ok(),
            in_domain,
            "{byte:#x}"
        );
        let in_path = character.is_ascii_alphanumeric() || "._-".contains(character) || character == '/';
        assert_eq!(
            id(&format!("spiffe://td/a{character}b")).is_ok(),
            in_path,
            "{byte:#x}"
        );
    }
    for bad in [
        "spiffe://t%64/a",
        "spiffe://tü/a",
        "spiffe://[::1]/a",
        "spiffe://t$d/a",
    ] {
        assert_eq!(id(bad), Err(InvalidSpiffeId::TrustDomainCharacter), "{bad:?}");
    }
    for good in ["1.2.3.4", "a_b-c.d9", "...", "-"] {
        assert!(good.parse::<TrustDomain>().is_ok(), "{good}");
    }
}

#[test]
fn id_5_a_trust_domain_is_just_a_name() {
    for name in ["1.2.3.4", "x_y", "example.org"] {
        assert_eq!(
            id(&format!("spiffe://{name}/a")).unwrap().trust_domain().as_str(),
            name
        );
    }
}

#[test]
fn id_6_upper_case_is_rejected_and_not_converted() {
    assert_eq!(id("spiffe://TD/a"), Err(InvalidSpiffeId::TrustDomainCharacter));
    assert_eq!(id("SPIFFE://td/a"), Err(InvalidSpiffeId::Scheme));
}

#[test]
fn id_8_segments() {
    for bad in [
        "spiffe://td/",
        "spiffe://td//",
        "spiffe://td//a",
        "spiffe://td/a/",
    ] {
        assert_eq!(id(bad), Err(InvalidSpiffeId::EmptySegment), "{bad:?}");
    }
    for bad in ["spiffe://td/.", "spiffe://td/./a", "spiffe://td/a/.."] {
        assert_eq!(id(bad), Err(InvalidSpiffeId::DotSegment), "{bad:?}");
    }
    for good in ["spiffe://td/.a", "spiffe://td/..a", "spiffe://td/..."] {
        assert!(id(good).is_ok(), "{good}");
    }
}

#[test]
fn id_9_the_path_is_case_sensitive() {
    assert_ne!(id("spiffe://td/A"), id("spiffe://td/a"));
}

#[test]
fn id_10_and_11_lengths() {
    let of = |length: usize| format!("spiffe://td/{}", "a".repeat(length - "spiffe://td/".len()));
    assert!(id(&of(2048)).is_ok());
    assert_eq!(id(&of(2049)), Err(InvalidSpiffeId::TooLong));
    assert!("a".repeat(255).parse::<TrustDomain>().is_ok());
    assert_eq!(
        "a".repeat(256).parse::<TrustDomain>(),
        Err(InvalidSpiffeId::TooLong)
    );
}

#[test]
fn parts_of_an_id() {
    let workload = id("spiffe://td/ns/a/sa/b").unwrap();
    assert_eq!(workload.path(), "/ns/a/sa/b");
    assert_eq!(workload.segments().collect::<Vec<_>>(), ["ns", "a", "sa", "b"]);
    assert!(workload.is_workload());
    let domain = id("spiffe://td").unwrap();
    assert_eq!(
        (domain.path(), domain.segments().count(), domain.is_workload()),
        ("", 0, false)
    );
}
