//! `wharfinger login-check` against real registries: ours, and one with the problems that clients meet.

use crate::harness::{AUDIENCE, Agent, Program, Setup, Site, TestApp, TestIssuer, TestPki};
use bytes::Bytes;
use http::Response;
use serde_json::json;
use std::sync::Arc;
use tokio::net::TcpListener;

/// The program, with the registry's authority in `ca.pem`.
fn program(app: &TestApp) -> Program {
    let program = Program::named("wharfinger");
    program.write("ca.pem", app.authority().unwrap());
    program
}

fn line<'a>(said: &'a str, begin: &str) -> &'a str {
    said.lines()
        .find(|line| line.contains(begin))
        .unwrap_or_else(|| panic!("no line says {begin}:\n{said}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn our_registry_passes_with_a_token_and_with_a_certificate() {
    let pki = TestPki::new();
    let issuer = TestIssuer::start(&pki.servers).await;
    let policies = json!({"defaultPolicy": ["read"]});
    let app = Setup::tls(&pki)
        .issuer(&issuer, &pki)
        .allow("team/**", policies)
        .start()
        .await;
    let token = issuer.token("ann");
    let pair = pki.domain.x509_svid("/ns/ci/sa/builder");
    let program = program(&app);
    program.write("token", &token);
    program.write("svid.pem", &pair.certificate);
    program.write("svid.key", &pair.key);
    let host = app.host();
    let arguments = [
        "login-check",
        &host,
        "--ca=ca.pem",
        "--token-file=token",
        "--cert=svid.pem",
        "--key=svid.key",
        "--repo=team/app",
    ];
    let (code, said, err) = program.run(&arguments, "").await;
    assert_eq!((code, err.as_str()), (0, ""), "{said}");
    for good in [
        "GET /v2/ without a credential",
        "the token as bearer token",
        "the token as password, without the token endpoint",
        "GET token with the token as password",
        "grant password",
        "grant refresh_token",
        "RFC 8693 token exchange",
        "the client certificate alone",
        "GET token with the client certificate",
        "grant client_credentials",
        "reading team/app:",
    ] {
        assert!(line(&said, good).starts_with("ok "), "{said}");
    }
    assert!(
        said.contains(&format!("who you are there: {} (oidc)", issuer.username("ann"))),
        "{said}"
    );
    assert!(
        said.contains("who you are there: spiffe://prod.test/ns/ci/sa/builder (x509-svid)"),
        "{said}"
    );
    assert!(
        line(&said, "reading team/app without a credential").starts_with("note"),
        "{said}"
    );
    assert!(
        !said.contains(&token) && !said.contains(token.rsplit('.').next().unwrap()),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_is_reported_with_the_registrys_own_words_and_request_id() {
    let pki = TestPki::new();
    let app = Setup::tls(&pki).allow("team/**", json!({})).start().await;
    let program = program(&app);
    let host = app.host();
    program.write("token", &pki.domain.jwt_svid("/a", "another.test"));
    let (code, said, _) = program
        .run(&["login-check", &host, "--ca=ca.pem", "--token-file=token"], "")
        .await;
    assert_eq!(code, 1, "{said}");
    let refused = line(&said, "the token as bearer token");
    assert!(
        refused.starts_with("FAIL") && refused.contains("401: ") && refused.contains("(request "),
        "{said}"
    );
    let host_said = format!("it is for another.test, not for {host}");
    assert!(line(&said, "  the token: ").contains(&host_said), "{said}");
    assert!(
        said.contains(&format!(
            "fix: the token is for another.test, and this registry is {host}: request a token"
        )),
        "{said}"
    );
    assert_eq!(
        said.matches("FAIL").count(),
        1,
        "one failure is reported once:\n{said}"
    );
    let again = line(&said, "the same failure");
    assert!(
        again.contains("grant password") && again.contains("the token as password"),
        "{said}"
    );
    program.write("token", &pki.domain.jwt_svid("/a", AUDIENCE));
    let (code, said, _) = program
        .run(
            &[
                "login-check",
                &host,
                "--ca=ca.pem",
                "--token-file=token",
                "--repo=team/app",
            ],
            "",
        )
        .await;
    assert_eq!(code, 1, "{said}");
    assert!(line(&said, "reading team/app:").starts_with("FAIL"), "{said}");
    let (code, said, _) = program.run(&["login-check", &host], "").await;
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("no answer: ") && said.contains("--ca FILE"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_requires_a_certificate_gets_one() {
    let pki = TestPki::new();
    let mut setup = Setup::tls(&pki).allow("team/**", json!({"defaultPolicy": ["read"]}));
    setup.config["http"]["tls"]["clientAuth"] = json!("required");
    setup.config["http"]["health"] = json!({"address": "127.0.0.1", "port": 0});
    let app = setup.start().await;
    let pair = pki.domain.x509_svid("/ns/ci/sa/builder");
    let program = program(&app);
    program.write("svid.pem", &pair.certificate);
    program.write("svid.key", &pair.key);
    program.write("token", &pki.domain.jwt_svid("/ns/ci/sa/builder", AUDIENCE));
    let host = app.host();
    let with_certificate = [
        "login-check",
        &host,
        "--ca=ca.pem",
        "--cert=svid.pem",
        "--key=svid.key",
        "--repo=team/app",
    ];
    for arguments in [
        with_certificate.to_vec(),
        [&with_certificate[..], &["--token-file=token"]].concat(),
    ] {
        let (code, said, err) = program.run(&arguments, "").await;
        assert_eq!((code, err.as_str()), (0, ""), "{said}");
        assert!(
            line(&said, "GET /v2/ without a client certificate").starts_with("note"),
            "{said}"
        );
        assert!(
            line(&said, "the client certificate alone").starts_with("ok "),
            "{said}"
        );
        assert!(line(&said, "reading team/app:").starts_with("ok "), "{said}");
    }
    let (code, said, _) = program.run(&["login-check", &host, "--ca=ca.pem"], "").await;
    assert_eq!((code, said.matches("FAIL").count()), (1, 1), "{said}");
    // A certificate of another trust domain fails like none at all. The report says so once.
    let stranger = TestPki::new().domain.x509_svid("/ns/ci/sa/builder");
    program.write("svid.pem", &stranger.certificate);
    program.write("svid.key", &stranger.key);
    let (code, said, _) = program.run(&with_certificate, "").await;
    assert_eq!((code, said.matches("FAIL").count()), (1, 1), "{said}");
    assert!(
        line(&said, "FAIL").contains("GET /v2/ with the client certificate"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_helper_withholds_is_explained_once() {
    let pki = TestPki::new();
    let app = Setup::tls(&pki).start().await;
    let program = program(&app)
        .env("GITLAB_CI", "true")
        .env("REGISTRY_TOKEN", &pki.domain.jwt_svid("/a", "another.test"));
    let host = app.host();
    let (code, said, err) = program.run(&["login-check", &host, "--ca=ca.pem"], "").await;
    assert_eq!((code, err.as_str()), (0, ""), "{said}");
    let skipped = line(&said, "every way in with a token");
    assert!(
        skipped.contains(&format!(
            "the token in REGISTRY_TOKEN is for another.test, not for {host};"
        )),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_file_the_helpers_token_is_tried() {
    let pki = TestPki::new();
    let app = Setup::tls(&pki).start().await;
    let program = program(&app);
    let agent = Agent::of_workload(Arc::new(pki.domain), "/ns/ci/sa/builder");
    let settings = json!({"registries": {app.host(): {"audience": AUDIENCE, "from": {"workloadAPI": {"address": agent.address}}}}});
    let host = app.host();
    let (code, said, _) = program.run(&["login-check", &host, "--ca=ca.pem"], "").await;
    assert_eq!(code, 0, "{said}");
    assert!(
        line(&said, "every way in with a token").starts_with("skip"),
        "{said}"
    );
    program.write(".config/wharfinger/credentials.yaml", &settings.to_string());
    let (code, said, _) = program.run(&["login-check", &host, "--ca=ca.pem"], "").await;
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("the token: from the Workload API")
            && said.contains("spiffe://prod.test/ns/ci/sa/builder (jwt-svid)"),
        "{said}"
    );
}

/// A registry behind a proxy that sends clients to another address for tokens, and offers Basic too.
async fn careless(realm: &str) -> Site {
    let site = Site::plain().await;
    let challenge = format!(r#"Bearer realm="{realm}",service="r""#);
    site.answer_all(move |_| {
        let answer = Response::builder().status(401);
        let answer = answer.header("www-authenticate", &challenge);
        let answer = answer.header("www-authenticate", "Basic realm=\"r\"");
        answer.body(Bytes::new()).unwrap()
    });
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_goes_to_a_token_endpoint_of_another_origin() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let realm = format!(
        "http://localhost:{}/token",
        elsewhere.local_addr().unwrap().port()
    );
    let careless = careless(&realm).await;
    let host = careless.address.to_string();
    let program = Program::named("wharfinger");
    program.write("token", "a.b.c");
    let (code, said, _) = program
        .run(&["login-check", &host, "--plain-http", "--token-file=token"], "")
        .await;
    assert_eq!(code, 1, "{said}");
    let skipped = line(&said, "token and certificate at the token endpoint");
    assert!(
        skipped.starts_with("skip") && skipped.contains("another scheme, host or port"),
        "{said}"
    );
    let asked = futures_util::FutureExt::now_or_never(elsewhere.accept());
    assert!(asked.is_none(), "the program has ended, and never came here");
}

#[tokio::test(flavor = "multi_thread")]
async fn problems_that_clients_meet_are_found_with_their_fix() {
    let careless = careless("http://pod-1.cluster.local:8080/token").await;
    let host = careless.address.to_string();
    let program = Program::named("wharfinger");
    let (code, said, _) = program.run(&["login-check", &host, "--plain-http"], "").await;
    assert_eq!(code, 1, "{said}");
    let first = line(&said, "GET /v2/ without a credential");
    assert!(
        first.starts_with("FAIL") && first.contains("2 challenges"),
        "{said}"
    );
    for wrong in [
        &["login-check", "a b"][..],
        &["login-check", &host, "--cert=x"],
        &["login-check", &host, "--token-file=nowhere"],
    ] {
        assert_eq!(program.run(wrong, "").await.0, 2, "{wrong:?}");
    }
}

/// A wrong authority and a certificate that names no host are different mistakes, with different fixes.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_certificate_that_is_not_accepted_is_named_with_its_fix() {
    let pki = TestPki::new();
    let by_name = Setup::tls(&pki).start().await;
    let by_spiffe_id = Setup::tls(&pki);
    let svid = pki.domain.x509_svid("/registry");
    by_spiffe_id.write("server.crt", &svid.certificate);
    by_spiffe_id.write("server.key", &svid.key);
    let by_spiffe_id = by_spiffe_id.start().await;
    let program = program(&by_name);
    program.write("domain.pem", &pki.domain.ca.pem);
    let check = async |app: &TestApp, ca: &str| {
        let (code, said, _) = program.run(&["login-check", &app.host(), ca], "").await;
        assert_eq!((code, said.matches("FAIL").count()), (1, 1), "{said}");
        for rust in ["Context", "Other(", "UnknownIssuer", "invalid peer"] {
            assert!(!said.contains(rust), "{said}");
        }
        said
    };
    let wrong_authority = check(&by_name, "--ca=domain.pem").await;
    assert!(
        wrong_authority.contains("no chain leads from there to the authorities of --ca"),
        "{wrong_authority}"
    );
    assert!(
        wrong_authority
            .contains("fix: give its authority with --ca FILE, or have the server send its intermediate"),
        "{wrong_authority}"
    );
    let no_host = check(&by_spiffe_id, "--ca=domain.pem").await;
    assert!(
        no_host.contains("names no host, only spiffe://prod.test/registry: clients verify the host name"),
        "{no_host}"
    );
    assert!(
        no_host.contains("fix: issue one with ") && !no_host.contains("no chain"),
        "{no_host}"
    );
    let both = check(&by_spiffe_id, "--ca=ca.pem").await;
    assert!(both.contains("also, it names no host"), "{both}");
}
