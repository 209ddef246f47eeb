//! A bucket whose keys STS gives for a token of the registry's own: the whole program, with S3 and STS on this
//! machine.

use crate::harness::{Agent, Setup, TestApp, TrustDomain, output};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::block_in_place;
use wharfinger_testkit::s3::{Fake, Fault, Moto, On, Operation, Place, Refusal, When};
use wharfinger_testkit::unsigned_token;

const ROLE: &str = "arn:aws:iam::123456789012:role/registry";
const AUDIENCE: &str = "sts.example.org";

/// A registry on this bucket, whose STS is at the same address.
fn on(place: &Place, identity: Value) -> Setup {
    let mut setup = Setup::plain();
    let mut all = json!({"rolearn": ROLE, "stsendpoint": place.endpoint});
    all.as_object_mut()
        .unwrap()
        .extend(identity.as_object().unwrap().clone());
    setup.config["storage"] = json!({"storageDriver": {
        "name": "s3",
        "bucket": place.bucket,
        "region": place.region,
        "regionendpoint": place.endpoint,
        "webidentity": all,
        "singleReplica": true,
    }});
    setup.config["stateDirectory"] = json!("state");
    setup
}

/// The same with a token in a file.
fn with_a_file(place: &Place) -> Setup {
    let setup = on(place, json!({"tokenfile": "token"}));
    replace_token(setup.folder.path(), 0);
    setup
}

/// Replaces the token as the kubelet does: at once.
fn replace_token(folder: &Path, number: u32) {
    let token = unsigned_token(&json!({"sub": "registry", "jti": number.to_string()}));
    std::fs::write(folder.join("token.new"), token).unwrap();
    std::fs::rename(folder.join("token.new"), folder.join("token")).unwrap();
}

/// Pushes a blob and pulls it again.
async fn round_trip(app: &TestApp, content: &str) {
    let client = app.anonymous();
    let digest = client.push_blob("app", content.as_bytes()).await;
    let pulled = client.get(&format!("/v2/app/blobs/{digest}")).await;
    assert_eq!((pulled.status, pulled.text().as_str()), (StatusCode::OK, content));
}

#[tokio::test(flavor = "multi_thread")]
async fn short_lived_keys_are_renewed_in_time_while_clients_push_and_pull() {
    let fake = Fake::start().await;
    fake.set_rules(|rules| rules.session = Some(Duration::from_secs(10)));
    // The races of the first start take long.
    fake.put("probe/passed", r#"{"version":1}"#);
    let app = with_a_file(fake.place()).start().await;
    let before = fake.exchanges().len();
    let mut pushed = 0;
    while fake.exchanges().len() < before + 3 {
        pushed += 1;
        replace_token(app.setup.folder.path(), pushed);
        round_trip(&app, &format!("content {pushed}")).await;
    }
    let exchanges = fake.exchanges().split_off(before);
    let mut tokens: Vec<_> = exchanges
        .iter()
        .map(|one| one.form["WebIdentityToken"].as_str())
        .collect();
    tokens.dedup();
    assert_eq!(
        tokens.len(),
        exchanges.len(),
        "the file is read for each exchange"
    );
    for exchange in &exchanges {
        assert_eq!(
            (exchange.target.as_str(), exchange.form["RoleArn"].as_str()),
            ("/", ROLE)
        );
    }
    let rejected = fake
        .requests()
        .into_iter()
        .filter(|seen| matches!(seen.status, Some(400 | 403)));
    assert_eq!(rejected.count(), 0, "no request had expired keys");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_a_jwt_svid_for_the_audience_of_sts() {
    let domain = Arc::new(TrustDomain::new("example.org"));
    let agent = Agent::of_workload(domain, "/registry");
    let fake = Fake::start().await;
    let mut setup = on(
        fake.place(),
        json!({"audience": AUDIENCE, "spiffeid": "spiffe://example.org/registry"}),
    );
    setup.config["http"]["auth"]["spiffe"] = json!({"workloadAPI": agent.address, "trustDomains": []});
    let app = setup.start().await;
    round_trip(&app, "content").await;
    let token = fake.exchanges()[0].form["WebIdentityToken"].clone();
    let claims = claims(&token);
    assert_eq!(claims["sub"], "spiffe://example.org/registry");
    assert_eq!(claims["aud"], json!([AUDIENCE]));
    let log = format!("{:?}", app.log.since(0));
    assert!(!log.contains(&token), "the token is in the log");
    assert!(log.contains(&format!("for the audience {AUDIENCE}")), "{log}");
}

fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(payload)
        .unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn moto_serves_with_the_keys_of_its_sts() {
    let Some(moto) = block_in_place(Moto::start) else {
        return;
    };
    let app = with_a_file(moto.place()).start().await;
    round_trip(&app, "content").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_keys_says_what_is_wrong_where_and_what_to_do() {
    const KEY: &str = "storage.storageDriver.webidentity";
    let fake = Fake::start().await;
    for (refusal, parts) in [
        (
            Refusal::INVALID_IDENTITY_TOKEN,
            ["InvalidIdentityToken", "issuer and audience"],
        ),
        (Refusal::ACCESS_DENIED, ["AccessDenied", "trust policy"]),
        (
            Refusal::EXPIRED_TOKEN,
            ["ExpiredToken", "token's source renews it"],
        ),
    ] {
        fake.inject(
            On::operation(Operation::AssumeRole).always(),
            Fault::Refuse(When::Before, refusal),
        );
        let setup = with_a_file(fake.place());
        let token = std::fs::read_to_string(setup.path("token")).unwrap();
        let said = refused(&setup);
        let place = setup.path("token").display().to_string();
        for part in [KEY, ROLE, &fake.place().endpoint, &place].iter().chain(&parts) {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains(&token), "{said}");
        fake.heal();
    }
    let mut unreachable = with_a_file(fake.place());
    unreachable.config["storage"]["storageDriver"]["webidentity"]["stsendpoint"] =
        json!("http://127.0.0.1:1");
    let missing = on(fake.place(), json!({"tokenfile": "nowhere/token"}));
    let domain = Arc::new(TrustDomain::new("example.org"));
    let agent = Agent::of_workload(domain, "/registry");
    let mut stranger = on(
        fake.place(),
        json!({"audience": AUDIENCE, "spiffeid": "spiffe://example.org/other"}),
    );
    stranger.config["http"]["auth"]["spiffe"] = json!({"workloadAPI": agent.address, "trustDomains": []});
    let mut short = with_a_file(fake.place());
    short.config["storage"]["storageDriver"]["webidentity"]["sessionname"] = json!("x");
    for (setup, parts) in [
        (&unreachable, ["http://127.0.0.1:1", "cannot be reached"]),
        (&missing, ["nowhere/token", "does not exist"]),
        (
            &stranger,
            ["spiffe://example.org/other", "register this registry's process"],
        ),
        (&short, ["session name", "2 to 64 characters"]),
    ] {
        let said = refused(setup);
        for part in [KEY].iter().chain(&parts) {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    let (code, out, errors) = block_in_place(|| run(&short, "verify"));
    assert_eq!(code, 2, "{out}{errors}");
    assert!(format!("{out}{errors}").contains(KEY), "{out}{errors}");
}

/// What a start says that must fail.
fn refused(setup: &Setup) -> String {
    let (code, out, errors) = block_in_place(|| run(setup, "serve"));
    assert_eq!(code, 2, "{out}{errors}");
    format!("{out}{errors}")
}

fn run(setup: &Setup, command: &str) -> (i32, String, String) {
    output(&[command, setup.file().to_str().unwrap()], setup.folder.path())
}
