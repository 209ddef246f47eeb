//! Docker's credential helper and the kubelet's credential provider, as their clients run them.

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
async fn get_returns_a_fresh_jwt_svid_whose_audience_is_the_registry() {
    let pki = TestPki::new();
    let agent = Agent::of_workload(Arc::new(pki.domain), "/ns/ci/sa/builder");
    let helper = helper()
        .env("SPIFFE_ENDPOINT_SOCKET", &agent.address)
        .env("WHARFINGER_REGISTRIES", HOST);
    for asked in [HOST, "https://registry.test:5000/"] {
        let (code, out, err) = helper.run(&["get"], &format!("{asked}\n")).await;
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        let answer = json_of(&out);
        assert_eq!(
            (&answer["ServerURL"], &answer["Username"]),
            (&json!(asked), &json!("workload"))
        );
        let claims = claims(&answer["Secret"]);
        assert_eq!(
            (&claims["sub"], &claims["aud"]),
            (&json!("spiffe://prod.test/ns/ci/sa/builder"), &json!([HOST]))
        );
    }
    helper.left_nothing();
}

/// As `credsStore` it is asked about every registry, Docker Hub's included.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_not_configured_gets_no_new_token_so_public_pulls_work() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let agent = tokio::net::UnixListener::bind(&socket).unwrap();
    let helper = helper().env("SPIFFE_ENDPOINT_SOCKET", &format!("unix://{}", socket.display()));
    helper.write(
        ".docker/config.json",
        r#"{"credsStore": "wharfinger", "credHelpers": {"other.test": "pass"}}"#,
    );
    for asked in ["https://index.docker.io/v1/", "ghcr.io", "other.test", HOST] {
        let (code, out, err) = helper.run(&["get"], asked).await;
        assert_eq!((code, out.as_str()), (1, NOT_FOUND), "{asked}");
        assert!(
            err.contains("none was requested") && err.contains("credHelpers"),
            "{err}"
        );
    }
    assert!(
        futures_util::FutureExt::now_or_never(agent.accept()).is_none(),
        "the helper has ended, and never came here"
    );
    helper.write(
        "credentials.yaml",
        &json!({"registries": {"registry.test": {}}}).to_string(),
    );
    let settled = helper.env("WHARFINGER_CREDENTIALS", &helper.path("credentials.yaml"));
    for (asked, said) in [
        ("https://index.docker.io/v1/", ""),
        (HOST, "names registry.test, not registry.test:5000"),
    ] {
        let (code, out, err) = settled.run(&["get"], asked).await;
        assert_eq!((code, out.as_str()), (1, NOT_FOUND), "{asked}");
        assert!(err.contains(said) && err.is_empty() == said.is_empty(), "{err}");
    }
    assert!(futures_util::FutureExt::now_or_never(agent.accept()).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_configuration_names_the_registry_by_host_and_port() {
    let pki = TestPki::new();
    let agent = Agent::of_workload(Arc::new(pki.domain), "/ns/ci/sa/builder");
    let helper = helper().env("SPIFFE_ENDPOINT_SOCKET", &agent.address);
    helper.write(
        ".docker/config.json",
        &json!({"credHelpers": {HOST: "wharfinger"}}).to_string(),
    );
    let (code, out, err) = helper.run(&["get"], HOST).await;
    assert_eq!(
        (code, &claims(&json_of(&out)["Secret"])["aud"], err.as_str()),
        (0, &json!([HOST]), "")
    );
    for other in ["registry.test", "registry.test:5001", "https://registry.test"] {
        assert_eq!(helper.run(&["get"], other).await.1, NOT_FOUND, "{other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_its_version_as_dockers_own_helpers_do() {
    let helper = helper().env("WHARFINGER_CREDENTIALS", "/nowhere.yaml");
    let version = format!(
        "docker-credential-wharfinger (wharfinger) {}\n",
        env!("CARGO_PKG_VERSION")
    );
    for verb in ["version", "--version", "-v"] {
        assert_eq!(
            helper.run(&[verb], "").await,
            (0, version.clone(), String::new()),
            "{verb}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn get_asks_github_with_the_jobs_own_token() {
    let pki = TestPki::new();
    let issuer = Arc::new(TestIssuer::start(&pki.servers).await);
    let job = Job::start(issuer.clone(), "repo:octo/app").await;
    let helper = helper()
        .env("ACTIONS_ID_TOKEN_REQUEST_URL", &job.url)
        .env("WHARFINGER_REGISTRIES", HOST);
    let (code, out, _) = helper
        .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", JOB_TOKEN)
        .run(&["get"], HOST)
        .await;
    assert_eq!(code, 0, "{out}");
    assert_eq!(claims(&json_of(&out)["Secret"])["aud"], HOST);
    let (code, out, _) = helper
        .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-another-job")
        .run(&["get"], HOST)
        .await;
    assert_eq!(
        (code, out.as_str()),
        (
            1,
            "no token for registry.test:5000: GitHub Actions gives no ID token: its server answered 401\n"
        )
    );
    helper.left_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn get_returns_a_token_from_elsewhere_only_if_it_is_for_the_registry() {
    let pki = TestPki::new();
    let issuer = TestIssuer::start(&pki.servers).await;
    let ours = issuer.token_for("https://registry.test:5000", "a");
    let theirs = issuer.token_for("vault.test", "a");
    let helper = helper();
    helper.write("token", &ours);
    let gitlab = helper
        .env("GITLAB_CI", "true")
        .env("A_TOKEN", &theirs)
        .env("B_TOKEN", &ours);
    let file = helper.env("WHARFINGER_TOKEN_FILE", &helper.path("token"));
    for helper in [&gitlab, &file] {
        let (code, out, err) = helper.run(&["get"], HOST).await;
        assert_eq!(
            (code, &json_of(&out)["Secret"], err.as_str()),
            (0, &json!(ours), "")
        );
        for other in [
            "https://index.docker.io/v1/",
            "registry.test",
            "registry.test:5001",
            "http://registry.test:5000",
        ] {
            let (code, out, err) = helper.run(&["get"], other).await;
            assert_eq!((code, out.as_str()), (1, NOT_FOUND), "no token for {other}");
            assert!(
                err.contains(" is for https://registry.test:5000, not for ") && !err.contains(&ours),
                "{err}"
            );
        }
    }
    let (_, _, err) = gitlab.run(&["get"], "registry.test").await;
    assert!(
        err.contains("the token in A_TOKEN is for vault.test, not for registry.test;"),
        "{err}"
    );
    assert!(
        err.contains("the token in B_TOKEN is for https://registry.test:5000, not for registry.test;"),
        "{err}"
    );
    let (code, out, err) = helper.run(&["get"], HOST).await;
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (1, NOT_FOUND, ""),
        "nowhere to get one"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_say_which_registry_gets_what() {
    let pki = TestPki::new();
    let agent = Agent::of_workload(Arc::new(pki.domain), "/ns/ci/sa/builder");
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
    assert_eq!(
        (&answer["Username"], &claims(&answer["Secret"])["aud"]),
        (&json!("<token>"), &json!([AUDIENCE]))
    );
    let (code, out, _) = helper.run(&["list"], "").await;
    assert_eq!(
        (code, json_of(&out)),
        (0, json!({HOST: "svc", "b.test": "workload"}))
    );
    let (code, out, _) = helper.run(&["get"], "b.test").await;
    assert_eq!(
        (code, out.as_str()),
        (1, "no token for b.test: variable NOWHERE is not set\n")
    );
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
    assert!(
        out.contains("keeps no secrets") && out.contains(HOST) && !out.contains("hunter2"),
        "{out}"
    );
    let unnamed = helper.env("SPIFFE_ENDPOINT_SOCKET", "unix:///nowhere.sock");
    assert_eq!(
        unnamed.run(&["store"], &login).await.0,
        1,
        "a password for a registry that gets no token here must not be lost"
    );
    let somewhere = unnamed.env("WHARFINGER_REGISTRIES", HOST);
    let (code, out, err) = somewhere.run(&["store"], &login).await;
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(
        err.contains("was not stored") && !err.contains("hunter2"),
        "{err}"
    );
    assert_eq!(
        helper.run(&["erase"], HOST).await,
        (0, String::new(), String::new())
    );
    assert_eq!(helper.run(&["list"], "").await, (0, "{}\n".into(), String::new()));
    for (verb, input, said) in [
        ("get", "", "no credentials server URL\n"),
        ("erase", "", "no credentials server URL\n"),
        (
            "store",
            r#"{"Username": "a", "Secret": "b"}"#,
            "no credentials server URL\n",
        ),
        (
            "store",
            r#"{"ServerURL": "a.test", "Secret": "b"}"#,
            "no credentials username\n",
        ),
        (
            "store",
            r#"["a.test", "ann"]"#,
            "expected a JSON object with ServerURL, Username and Secret\n",
        ),
    ] {
        let (code, out, _) = helper.run(&[verb], input).await;
        assert_eq!((code, out.as_str()), (1, said), "{verb} {input}");
    }
    helper.left_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_arguments_end_both_programs_with_2_and_help_says_what_they_do() {
    for (program, name, wrong) in [
        (helper(), "docker-credential-wharfinger", &["sail"][..]),
        (helper(), "docker-credential-wharfinger", &[]),
        (helper(), "docker-credential-wharfinger", &["get", "get"]),
        (provider(), "wharfinger-credential-provider", &["get"]),
    ] {
        let (code, out, err) = program.run(wrong, "").await;
        let usage = format!("\nUsage: {name} ");
        assert_eq!((code, out.as_str()), (2, ""), "{name} {wrong:?}");
        assert!(err.contains(&usage), "{err}");
        let (code, out, err) = program.run(&["--help"], "").await;
        assert_eq!((code, err.as_str()), (0, ""), "{name}");
        assert!(out.contains(&usage), "{out}");
    }
    let (code, out, _) = provider().run(&["--version"], "").await;
    let version = format!("wharfinger-credential-provider {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((code, out), (0, version));
}

fn request(image: &str, token: Option<&str>) -> Value {
    let mut request = json!({"apiVersion": "credentialprovider.kubelet.k8s.io/v1", "kind": "CredentialProviderRequest", "image": image});
    if let Some(token) = token {
        request["serviceAccountToken"] = token.into();
        request["serviceAccountAnnotations"] = json!({"registry.test/role": "reader"});
    }
    request
}

/// The kubelet rejects unknown fields, so the response has only the fields of the API.
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
    response["cacheDuration"]
        .as_str()
        .unwrap()
        .strip_suffix('s')
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kubelet_gets_its_pods_token_back_for_as_long_as_it_is_good() {
    let pki = TestPki::new();
    let issuer = TestIssuer::start(&pki.servers).await;
    let token = issuer.token_for(HOST, "system:serviceaccount:ns:app");
    let provider = provider();
    let (code, out, err) = provider
        .run(
            &[],
            &request("registry.test:5000/team/app:v1", Some(&token)).to_string(),
        )
        .await;
    assert_eq!((code, err.as_str()), (0, ""));
    let answer = json_of(&out);
    // The token's 300 seconds less a minute, however long the process took to start.
    assert!((200..=240).contains(&duration(&answer)), "{answer}");
    assert_eq!(
        answer,
        response(HOST, &token, answer["cacheDuration"].as_str().unwrap())
    );
    // Another service could use the token where it is valid, so it gets none. The kubelet shows standard
    // error only if its plugin fails.
    for image in [
        "evil.test/team/app:v1",
        "registry.test/team/app:v1",
        "registry.test:5001/team/app:v1",
    ] {
        let (code, out, err) = provider.run(&[], &request(image, Some(&token)).to_string()).await;
        let host = image.split('/').next().unwrap();
        assert_eq!((code, out.as_str()), (1, ""), "{image}");
        let said = format!(
            "serviceAccountToken is for registry.test:5000, not for {host}; set serviceAccountTokenAudience to {host}"
        );
        assert!(err.contains(&said) && !err.contains(&token), "{err}");
    }
    let named = json!({"registries": {"other.test": {"from": {"environment": "T"}}}}).to_string();
    let settled = self::provider();
    settled.write(".config/wharfinger/credentials.yaml", &named);
    let any = issuer.token_for("anything", "system:serviceaccount:ns:app");
    let (code, out, _) = settled
        .run(&[], &request("other.test/app", Some(&any)).to_string())
        .await;
    assert_eq!(
        (code, &json_of(&out)["auth"]["other.test"]["password"]),
        (0, &json!(any))
    );
    for (image, said) in [
        ("registry.test:5000/app", "does not name it"),
        ("anything/app", "does not name it"),
        ("other.test:5000/app", "names other.test, not other.test:5000"),
    ] {
        let (code, out, err) = settled.run(&[], &request(image, Some(&any)).to_string()).await;
        assert_eq!(
            (code, out.as_str(), err.contains(said)),
            (1, "", true),
            "{image}: {err}"
        );
    }
    let old = issuer.signer.token(&json!({"aud": HOST, "exp": 1}));
    let (code, out, err) = provider
        .run(&[], &request("registry.test:5000/app", Some(&old)).to_string())
        .await;
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("expired") && !err.contains(&old), "{err}");
    provider.left_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_pods_token_the_kubelet_gets_the_nodes() {
    let pki = TestPki::new();
    let agent = Agent::of_workload(Arc::new(pki.domain), "/node/a");
    let provider = provider().env("SPIFFE_ENDPOINT_SOCKET", &agent.address);
    let (code, out, _) = provider
        .run(
            &[],
            &request("registry.test:5000/app@sha256:00", None).to_string(),
        )
        .await;
    assert_eq!(code, 0, "{out}");
    let answer = json_of(&out);
    let password = &answer["auth"][HOST]["password"];
    assert_eq!(
        (&claims(password)["sub"], &claims(password)["aud"]),
        (&json!("spiffe://prod.test/node/a"), &json!([HOST]))
    );
    assert_eq!(
        answer,
        response(
            HOST,
            password.as_str().unwrap(),
            answer["cacheDuration"].as_str().unwrap()
        )
    );
    assert!((200..=240).contains(&duration(&answer)), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kubelet_gets_an_error_or_for_other_images_an_empty_answer() {
    let provider = provider();
    let (code, out, _) = provider.run(&[], &request("nginx", None).to_string()).await;
    let mut nothing = response("", "", "0s");
    nothing["auth"] = json!({});
    assert_eq!((code, json_of(&out)), (0, nothing));
    let mut old = request("registry.test/app", None);
    old["apiVersion"] = "credentialprovider.kubelet.k8s.io/v1beta1".into();
    let list = json!([
        "credentialprovider.kubelet.k8s.io/v1",
        "CredentialProviderRequest",
        "nginx",
        ""
    ])
    .to_string();
    for (input, said) in [
        (old.to_string(), "credentialprovider.kubelet.k8s.io/v1 "),
        ("{".into(), "CredentialProviderRequest"),
        (list, "expected an object, found a list at line 1"),
    ] {
        let (code, out, err) = provider.run(&[], &input).await;
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(err.contains(said), "{err}");
    }
}

/// The registry accepts the token of a helper.
#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_helper_logs_in() {
    let pki = TestPki::new();
    let app = Setup::tls(&pki).start().await;
    let agent = Agent::of_workload(Arc::new(pki.domain), "/ns/ci/sa/builder");
    let helper = helper()
        .env("SPIFFE_ENDPOINT_SOCKET", &agent.address)
        .env("WHARFINGER_REGISTRIES", AUDIENCE);
    let (code, out, _) = helper.run(&["get"], AUDIENCE).await;
    assert_eq!(code, 0, "{out}");
    let answer = app
        .bearer(json_of(&out)["Secret"].as_str().unwrap())
        .get("/v2/_wharfinger/whoami")
        .await;
    assert_eq!(answer.json()["username"], "spiffe://prod.test/ns/ci/sa/builder");
}
