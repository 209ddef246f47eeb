//! `storage.storageDriver.webidentity`

use super::buckets::{bucket, changed, said};
use super::*;
use crate::secret::Secret;
use crate::storage::bucket::{Credentials, TokenFetcher, TokenSource, WebIdentity};
use std::path::PathBuf;

const ROLE: &str = "arn:aws:iam::123456789012:role/registry";

/// A file with this web identity at Amazon, and with a Workload API.
fn with_identity(identity: Value) -> Value {
    let mut document = changed(json!({"webidentity": identity}));
    document["http"]["auth"]["spiffe"] = json!({"workloadAPI": "unix:///run/agent.sock", "trustDomains": []});
    document
}

#[test]
fn the_token_is_a_files_or_a_jwt_svid_of_the_workload_api() {
    let file = with_identity(json!({
        "rolearn": ROLE, "sessionname": "registry", "stsendpoint": "https://sts.example.org/",
        "tokenfile": "/var/run/secrets/token",
    }));
    assert_eq!(said(&file), [""; 0]);
    let from_file = WebIdentity {
        role: ROLE.to_owned(),
        session_name: Some("registry".to_owned()),
        sts_endpoint: Some("https://sts.example.org".to_owned()),
        token: TokenSource::File(PathBuf::from("/var/run/secrets/token")),
    };
    assert_eq!(bucket(&file).credentials, Credentials::WebIdentity(from_file));

    for (id, name) in [
        (
            None,
            "the Workload API at unix:///run/agent.sock for the audience sts",
        ),
        (
            Some("spiffe://example.org/registry"),
            "the Workload API at unix:///run/agent.sock for the audience sts and the SPIFFE ID spiffe://example.org/registry",
        ),
    ] {
        let svid = with_identity(json!({"rolearn": ROLE, "audience": "sts", "spiffeid": id}));
        assert_eq!(said(&svid), [""; 0]);
        let never = || Box::pin(async { Ok(Secret::new("")) }) as _;
        let fetched = WebIdentity {
            role: ROLE.to_owned(),
            session_name: None,
            sts_endpoint: None,
            token: TokenSource::Fetched(TokenFetcher::new(name, never)),
        };
        assert_eq!(bucket(&svid).credentials, Credentials::WebIdentity(fetched));
    }
}

#[test]
fn a_mistake_names_its_key() {
    let good = || json!({"rolearn": ROLE, "tokenfile": "/token"});
    let with = |name: &str, value: Value| {
        let mut identity = good();
        identity[name] = value;
        with_identity(identity)
    };
    let without = |name: &str| {
        let mut identity = good();
        identity.as_object_mut().unwrap().remove(name);
        with_identity(identity)
    };
    let mut of_google = with_identity(good());
    let driver = &mut of_google["storage"]["storageDriver"];
    driver["name"] = json!("gcs");
    driver.as_object_mut().unwrap().remove("region");
    let mut with_keys = with_identity(good());
    with_keys["storage"]["storageDriver"]["accesskey"] = json!("AKIA");
    with_keys["storage"]["storageDriver"]["secretkey"] = json!("secret");
    let mut without_agent = with_identity(json!({"rolearn": ROLE, "audience": "sts"}));
    without_agent["http"]["auth"]
        .as_object_mut()
        .unwrap()
        .remove("spiffe");
    let mut wrong_agent = with_identity(json!({"rolearn": ROLE, "audience": "sts"}));
    wrong_agent["http"]["auth"]["spiffe"]["workloadAPI"] = json!("agent.sock");
    for (document, key) in [
        (without("rolearn"), "webidentity.rolearn"),
        (without("tokenfile"), "webidentity.tokenfile"),
        (with("audience", json!("sts")), "webidentity.audience"),
        (
            with("spiffeid", json!("spiffe://example.org/a")),
            "webidentity.spiffeid",
        ),
        (
            with("stsendpoint", json!("http://sts.example.org")),
            "webidentity.stsendpoint",
        ),
        (
            with("stsendpoint", json!("https://user@sts.example.org")),
            "webidentity.stsendpoint",
        ),
        (of_google, "webidentity"),
        (with_keys, "webidentity"),
    ] {
        let said = said(&document);
        let key = format!("storage.storageDriver.{key}: ");
        assert!(said.iter().any(|line| line.contains(&key)), "{key} {said:#?}");
    }
    for document in [without_agent, wrong_agent] {
        let said = said(&document);
        let key = "http.auth.spiffe.workloadAPI: ";
        assert!(said.iter().any(|line| line.contains(key)), "{said:#?}");
    }
    let bad_id = with_identity(json!({"rolearn": ROLE, "audience": "sts", "spiffeid": "registry"}));
    let said = said(&bad_id);
    assert!(said[0].contains("webidentity.spiffeid"), "{said:#?}");
}
