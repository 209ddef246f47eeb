//! Tests of forms and of the rotation of keys.

use super::*;
use crate::clock::Timestamp;
use crate::secret::Secret;
use crate::trust::NoKeys;
use crate::trust::jwks::{self, UseRule};
use crate::trust::jwt::{self, Unverified};
use crate::trust::minted::{self, Kind, Times};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn parse(form: &str) -> Result<GrantRequest, GrantError> {
    let pairs: Vec<_> = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    GrantRequest::parse(&pairs)
}

fn grant(form: &str) -> Grant {
    parse(form).unwrap().grant
}

const EXCHANGE: &str = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange";
const TYPE: &str = "urn:ietf:params:oauth:token-type";

#[test]
fn every_grant_is_read_from_its_form() {
    let secret = |text: &str| Secret::new(text);
    assert_eq!(
        grant("grant_type=password&username=ann&password=a%2Bb"),
        Grant::Password {
            user: "ann".into(),
            password: secret("a+b")
        }
    );
    assert_eq!(
        grant("grant_type=password&password=x"),
        Grant::Password {
            user: String::new(),
            password: secret("x")
        }
    );
    assert_eq!(
        grant("grant_type=refresh_token&refresh_token=x&client_id=docker"),
        Grant::RefreshToken(secret("x"))
    );
    for kind in ["jwt", "id_token", "access_token"] {
        let form = format!(
            "{EXCHANGE}&subject_token=x&subject_token_type={TYPE}:{kind}&connector_id=ci&client_secret=y"
        );
        assert_eq!(
            grant(&form),
            Grant::TokenExchange { subject: secret("x") },
            "Dex's parameters are ignored"
        );
    }
    assert_eq!(
        grant("grant_type=client_credentials"),
        Grant::ClientCredentials { client_id: None }
    );
    let form = "grant_type=client_credentials&client_id=spiffe://a/b&client_assertion=x&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
    assert_eq!(
        grant(form),
        Grant::ClientAssertion {
            client_id: Some("spiffe://a/b".into()),
            assertion: secret("x")
        }
    );
}

#[test]
fn scopes_come_in_one_parameter_or_in_many() {
    for form in [
        "grant_type=password&password=x&scope=repository:a:pull+repository:b:push",
        "grant_type=password&password=x&scope=repository:a:pull&scope=repository:b:push",
    ] {
        assert_eq!(
            parse(form).unwrap().asked.scope.to_string(),
            "repository:a:pull repository:b:push"
        );
    }
    for (form, offline) in [
        ("access_type=offline", true),
        ("offline_token=true", true),
        ("offline_token=false", false),
        ("", false),
    ] {
        assert_eq!(
            parse(&format!("grant_type=password&password=x&{form}"))
                .unwrap()
                .asked
                .offline,
            offline,
            "{form}"
        );
    }
}

#[test]
fn every_invalid_form_is_rejected_with_its_own_reason() {
    let exchange = |rest: &str| format!("{EXCHANGE}&{rest}");
    let good = format!("subject_token=x&subject_token_type={TYPE}:jwt");
    let missing = |name| GrantError::Missing { name };
    for (form, expected) in [
        (String::new(), GrantError::NoGrantType),
        ("{\"grant_type\":\"password\"}".into(), GrantError::NoGrantType),
        ("grant_type=".into(), GrantError::NoGrantType),
        ("grant_type=authorization_code&code=x".into(), GrantError::UnsupportedGrantType),
        ("grant_type=Password&password=x".into(), GrantError::UnsupportedGrantType),
        ("grant_type=password&grant_type=refresh_token&password=x".into(), GrantError::Repeated { name: "grant_type" }),
        ("grant_type=password&username=ann".into(), missing("password")),
        ("grant_type=password&password=x&password=y".into(), GrantError::Repeated { name: "password" }),
        ("grant_type=password&password=x&service=a&service=b".into(), GrantError::Repeated { name: "service" }),
        ("grant_type=refresh_token".into(), missing("refresh_token")),
        (exchange("subject_token=x"), missing("subject_token_type")),
        (exchange(&format!("subject_token_type={TYPE}:jwt")), missing("subject_token")),
        (exchange(&format!("subject_token=x&subject_token_type={TYPE}:saml2")), GrantError::SubjectTokenType),
        (exchange(&format!("subject_token=x&subject_token_type={TYPE}:refresh_token")), GrantError::SubjectTokenType),
        (exchange(&format!("{good}&actor_token=y&actor_token_type={TYPE}:jwt")), GrantError::ActorToken),
        (exchange(&format!("{good}&requested_token_type={TYPE}:refresh_token")), GrantError::RequestedTokenType),
        ("grant_type=client_credentials&client_assertion=x".into(), missing("client_assertion_type")),
        (
            "grant_type=client_credentials&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-spiffe".into(),
            missing("client_assertion"),
        ),
        (
            "grant_type=client_credentials&client_assertion=x&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
                .into(),
            GrantError::AssertionType,
        ),
    ] {
        assert_eq!(parse(&form), Err(expected), "{form}");
    }
}

