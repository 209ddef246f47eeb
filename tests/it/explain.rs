//! `wharfinger explain` gives the same verdict as the registry, with the entry and the rule behind it.

use crate::harness::{AUDIENCE, Setup, TestIssuer, TestPki, output};
use serde_json::json;

/// The exit code and the output for a credential in a file.
fn explained(setup: &Setup, credential: &str, rest: &[&str]) -> (i32, String) {
    let file = setup.file();
    let arguments = [&["explain", file.to_str().unwrap(), credential], rest].concat();
    let (code, out, err) = output(&arguments, setup.folder.path());
    (code, out + &err)
}

fn has(text: &str, said: &[&str]) {
    for said in said {
        assert!(text.contains(said), "expected {said} in:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_shows_the_entry_identity_and_rights_of_a_token() {
    let pki = TestPki::new();
    let issuer = TestIssuer::start(&pki.servers).await;
    let policies = json!({"policies": [{"users": ["ann"], "actions": ["read"]}]});
    let mut setup = Setup::tls(&pki).issuer(&issuer, &pki).allow("team/**", policies);
    let mapping = json!({
        "validations": [{"expression": "claims.sub != 'mallory'", "message": "mallory is not welcome"}],
        "username": "claims.sub",
        "groups": "['dev']",
    });
    let mut first = setup.config["http"]["auth"]["bearer"]["oidc"][0].clone();
    first["audiences"] = json!(["another.test"]);
    setup.config["http"]["auth"]["bearer"]["oidc"][0]["claimMapping"] = mapping;
    let second = setup.config["http"]["auth"]["bearer"]["oidc"][0].clone();
    setup.config["http"]["auth"]["bearer"]["oidc"] = json!([first, second]);
    setup.write("ann", &issuer.token("ann"));
    let (code, said) = explained(
        &setup,
        "--token-file=ann",
        &["--repo", "team/app", "--action", "read"],
    );
    assert_eq!(code, 0, "{said}");
    has(
        &said,
        &[
            &format!(
                "http.auth.bearer.oidc[0] ({}): rejects the credential: ",
                issuer.url
            ),
            "another.test",
            &format!(
                "http.auth.bearer.oidc[1] ({}): accepts the credential",
                issuer.url
            ),
            "credential   oidc\n",
            "username     ann\n",
            "groups       dev\n",
            r#""sub":"ann""#,
            r#"read       yes  accessControl.repositories["team/**"].policies[0]"#,
            r#"create     no   accessControl.repositories["team/**"] applies and does not grant create"#,
        ],
    );
    assert_eq!(
        explained(
            &setup,
            "--token-file=ann",
            &["--repo", "team/app", "--action", "create"]
        )
        .0,
        1
    );
    assert!(!setup.path("store").exists(), "explain opens no store");

    setup.write("mallory", &issuer.token("mallory"));
    let (code, said) = explained(&setup, "--token-file=mallory", &[]);
    assert_eq!(code, 1, "{said}");
    has(&said, &["oidc[1]", "mallory is not welcome", "rejected     "]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_issuer_is_reported_with_the_configured_ones_and_without_the_token() {
    let pki = TestPki::new();
    let setup = Setup::tls(&pki);
    let id = "/ns/ci/sa/builder";
    for (token, said) in [
        (
            pki.domain.jwt_svid(id, "another.test"),
            vec![
                "trustDomains[0] (prod.test): rejects the credential: ",
                "another.test",
                AUDIENCE,
            ],
        ),
        (
            pki.foreign.jwt_svid(id, AUDIENCE),
            vec![
                "trust domain",
                "configured   http.auth.spiffe.trustDomains[0] (prod.test)",
            ],
        ),
        ("aaa.bbb.qqzz".to_owned(), vec!["rejected     "]),
    ] {
        setup.write("token", &token);
        let (code, text) = explained(&setup, "--token-file=token", &[]);
        assert_eq!(code, 1, "{text}");
        has(&text, &said);
        let signature = token.rsplit('.').next().unwrap();
        assert!(!text.contains(&token) && !text.contains(signature), "{text}");
    }
    setup.write(
        "token",
        &pki.domain
            .signer
            .token(&json!({"iss": "urn:wharfinger:a", "sub": "a", "aud": AUDIENCE})),
    );
    has(
        &explained(&setup, "--token-file=token", &[]).1,
        &["hint         a registry issued this token"],
    );
    let token = pki.domain.jwt_svid(id, AUDIENCE);
    let (code, text) = explained(&setup, "--token", &[&token]);
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains(token.rsplit('.').next().unwrap()), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_explained_without_its_key() {
    let pki = TestPki::new();
    let setup = Setup::tls(&pki);
    setup.write("svid.pem", &pki.domain.x509_svid("/ns/ci/sa/builder").certificate);
    setup.write(
        "other.pem",
        &pki.foreign
            .ca
            .svid("spiffe://prod.test/ns/ci/sa/builder")
            .certificate,
    );
    let (code, said) = explained(&setup, "--cert=svid.pem", &[]);
    assert_eq!(code, 0, "{said}");
    has(
        &said,
        &[
            "trustDomains[0] (prod.test): accepts the credential",
            "credential   x509-svid",
            "username     spiffe://prod.test/ns/ci/sa/builder",
        ],
    );
    let (code, said) = explained(&setup, "--cert=other.pem", &[]);
    assert_eq!(code, 1, "{said}");
    has(&said, &["trustDomains[0] (prod.test): rejects the credential: "]);
    for wrong in [
        &["--cert=nothing.pem"][..],
        &[],
        &["--cert=svid.pem", "--token=x"],
        &["--cert=svid.pem", "--repo=Team"],
    ] {
        let file = setup.file();
        let (code, _, err) = output(
            &[&["explain", file.to_str().unwrap()], wrong].concat(),
            setup.folder.path(),
        );
        assert_eq!(code, 2, "{wrong:?}: {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_certificate_is_explained_by_each_entry_with_its_name() {
    let pki = TestPki::new();
    let mut setup = Setup::tls(&pki).allow("**", json!({"defaultPolicy": ["read"]}));
    let lab = crate::harness::Ca::new("lab");
    let office = crate::harness::Ca::new("office");
    setup.write("lab.pem", &lab.pem);
    setup.write("office.pem", &office.pem);
    setup.config["http"]["auth"]["x509"] = json!([
        {"name": "office", "certificateAuthorityFile": "office.pem"},
        {"name": "lab", "certificateAuthorityFile": "lab.pem"},
    ]);
    setup.write("ann.pem", &lab.client("ann").certificate);
    let (code, said) = explained(&setup, "--cert=ann.pem", &["--repo", "app", "--action", "read"]);
    assert_eq!(code, 0, "{said}");
    has(
        &said,
        &[
            "(office): rejects the credential: ",
            "(lab): accepts the credential",
            "credential   x509\n",
            "username     ann\n",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_shows_the_immutable_tags_and_who_may_override_them() {
    let pki = TestPki::new();
    let rules = json!({
        "immutableTags": ["v*", "!*-dev"],
        "defaultPolicy": ["read", "update"],
        "policies": [{"users": ["lab"], "actions": ["override"]}],
    });
    let mut setup = Setup::tls(&pki)
        .allow("team/**", rules)
        .allow("**", json!({"defaultPolicy": ["read"]}));
    let lab = crate::harness::Ca::new("lab");
    setup.write("lab.pem", &lab.pem);
    setup.config["http"]["auth"]["x509"] = json!([{"name": "lab", "certificateAuthorityFile": "lab.pem"}]);
    setup.write("ann.pem", &lab.client("ann").certificate);
    setup.write("by.pem", &lab.client("lab").certificate);
    let may = |who: &str, repository: &str| {
        explained(
            &setup,
            &format!("--cert={who}.pem"),
            &["--repo", repository, "--action", "override"],
        )
    };
    let (code, said) = may("ann", "team/app");
    assert_eq!(code, 1, "{said}");
    has(
        &said,
        &[
            r#"override   no   accessControl.repositories["team/**"] applies and does not grant override"#,
            r#"immutable    v*, except *-dev (accessControl.repositories["team/**"].immutableTags)"#,
        ],
    );
    let (code, said) = may("by", "team/app");
    assert_eq!(code, 0, "{said}");
    has(
        &said,
        &[r#"override   yes  accessControl.repositories["team/**"].policies[0]"#],
    );
    let (_, said) = explained(&setup, "--cert=by.pem", &["--repo", "app"]);
    assert!(
        !said.contains("override") && !said.contains("immutable"),
        "{said}"
    );
}

/// The registry treats a token as `explain` says.
#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_has_the_same_reason_in_the_log_under_the_request_id_of_the_answer() {
    let pki = TestPki::new();
    let setup = Setup::tls(&pki);
    let token = pki.domain.jwt_svid("/ns/ci/sa/builder", "another.test");
    setup.write("token", &token);
    let said = explained(&setup, "--token-file=token", &[]).1;
    let app = setup.start().await;
    let answer = app.bearer(&token).get("/v2/").await;
    let id = answer.header("x-request-id");
    let message = answer.json()["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.ends_with(&format!("(request {id})")), "{message}");
    let line = app
        .log
        .wait("why", 0, |line| {
            line["request.id"] == id && line["http.status"] == 401
        })
        .await;
    let why = line["why"].as_str().unwrap();
    assert!(
        said.contains(&format!("rejected     {why}")),
        "{why} is not in {said}"
    );
}

#[test]
fn what_the_configuration_lacks_is_reported_first() {
    let setup = Setup::plain();
    setup.write("config.yaml", "http: {prot: 1}\n");
    let (code, _, err) = output(&["explain", "config.yaml", "--token", "x"], setup.folder.path());
    assert!(code == 2 && err.contains("did you mean port?"), "{err}");
}
