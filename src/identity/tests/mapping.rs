//! Tests of what a mapping may yield.

use super::super::mapping::{Mapped, Verified};
use super::*;
use crate::limits::{GROUPS, USERNAME_BYTES};
use crate::spiffe_id::SpiffeId;

const ID: &str = "spiffe://prod.example/ci";

fn settings(username: Option<&str>, groups: Option<&str>) -> MappingSettings {
    MappingSettings {
        username: username.map(Into::into),
        groups: groups.map(Into::into),
        ..MappingSettings::default()
    }
}

fn map(mapping: &Mapping, claims: &Value, spiffe_id: Option<&str>) -> Result<Mapped, Refused> {
    let id: Option<SpiffeId> = spiffe_id.map(|id| id.parse().unwrap());
    let credential = if id.is_some() {
        CredentialType::JwtSvid
    } else {
        CredentialType::Oidc
    };
    mapping.map(&Verified {
        credential,
        entry: None,
        claims: claims.as_object().unwrap(),
        spiffe_id: id.as_ref(),
        common_name: None,
    })
}

fn username(expression: &str, claims: &Value, spiffe_id: Option<&str>) -> Result<String, Refused> {
    map(&naming(expression), claims, spiffe_id).map(|mapped| mapped.username)
}

#[test]
fn the_default_username_depends_on_the_credentials_type() {
    let claims = json!({"iss": "https://a.example", "sub": "alice"});
    let default = |credential, spiffe_id: Option<&SpiffeId>, common_name| {
        let verified = Verified {
            credential,
            entry: None,
            claims: claims.as_object().unwrap(),
            spiffe_id,
            common_name,
        };
        Mapping::default().map(&verified).map(|mapped| mapped.username)
    };
    let id: SpiffeId = ID.parse().unwrap();
    assert_eq!(
        default(CredentialType::Oidc, None, None),
        Ok("https://a.example/alice".into())
    );
    assert_eq!(default(CredentialType::JwtSvid, Some(&id), None), Ok(ID.into()));
    assert_eq!(
        default(CredentialType::X509Svid, Some(&id), Some("ci")),
        Ok(ID.into())
    );
    assert_eq!(
        default(CredentialType::X509, None, Some("alice")),
        Ok("alice".into())
    );
    assert_eq!(
        default(CredentialType::X509, None, Some(ID)),
        Err(Refused::UsernameIsSpiffeId)
    );
    assert_eq!(
        default(CredentialType::X509, None, Some("")),
        Err(Refused::EmptyUsername)
    );
    assert_eq!(
        default(CredentialType::X509, None, None),
        Err(Refused::NoCommonName)
    );
}

#[test]
fn only_the_verified_spiffe_id_itself_is_a_username_that_begins_with_spiffe() {
    let claims =
        json!({"sub": ID, "other": "spiffe://prod.example/admin", "upper": "SPIFFE://prod.example/ci"});
    assert_eq!(username("claims.sub", &claims, Some(ID)), Ok(ID.into()));
    for expression in ["claims.other", "claims.sub + 'x'", "claims.upper", "'spiffe://'"] {
        assert_eq!(
            username(expression, &claims, Some(ID)),
            Err(Refused::UsernameIsSpiffeId),
            "{expression}"
        );
    }
    assert_eq!(
        username("claims.sub", &claims, None),
        Err(Refused::UsernameIsSpiffeId),
        "an ID token says it"
    );
    assert_eq!(
        username("'x' + claims.other", &claims, Some(ID)),
        Ok("xspiffe://prod.example/admin".into())
    );
}

#[test]
fn usernames_are_not_empty_and_not_too_long() {
    assert_eq!(
        username("claims.sub", &json!({"sub": ""}), None),
        Err(Refused::EmptyUsername)
    );
    let bytes = USERNAME_BYTES;
    assert_eq!(
        username("claims.sub", &json!({"sub": "a".repeat(bytes)}), None),
        Ok("a".repeat(bytes))
    );
    let long = json!({"sub": "a".repeat(bytes + 1)});
    assert_eq!(
        username("claims.sub", &long, None),
        Err(Refused::UsernameTooLong { bytes: bytes + 1 })
    );
}

