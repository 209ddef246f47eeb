//! The order in which keys are searched.

use super::super::settings::{Parts, Tls};
use super::*;
use serde_json::json;
use std::path::PathBuf;
use wharfinger_testkit::s3::Moto;
use wharfinger_testkit::unsigned_token;

mod rejected;

fn settings(credentials: Credentials) -> Settings {
    Settings {
        provider: Provider::S3,
        bucket: "bucket".to_owned(),
        root: String::new(),
        region: None,
        endpoint: None,
        path_style: false,
        tls: Tls::default(),
        parts: Parts::default(),
        credentials,
    }
}

/// What was found, in one word.
fn found<const N: usize>(settings: &Settings, variables: [(&str, &str); N]) -> Result<String, KeysError> {
    let environment = Environment::from(variables);
    let search = Search {
        settings,
        environment: &environment,
    };
    let profile = Profile::read(&environment)?;
    let region = search.region(profile.as_ref());
    let (_, source) = search.source(profile.as_ref(), &region)?;
    Ok(match source {
        Source::Keys(keys) => keys.key_id,
        Source::Sts(sts) => format!("{sts:?}"),
        Source::Role(_) => "role".to_owned(),
    })
}

#[test]
fn the_configuration_precedes_the_environment_the_profile_the_token_and_the_role() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        file.path(),
        "[default]\naws_access_key_id=PROFILE\naws_secret_access_key=x\n",
    )
    .unwrap();
    let file = ("AWS_SHARED_CREDENTIALS_FILE", file.path().to_str().unwrap());
    let access = (ACCESS_KEY, "ENVIRONMENT");
    let secret = (SECRET_KEY, "x");
    let token = (TOKEN_FILE, "/token");
    let role = (ROLE, "arn:aws:iam::1:role/r");
    let given = settings(Credentials::Given {
        access_key: "GIVEN".to_owned(),
        secret_key: Secret::new("x"),
        session_token: None,
    });
    let search = settings(Credentials::Found);
    assert_eq!(
        found(&given, [access, secret, file, token, role]).unwrap(),
        "GIVEN"
    );
    assert_eq!(
        found(&search, [access, secret, file, token, role]).unwrap(),
        "ENVIRONMENT"
    );
    assert_eq!(found(&search, [file, token, role]).unwrap(), "PROFILE");
    let sts = found(&search, [token, role, ("AWS_REGION", "eu-west-1")]).unwrap();
    assert!(
        sts.contains("sts.eu-west-1.amazonaws.com") && sts.contains("/token"),
        "{sts}"
    );
    assert_eq!(found(&search, []).unwrap(), "role");
}

#[test]
fn half_a_setting_is_an_error_and_not_passed_over() {
    let search = settings(Credentials::Found);
    for (set, missing) in [
        (ACCESS_KEY, SECRET_KEY),
        (SECRET_KEY, ACCESS_KEY),
        (TOKEN_FILE, ROLE),
    ] {
        let expected = KeysError::Half { found: set, missing };
        assert_eq!(found(&search, [(set, "x")]).unwrap_err(), expected);
        assert_eq!(
            found(&search, [(set, "x"), (missing, " ")]).unwrap_err(),
            expected
        );
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let named = [("AWS_CONFIG_FILE", file.path().to_str().unwrap())];
    for (line, missing) in [
        ("aws_access_key_id = x", "aws_secret_access_key"),
        ("aws_secret_access_key = x", "aws_access_key_id"),
        ("web_identity_token_file = /t", "role_arn"),
        ("credential_process = /bin/keys", "not supported"),
    ] {
        std::fs::write(file.path(), format!("[default]\n{line}\n")).unwrap();
        let why = found(&search, named).unwrap_err().to_string();
        assert!(why.contains(missing), "{why}");
    }
}

#[test]
fn the_region_is_searched_like_the_keys() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[default]\nregion = profile\n").unwrap();
    let file = ("AWS_CONFIG_FILE", file.path().to_str().unwrap());
    let first = ("AWS_REGION", "first");
    let second = ("AWS_DEFAULT_REGION", "second");
    let mut settings = settings(Credentials::Found);
    let region = |settings: &Settings, environment: Environment| {
        Keys::find(settings, &environment).unwrap().region().to_owned()
    };
    assert_eq!(region(&settings, [first, second, file].into()), "first");
    assert_eq!(region(&settings, [second, file].into()), "second");
    assert_eq!(region(&settings, [file].into()), "profile");
    assert_eq!(region(&settings, Environment::default()), "us-east-1");
    settings.region = Some("configured".to_owned());
    assert_eq!(region(&settings, [first, second, file].into()), "configured");
}

#[test]
fn a_token_for_another_store_is_never_sent_to_amazon() {
    let identity = WebIdentity {
        role: "role".to_owned(),
        session_name: None,
        sts_endpoint: None,
        token: TokenSource::File(PathBuf::from("/token")),
    };
    let mut settings = settings(Credentials::WebIdentity(identity.clone()));
    settings.endpoint = Some("https://s3.example.org".to_owned());
    assert_eq!(found(&settings, []).unwrap_err(), KeysError::NoSts);
    let named = found(&settings, [(STS_ENDPOINT, "https://sts.example.org")]).unwrap();
    assert!(named.contains("sts.example.org"), "{named}");
    settings.endpoint = Some("https://x.s3.eu-west-1.vpce.amazonaws.com".to_owned());
    let amazon = found(&settings, [("AWS_REGION", "cn-north-1")]).unwrap();
    assert!(amazon.contains("sts.cn-north-1.amazonaws.com.cn"), "{amazon}");
    settings.endpoint = None;
    settings.credentials = Credentials::WebIdentity(WebIdentity {
        sts_endpoint: Some("https://own.example.org".to_owned()),
        ..identity
    });
    let own = found(&settings, [(STS_ENDPOINT, "https://sts.example.org")]).unwrap();
    assert!(own.contains("own.example.org"), "{own}");
}

/// moto accepts any token and any keys, so this shows that its answer is read.
#[tokio::test]
async fn keys_are_obtained_from_the_sts_of_moto() {
    let Some(moto) = Moto::start() else { return };
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), unsigned_token(&json!({"sub": "registry"}))).unwrap();
    let place = moto.place();
    let mut settings = settings(Credentials::WebIdentity(WebIdentity {
        role: "arn:aws:iam::123456789012:role/registry".to_owned(),
        session_name: None,
        sts_endpoint: Some(place.endpoint.clone()),
        token: TokenSource::File(token.path().to_owned()),
    }));
    settings.endpoint = Some(place.endpoint.clone());
    settings.tls.plain = true;
    let keys = Keys::find(&settings, &Environment::default()).unwrap();
    let keys = keys.provider().get_credential().await.unwrap();
    assert!(
        keys.key_id.starts_with("ASIA") && keys.token.is_some(),
        "{keys:?}"
    );
    settings.bucket.clone_from(&place.bucket);
    settings.path_style = true;
    crate::bucket::Bucket::open(settings).await.unwrap();
}

#[test]
fn only_a_failure_of_the_keys_is_one_that_new_keys_may_heal() {
    let denied = |code: &str| object_store::Error::PermissionDenied {
        path: "x".to_owned(),
        source: format!("403 Forbidden: <Error><Code>{code}</Code></Error>").into(),
    };
    for (code, expected) in [
        ("ExpiredToken", true),
        ("InvalidAccessKeyId", true),
        ("AccessDenied", false),
        ("SignatureDoesNotMatch", false),
    ] {
        assert_eq!(were_rejected(&denied(code)), expected, "{code}");
    }
}
