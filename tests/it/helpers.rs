//! The binary under its other names: docker's credential helper and the kubelet's credential provider, as their clients run them.

use crate::harness::{AUDIENCE, Agent, JOB_TOKEN, Job, Program, Setup, TestIssuer, TestPki};
use serde_json::{Value, json};
use std::sync::Arc;

const HOST: &str = "registry.test:5000";
const NOT_FOUND: &str = "credentials not found in native keychain\n";

fn helper() -> Program {
    Program::named("docker-credential-wharfinger")
}

fn provider() -> Program {
    Program::named("wharfinger-credential-provider")
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("no JSON: {text}"))
}

/// The claims of the token in an answer.
fn claims(token: &Value) -> Value {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let claims = token.as_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn get_hands_over_a_fresh_jwt_svid_whose_audience_is_the_registry() {
    let pki = TestPki::new();
    let agent = Agent::start(Arc::new(pki.domain), "/ns/ci/sa/builder");
    let helper = helper().env("SPIFFE_ENDPOINT_SOCKET", &agent.address);
    for asked in [HOST, "https://registry.test:5000/"] {
        let (code, out, err) = helper.run(&["get"], &format!("{asked}\n")).await;
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        let answer = json_of(&out);
        assert_eq!((&answer["ServerURL"], &answer["Username"]), (&json!(asked), &json!("workload")));
        let claims = claims(&answer["Secret"]);
        assert_eq!((&claims["sub"], &claims["aud"]), (&json!("spiffe://prod.test/ns/ci/sa/builder"), &json!(["registry.test"])));
    }
    helper.left_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn get_asks_github_with_the_jobs_own_token() {
    let pki = TestPki::new();
    let issuer = Arc::new(TestIssuer::start(&pki.servers).await);
    let job = Job::start(issuer.clone(), "repo:octo/app").await;
    let helper = helper().env("ACTIONS_ID_TOKEN_REQUEST_URL", &job.url);
    let (code, out, _) = helper.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", JOB_TOKEN).run(&["get"], HOST).await;
    assert_eq!(code, 0, "{out}");
    assert_eq!(claims(&json_of(&out)["Secret"])["aud"], "registry.test");
    let (code, out, _) = helper.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-another-job").run(&["get"], HOST).await;
    assert_eq!((code, out.as_str()), (1, "no token for registry.test:5000: GitHub Actions gives no ID token: its server answered 401\n"));
    helper.left_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn get_takes_a_token_that_somebody_keeps_fresh_only_where_it_belongs() {
    let pki = TestPki::new();
    let issuer = TestIssuer::start(&pki.servers).await;
    let (ours, theirs) = (issuer.token_for("https://registry.test", "a"), issuer.token_for("vault.test", "a"));
    let helper = helper();
    helper.write("token", &ours);
    let gitlab = helper.env("GITLAB_CI", "true").env("A_TOKEN", &theirs).env("B_TOKEN", &ours);
    let file = helper.env("WHARFINGER_TOKEN_FILE", &helper.path("token"));
    for helper in [&gitlab, &file] {
        let (code, out, _) = helper.run(&["get"], HOST).await;
        assert_eq!((code, &json_of(&out)["Secret"]), (0, &json!(ours)));
        let (code, out, _) = helper.run(&["get"], "https://index.docker.io/v1/").await;
        assert_eq!((code, out.as_str()), (1, NOT_FOUND), "no token for a stranger");
    }
    let (code, out, err) = helper.run(&["get"], HOST).await;
    assert_eq!((code, out.as_str(), err.as_str()), (1, NOT_FOUND, ""), "nowhere to get one");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_say_which_registry_gets_what() {
    let pki = TestPki::new();
    let agent = Agent::start(Arc::new(pki.domain), "/ns/ci/sa/builder");
    let helper = helper().env("XDG_CONFIG_HOME", "");
    let settings = format!(
        "registries:
  {HOST}: {{audience: {AUDIENCE}, username: svc, presentAs: identityToken, from: {{workloadAPI: {{address: '{}'}}}}}}
  b.test: {{from: {{environment: NOWHERE}}}}
",
        agent.address
    );
    helper.write(".config/wharfinger/credentials.yaml", &settings);
    let (code, out, _) = helper.run(&["get"], HOST).await;
    assert_eq!(code, 0, "{out}");
    let answer = json_of(&out);
    assert_eq!((&answer["Username"], &claims(&answer["Secret"])["aud"]), (&json!("<token>"), &json!([AUDIENCE])));
    let (code, out, _) = helper.run(&["list"], "").await;
    assert_eq!((code, json_of(&out)), (0, json!({HOST: "svc", "b.test": "workload"})));
    let (code, out, _) = helper.run(&["get"], "b.test").await;
    assert_eq!((code, out.as_str()), (1, "no token for b.test: variable NOWHERE is not set\n"));
    let (code, out, _) = helper.run(&["get"], "c.test").await;
    assert_eq!((code, out.as_str()), (1, NOT_FOUND));
    let missing = helper.env("WHARFINGER_CREDENTIALS", "/nowhere.yaml");
    let (code, out, _) = missing.run(&["get"], HOST).await;
    assert!(code == 1 && out.contains("/nowhere.yaml"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn store_and_erase_keep_and_forget_nothing() {
    let helper = helper();
    let login = json!({"ServerURL": HOST, "Username": "ann", "Secret": "hunter2"}).to_string();
    let (code, out, err) = helper.run(&["store"], &login).await;
    assert_eq!((code, err.as_str()), (1, ""));
    assert!(out.contains("keeps no secrets") && out.contains(HOST) && !out.contains("hunter2"), "{out}");
    let somewhere = helper.env("SPIFFE_ENDPOINT_SOCKET", "unix:///nowhere.sock");
    let (code, out, err) = somewhere.run(&["store"], &login).await;
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(err.contains("is forgotten") && !err.contains("hunter2"), "{err}");
    assert_eq!(helper.run(&["erase"], HOST).await, (0, String::new(), String::new()));
    assert_eq!(helper.run(&["list"], "").await, (0, "{}\n".into(), String::new()));
    for (verb, input, said) in [
        ("get", "", "no credentials server URL\n"),
        ("erase", "", "no credentials server URL\n"),
        ("store", r#"{"Username": "a", "Secret": "b"}"#, "no credentials server URL\n"),
        ("store", r#"{"ServerURL": "a.test", "Secret": "b"}"#, "no credentials username\n"),
    ] {
        let (code, out, _) = helper.run(&[verb], input).await;
        assert_eq!((code, out.as_str()), (1, said), "{verb} {input}");
    }
    assert_eq!(helper.run(&["sail"], "").await.0, 2);
    helper.left_nothing();
}

fn request(image: &str, token: Option<&str>) -> Value {
    let mut request = json!({"apiVersion": "credentialprovider.kubelet.k8s.io/v1", "kind": "CredentialProviderRequest", "image": image});
    if let Some(token) = token {
        request["serviceAccountToken"] = token.into();
        request["serviceAccountAnnotations"] = json!({"registry.test/role": "reader"});
    }
    request
}

/// Whatever the kubelet does not know it refuses, so the response has just what the API has.
fn response(host: &str, password: &str, duration: &str) -> Value {
    json!({
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "kind": "CredentialProviderResponse",
        "cacheKeyType": "Registry",
        "cacheDuration": duration,
        "auth": {host: {"username": "workload", "password": password}},
    })
}

/// Seconds.
fn duration(response: &Value) -> u64 {
    response["cacheDuration"].as_str().unwrap().strip_suffix('s').unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kubelet_gets_its_pods_token_back_for_as_long_as_it_is_good() {
    let pki = TestPki::new();
    let issuer = TestIssuer::start(&pki.servers).await;
    let token = issuer.token("system:serviceaccount:ns:app");
    let provider = provider();
    let (code, out, err) = provider.run(&[], &request("registry.test:5000/team/app:v1", Some(&token)).to_string()).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let answer = json_of(&out);
    // Its 300 seconds without a minute to spare, however long the process took to start.
    assert!((200..=240).contains(&duration(&answer)), "{answer}");
    assert_eq!(answer, response(HOST, &token, answer["cacheDuration"].as_str().unwrap()));
    // A registry that the token is not for could log in with it where it counts.
    let mut nothing = response("", "", "0s");
    nothing["auth"] = json!({});
    let elsewhere = request("evil.test/team/app:v1", Some(&token)).to_string();
    let (code, out, err) = provider.run(&[], &elsewhere).await;
    assert_eq!((code, json_of(&out)), (0, nothing.clone()));
    assert!(err.contains("evil.test gets no token") && !err.contains(&token), "{err}");
    let named = json!({"registries": {"other.test": {"from": {"environment": "T"}}}}).to_string();
    let settled = self::provider();
    settled.write(".config/wharfinger/credentials.yaml", &named);
    let any = issuer.token_for("anything", "system:serviceaccount:ns:app");
    for (image, expected) in [("other.test/app", Some(&any)), ("registry.test:5000/app", None), ("anything/app", None)] {
        let (code, out, _) = settled.run(&[], &request(image, Some(&any)).to_string()).await;
        let answer = json_of(&out);
        assert_eq!((code, answer["auth"]["other.test"]["password"].as_str()), (0, expected.map(String::as_str)), "{image}");
        assert_eq!(answer["auth"] == json!({}), expected.is_none(), "{image}");
    }
    let old = issuer.signer.token(&json!({"aud": AUDIENCE, "exp": 1}));
    let (code, out, err) = provider.run(&[], &request("registry.test/app", Some(&old)).to_string()).await;
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("expired") && !err.contains(&old), "{err}");
    provider.left_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_pods_token_the_kubelet_gets_the_nodes() {
    let pki = TestPki::new();
    let agent = Agent::start(Arc::new(pki.domain), "/node/a");
    let provider = provider().env("SPIFFE_ENDPOINT_SOCKET", &agent.address);
    let (code, out, _) = provider.run(&[], &request("registry.test:5000/app@sha256:00", None).to_string()).await;
    assert_eq!(code, 0, "{out}");
    let answer = json_of(&out);
    let password = &answer["auth"][HOST]["password"];
    assert_eq!((&claims(password)["sub"], &claims(password)["aud"]), (&json!("spiffe://prod.test/node/a"), &json!(["registry.test"])));
    assert_eq!(answer, response(HOST, password.as_str().unwrap(), answer["cacheDuration"].as_str().unwrap()));
    assert!((200..=240).contains(&duration(&answer)), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kubelet_is_told_what_is_wrong_and_gets_nothing_where_nothing_is() {
    let provider = provider();
    let (code, out, _) = provider.run(&[], &request("nginx", None).to_string()).await;
    let mut nothing = response("", "", "0s");
    nothing["auth"] = json!({});
    assert_eq!((code, json_of(&out)), (0, nothing));
    let mut old = request("registry.test/app", None);
    old["apiVersion"] = "credentialprovider.kubelet.k8s.io/v1beta1".into();
    for (input, said) in [(old.to_string(), "credentialprovider.kubelet.k8s.io/v1 "), ("{".into(), "CredentialProviderRequest")] {
        let (code, out, err) = provider.run(&[], &input).await;
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(err.contains(said), "{err}");
    }
}

/// What a helper hands over opens the registry's door.
#[tokio::test(flavor = "multi_thread")]
async fn the_token_that_is_handed_over_logs_in() {
    let pki = TestPki::new();
    let app = Setup::tls(&pki).start().await;
    let agent = Agent::start(Arc::new(pki.domain), "/ns/ci/sa/builder");
    let helper = Program::named("wharfinger").env("SPIFFE_ENDPOINT_SOCKET", &agent.address);
    let (code, out, _) = helper.run(&["docker-credential", "get"], AUDIENCE).await;
    assert_eq!(code, 0, "{out}");
    let answer = app.bearer(json_of(&out)["Secret"].as_str().unwrap()).get("/v2/_wharfinger/whoami").await;
    assert_eq!(answer.json()["username"], "spiffe://prod.test/ns/ci/sa/builder");
}