#[test]
fn groups_are_sorted_unique_and_bounded() {
    let groups = |claim: Value| {
        map(
            &mapping(&settings(Some("'x'"), Some("claims.g"))),
            &json!({"g": claim}),
            None,
        )
    };
    assert_eq!(
        groups(json!(["b", "a", "b"])),
        Ok(Mapped {
            username: "x".into(),
            groups: vec!["a".into(), "b".into()]
        })
    );
    let many = |count: usize| Value::from((0..count).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(groups(many(GROUPS)).unwrap().groups.len(), GROUPS);
    assert_eq!(
        groups(many(GROUPS + 1)),
        Err(Refused::TooManyGroups { found: GROUPS + 1 })
    );
    assert_eq!(
        groups(json!(["a".repeat(USERNAME_BYTES + 1)])),
        Err(Refused::GroupTooLong {
            bytes: USERNAME_BYTES + 1
        })
    );
}

#[test]
fn variables_see_the_ones_before_them_and_everything_sees_the_credentials_type() {
    let mapping = mapping(&MappingSettings {
        may_name_others: false,
        variables: vec![
            ("team".into(), "claims.team".into()),
            ("full".into(), "vars.team + '/' + claims.sub".into()),
        ],
        validations: vec![(
            "credential.type == 'oidc' && vars.team == 'red'".into(),
            "only red".into(),
        )],
        username: Some("vars.full".into()),
        groups: Some("[vars.team]".into()),
    });
    let red = map(&mapping, &json!({"sub": "alice", "team": "red"}), None);
    assert_eq!(
        red,
        Ok(Mapped {
            username: "red/alice".into(),
            groups: vec!["red".into()]
        })
    );
    let only_red = Err(Refused::Validation {
        message: "only red".into(),
    });
    assert_eq!(
        map(&mapping, &json!({"sub": "alice", "team": "blue"}), None),
        only_red
    );
    assert_eq!(
        map(&mapping, &json!({"sub": ID, "team": "red"}), Some(ID)),
        only_red,
        "another type"
    );
}

#[test]
fn a_failed_expression_rejects_and_names_its_part() {
    let variable = MappingSettings {
        variables: vec![("x".into(), "claims.absent".into())],
        ..MappingSettings::default()
    };
    let validation = MappingSettings {
        validations: vec![("claims.sub".into(), String::new())],
        ..MappingSettings::default()
    };
    let table = [
        (variable, "variables[0]"),
        (validation, "validations[0]"),
        (settings(Some("claims.absent"), None), "username"),
        (settings(Some("claims.n"), None), "username"),
        (settings(None, Some("claims.absent")), "groups"),
        (settings(None, Some("claims.sub")), "groups"),
        (settings(None, Some("claims.mixed")), "groups"),
    ];
    let claims = json!({"iss": "i", "sub": "alice", "n": 1, "mixed": ["a", 1]});
    for (settings, expected) in table {
        match map(&mapping(&settings), &claims, None) {
            Err(Refused::Mapping { part, .. }) => assert_eq!(part, expected),
            other => panic!("{settings:?}: {other:?}"),
        }
    }
}

#[test]
fn every_mistake_is_reported_with_its_place() {
    let settings = MappingSettings {
        may_name_others: false,
        variables: vec![
            ("a".into(), "((".into()),
            ("a".into(), "claims.b".into()),
            ("1x".into(), "vars.later".into()),
        ],
        validations: vec![
            ("true".into(), String::new()),
            ("vars.a ==".into(), String::new()),
        ],
        username: Some("nothing.known".into()),
        groups: Some("vars.a".into()),
    };
    let mistakes = Mapping::compile(&settings).unwrap_err();
    let keys: Vec<_> = mistakes.iter().map(|mistake| mistake.key.as_str()).collect();
    let expected = [
        "variables[0].expression",
        "variables[1].name",
        "variables[2].expression",
        "variables[2].name",
        "validations[1].expression",
        "username",
    ];
    assert_eq!(keys, expected, "{mistakes:?}");
}