fn ids(keys: &SigningKeys) -> Vec<String> {
    let published = keys.published();
    published["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

/// Returns the key that signs at this time.
fn signer(keys: &SigningKeys, now: Timestamp) -> String {
    let token = keys.sign("x", &json!({}), now).unwrap();
    Unverified::parse(token.expose())
        .unwrap()
        .key_id()
        .unwrap()
        .to_owned()
}

#[test]
fn keys_are_kept_in_the_folder_and_rotated_with_overlap() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let keys = SigningKeys::in_folder(&state, HOUR, NOW).unwrap();
    let first = ids(&keys);
    assert_eq!((first.len(), keys.turn(HOUR, NOW.plus(HOUR))), (1, Ok(false)));
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&state), mode(&state.join("signing-keys.json"))),
        (0o700, 0o600)
    );
    let restarted = SigningKeys::in_folder(&state, HOUR, NOW.plus(HOUR)).unwrap();
    assert_eq!(ids(&restarted), first, "a restart does not end a session");

    let due = NOW.plus(30 * 24 * HOUR);
    assert_eq!(restarted.turn(HOUR, due), Ok(true));
    let both = ids(&restarted);
    assert_eq!((both.len(), &both[0]), (2, &first[0]));
    assert_eq!(signer(&restarted, due), both[0], "published first");
    assert_eq!(signer(&restarted, due.plus(HOUR)), both[1]);
    assert_eq!(ids(&SigningKeys::in_folder(&state, HOUR, due).unwrap()), both);
    assert_eq!(restarted.turn(HOUR, due.plus(25 * HOUR)), Ok(true));
    assert_eq!(ids(&restarted), both[1..]);
}

#[test]
fn a_damaged_file_of_keys_is_an_error_and_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("signing-keys.json");
    for text in [
        "",
        "{}",
        r#"{"keys":[{"kty":"EC"}]}"#,
        r#"{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA","iat":0,"nbf":0}]}"#,
    ] {
        std::fs::write(&path, text).unwrap();
        let opened = SigningKeys::in_folder(folder.path(), HOUR, NOW).map(drop);
        assert_eq!(
            opened,
            Err(InvalidKeys::Malformed { path: path.clone() }),
            "{text}"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn keys_that_another_user_could_have_written_are_rejected_and_links_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("signing-keys.json");
    let elsewhere = folder.path().join("elsewhere");
    let open = || SigningKeys::in_folder(folder.path(), HOUR, NOW);
    let first = ids(&open().unwrap());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o620)).unwrap();
    assert_eq!(open().map(drop), Err(InvalidKeys::Shared { path: path.clone() }));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(ids(&open().unwrap()), first);
    std::fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    assert_eq!(open().map(drop), Err(InvalidKeys::Shared { path: path.clone() }));
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&elsewhere, "mine").unwrap();
    let beside = folder.path().join(".signing-keys.json.wharfinger-new");
    std::os::unix::fs::symlink(&elsewhere, beside).unwrap();
    open().unwrap();
    assert!(path.symlink_metadata().unwrap().is_file());
    assert_eq!(
        std::fs::read_to_string(&elsewhere).unwrap(),
        "mine",
        "no key was written there"
    );
}

