//! Registries on one bucket, on machines whose clocks are wrong.

use crate::harness::{Setup, TestApp, TestPki};
use crate::replicas::clock_off_by;
use reqwest::StatusCode;
use serde_json::json;
use wharfinger_testkit::s3::{Fake, Place};

fn on(place: &Place, keys: &str, passwords: &str) -> Setup {
    let mut setup = Setup::plain();
    setup.write("keys.pem", keys);
    setup.write("htpasswd", passwords);
    setup.config["storage"] = json!({"storageDriver": {
        "name": "s3",
        "bucket": place.bucket,
        "region": place.region,
        "regionendpoint": place.endpoint,
        "accesskey": place.access_key,
        "secretkey": place.secret_key,
    }});
    setup.config["stateDirectory"] = json!("state");
    setup.config["http"]["auth"] =
        json!({"htpasswd": {"path": "htpasswd"}, "token": {"signingKeyFile": "keys.pem"}});
    setup.config["accessControl"] =
        json!({"repositories": {"**": {"defaultPolicy": ["read", "create", "update", "delete"]}}});
    setup
}

async fn minted(app: &TestApp) -> String {
    let client = app.anonymous().header("authorization", "Basic YW5uOnNlY3JldA==");
    let answer = client.get("/v2/token?scope=repository:app:pull,push").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()["token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_one_registry_is_good_at_all_although_their_clocks_differ() {
    let (Some(fast), Some(slow)) = (clock_off_by("+600"), clock_off_by("-600")) else {
        return;
    };
    let fake = Fake::start().await;
    // The races of the first start take long.
    fake.put("probe/passed", r#"{"version":1}"#);
    let keys = TestPki::new().servers.server().key;
    let passwords = format!("ann:{}\n", bcrypt::hash("secret", 4).unwrap());
    let setup = || on(fake.place(), &keys, &passwords);
    let apps = [
        setup().start().await,
        setup().start_in(&fast).await,
        setup().start_in(&slow).await,
    ];
    for (issuer, from) in apps.iter().enumerate() {
        let token = minted(from).await;
        for (user, at) in apps.iter().enumerate() {
            let client = at.bearer(&token);
            let digest = client.push_blob("app", b"content").await;
            let pulled = client.get(&format!("/v2/app/blobs/{digest}")).await;
            assert_eq!(
                pulled.status,
                StatusCode::OK,
                "{issuer} at {user}: {}",
                pulled.text()
            );
        }
    }
}