#[test]
fn the_first_key_of_a_pem_file_signs_and_all_of_them_verify() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.pem");
    let pem = || rcgen::KeyPair::generate().unwrap().serialize_pem();
    let one = pem();
    let two = pem();
    std::fs::write(&path, &one).unwrap();
    let keys = SigningKeys::from_file(&path, NOW).unwrap();
    let first = signer(&keys, NOW);
    std::fs::write(&path, format!("{one}{two}")).unwrap();
    assert_eq!(keys.turn(HOUR, NOW), Ok(true));
    assert_eq!((ids(&keys).len(), signer(&keys, NOW)), (2, first.clone()));
    std::fs::write(&path, format!("{two}{one}")).unwrap();
    assert_eq!(keys.turn(HOUR, NOW), Ok(true));
    let later = NOW.plus(HOUR);
    assert_eq!(
        signer(&keys, NOW),
        first,
        "another registry may not have the new key yet"
    );
    assert_ne!(signer(&keys, later), first);
    std::fs::write(&path, &two).unwrap();
    assert_eq!(keys.turn(HOUR, NOW), Ok(true));
    assert_ne!(signer(&keys, NOW), first, "there is no other key");
    std::fs::write(&path, format!("{two}{one}")).unwrap();
    assert_eq!(keys.turn(HOUR, NOW), Ok(true));
    for bad in [
        "",
        "no PEM",
        &rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)
            .unwrap()
            .serialize_pem(),
    ] {
        std::fs::write(&path, bad).unwrap();
        assert_eq!(
            keys.turn(HOUR, NOW),
            Err(InvalidKeys::NotPem { path: path.clone() })
        );
        assert_eq!(ids(&keys).len(), 2, "an invalid file changes nothing");
    }
}

#[test]
fn published_keys_have_no_private_part_and_verify_elsewhere() {
    let keys = SigningKeys::in_memory(NOW).unwrap();
    let published = keys.published();
    assert!(published["keys"][0].get("d").is_none());
    let parsed = jwks::parse(published.to_string().as_bytes(), UseRule::Oidc).unwrap();
    assert_eq!((parsed.value.len(), parsed.skipped.len()), (1, 0));
    // Verifies it with another implementation.
    let token = keys
        .sign("JWT", &json!({"exp": 4_000_000_000_u64, "aud": "a"}), NOW)
        .unwrap();
    let key = &published["keys"][0];
    let key =
        jsonwebtoken::DecodingKey::from_ec_components(key["x"].as_str().unwrap(), key["y"].as_str().unwrap())
            .unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.set_audience(&["a"]);
    assert!(jsonwebtoken::decode::<Value>(token.expose(), &key, &validation).is_ok());
    assert!(!format!("{keys:?}").contains(published["keys"][0]["x"].as_str().unwrap()));
}

#[test]
fn a_token_of_another_registry_is_good_with_its_key_and_undecided_until_that_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = |name: &str, shared: bool| {
        let path = folder.path().join(name);
        if !path.exists() {
            std::fs::write(&path, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
        }
        let keys = SigningKeys::from_file(&path, NOW).unwrap();
        Tokens::new("store", Arc::new(keys)).shared(shared.then(Clock::system))
    };
    let seconds = NOW.as_secs();
    let claims = json!({
        "iss": "urn:wharfinger:store", "aud": "registry", "jti": "a", "iat": seconds, "auth_time": seconds,
        "exp": seconds + 7200,
    });
    let signed = tokens("keys.pem", true)
        .keys()
        .sign_for_test(Kind::Access.typ(), &claims, NOW);
    let token = Unverified::parse(&signed).unwrap();
    let terms = Terms {
        service: "registry".into(),
        session_lifetime: 2 * HOUR,
    };
    let verified = |by: &Tokens, now| {
        let Minted { rules, keys, .. } = by.verification(&terms);
        let times = Times {
            own: now,
            tokens: now,
        };
        minted::verify(&token, Kind::Access, &rules, &keys, times).map(drop)
    };
    assert_eq!(verified(&tokens("keys.pem", true), NOW), Ok(()));
    let other = tokens("other.pem", true);
    assert_eq!(verified(&other, NOW), Err(NoKeys::Awaited.into()));
    let unknown = |outcome| {
        matches!(
            outcome,
            Err(jwt::Failure::Rejected(jwt::Rejected::UnknownKey { .. }))
        )
    };
    assert!(unknown(verified(&other, NOW.plus(HOUR))), "the key is not coming");
    assert!(
        unknown(verified(&tokens("other.pem", false), NOW)),
        "there is no other registry"
    );
}
