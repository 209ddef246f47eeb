//! Credentials that the operator revokes, by every kind of rule, on open connections and for minted tokens.

use crate::harness::{AUDIENCE, Ca, Client, Pair, Setup, TestApp, TestIssuer, TestPki, output, sha256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pki_types::CertificateDer;
use pki_types::pem::PemObject as _;
use reqwest::StatusCode;
use serde_json::{Value, json};

fn basic(app: &TestApp, user: &str, password: &str) -> Client {
    app.anonymous().header(
        "authorization",
        &format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))),
    )
}

fn thumbprint(pair: &Pair) -> String {
    let der = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
    sha256(&der).trim_start_matches("sha256:").to_owned()
}

/// A client with a credential, and one with a token that was minted for it.
struct Caller {
    name: &'static str,
    clients: [Client; 2],
    /// The id of the minted token.
    token: String,
}

async fn caller(app: &TestApp, name: &'static str, client: Client) -> Caller {
    let answer = client
        .get("/v2/token?service=wharfinger&scope=repository:a:pull")
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{name}: {}", answer.text());
    let id = answer.header("x-request-id").to_owned();
    let issued = app
        .log
        .wait("a token is issued", 0, |line| line["request.id"] == id)
        .await;
    let minted = app.bearer(answer.json()["token"].as_str().unwrap());
    Caller {
        name,
        clients: [client, minted],
        token: issued["token.issued"].as_str().unwrap().to_owned(),
    }
}

/// Sends a request with both clients, each on its open connection. Returns the rule that rejects them, if
/// any.
async fn refused_by(app: &TestApp, caller: &Caller) -> Option<String> {
    let mut rules = Vec::new();
    for client in &caller.clients {
        let answer = client.get("/v2/a/tags/list").await;
        if answer.error() == (404, "NAME_UNKNOWN".into()) {
            rules.push(None);
            continue;
        }
        assert_eq!(answer.error(), (401, "UNAUTHORIZED".into()), "{}", caller.name);
        assert!(
            answer.header("www-authenticate").contains("invalid_token"),
            "{}",
            caller.name
        );
        let message = answer.json()["errors"][0]["message"].as_str().unwrap().to_owned();
        let id = answer.header("x-request-id");
        assert_eq!(
            message,
            format!("the credential is revoked (request {id})"),
            "{}",
            caller.name
        );
        let mut line = app
            .log
            .wait("it is refused", 0, |line| line["request.id"] == id)
            .await;
        assert_eq!(line["message"], "credential refused");
        // The second rejection of a certificate for the same reason gets a short line, which names the first
        // request.
        let first = line["why"]
            .as_str()
            .unwrap()
            .strip_prefix("the certificate was refused for the same reason as in request ");
        if let Some(first) = first.and_then(|first| first.split(' ').next()).map(str::to_owned) {
            line = app
                .log
                .wait("it was refused before", 0, |line| {
                    line["request.id"] == first.as_str()
                })
                .await;
        }
        let why = line["why"].as_str().unwrap();
        let (_, place) = why.split_once("http.auth.").unwrap_or_else(|| panic!("{why}"));
        rules.push(place.split(' ').next().map(str::to_owned));
    }
    assert_eq!(
        rules[0], rules[1],
        "{}: the credential and the token that stands for it",
        caller.name
    );
    rules.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_refuses_the_next_request_on_open_connections_and_with_minted_tokens() {
    let pki = TestPki::new();
    let issuer = TestIssuer::start(&pki.servers).await;
    let lab = Ca::new("lab");
    let mut setup = Setup::tls(&pki)
        .issuer(&issuer, &pki)
        .allow("**", json!({"defaultPolicy": ["read"]}));
    setup.write("lab.pem", &lab.pem);
    setup.config["http"]["auth"]["x509"] = json!([{"name": "lab", "certificateAuthorityFile": "lab.pem"}]);
    setup.config["http"]["auth"]["htpasswd"] = json!({"path": "users"});
    let hash = |password: &str| bcrypt::hash(password, 4).unwrap();
    setup.write("users", &format!("ann:{}\nbob:{}\n", hash("one"), hash("two")));
    let mut app = setup.start().await;
    let job = |subject: &str, id: &str| {
        let mut claims = issuer.claims(AUDIENCE, subject);
        claims["jti"] = id.into();
        issuer.signer.token(&claims)
    };
    let dev = lab.client("dev");
    let ops = lab.client("ops");
    let mut callers = Vec::new();
    for (name, client) in [
        ("password", basic(&app, "ann", "one")),
        ("subject", app.bearer(&issuer.token("alice"))),
        ("jti", app.bearer(&job("carol", "job-1"))),
        ("certificate", app.certificate(&dev)),
        ("X.509-SVID", app.certificate(&pki.domain.x509_svid("/ns/old/a"))),
        (
            "JWT-SVID",
            app.bearer(&pki.domain.jwt_svid("/ns/old/b", AUDIENCE)),
        ),
    ] {
        callers.push(caller(&app, name, client).await);
    }
    let mut others = Vec::new();
    for (name, client) in [
        ("another password", basic(&app, "bob", "two")),
        ("another subject", app.bearer(&issuer.token("bob"))),
        ("another jti", app.bearer(&job("carol", "job-2"))),
        ("another certificate", app.certificate(&ops)),
        (
            "another X.509-SVID",
            app.certificate(&pki.domain.x509_svid("/ns/older/a")),
        ),
        (
            "another JWT-SVID",
            app.bearer(&pki.domain.jwt_svid("/ns/older/b", AUDIENCE)),
        ),
    ] {
        others.push(caller(&app, name, client).await);
    }
    for _ in 0..2 {
        for caller in callers.iter().chain(&others) {
            assert_eq!(refused_by(&app, caller).await, None, "{}", caller.name);
        }
    }
    let deny = json!([
        {"htpasswd": "ann"},
        {"issuer": issuer.url, "subject": "alice"},
        {"issuer": issuer.url, "jti": "job-1"},
        {"certificateThumbprint": thumbprint(&dev)},
        {"spiffeID": "spiffe://prod.test/ns/old/"},
    ]);
    let decided = app.reload(|config| config["http"]["auth"]["deny"] = deny).await;
    assert_eq!(decided["config.generation"], 2);
    for (caller, rule) in callers.iter().zip([0, 1, 2, 3, 4, 4]) {
        assert_eq!(
            refused_by(&app, caller).await,
            Some(format!("deny[{rule}]")),
            "{}",
            caller.name
        );
    }
    for caller in &others {
        assert_eq!(refused_by(&app, caller).await, None, "{}", caller.name);
    }

    // Rules by the logged fields of the rejected certificate, by key, by time, and by the id of a minted
    // token.
    let line = app
        .log
        .wait("a certificate is refused", 0, |line| {
            line["credential.type"] == "x509" && line["http.status"] == 401
        })
        .await;
    let key = thumbprint_of_key(&ops);
    let deny = json!([
        {"authority": line["credential.issuer"], "serial": line["credential.serial"]},
        {"keyThumbprint": key},
        {"token": others[0].token},
        {"spiffeID": "spiffe://prod.test/", "issuedBefore": "2999-01-01T00:00:00Z"},
    ]);
    app.reload(|config| config["http"]["auth"]["deny"] = deny).await;
    for (name, rule) in [
        ("password", None),
        ("subject", None),
        ("jti", None),
        ("certificate", Some("deny[0]")),
        ("another certificate", Some("deny[1]")),
        ("X.509-SVID", Some("deny[3]")),
        ("JWT-SVID", Some("deny[3]")),
    ] {
        let caller = callers
            .iter()
            .chain(&others)
            .find(|caller| caller.name == name)
            .unwrap();
        assert_eq!(refused_by(&app, caller).await.as_deref(), rule, "{name}");
    }
    let [password, minted] = &others[0].clients;
    assert_eq!(password.get("/v2/").await.status, StatusCode::OK);
    assert_eq!(
        minted.get("/v2/").await.error(),
        (401, "UNAUTHORIZED".into()),
        "the token alone is revoked"
    );

    app.reload(|config| config["http"]["auth"]["deny"] = json!([]))
        .await;
    for caller in callers.iter().chain(&others) {
        assert_eq!(
            refused_by(&app, caller).await,
            None,
            "{}: a rule that is gone revokes nothing",
            caller.name
        );
    }
}

/// The digest of the certificate's public key in DER.
fn thumbprint_of_key(pair: &Pair) -> String {
    let key = rcgen::KeyPair::from_pem(&pair.key).unwrap();
    sha256(&rcgen::PublicKeyData::subject_public_key_info(&key))
        .trim_start_matches("sha256:")
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_id_of_a_sessions_first_token_revokes_the_session() {
    let pki = TestPki::new();
    let issuer = TestIssuer::start(&pki.servers).await;
    let mut app = Setup::tls(&pki)
        .issuer(&issuer, &pki)
        .allow("**", json!({"defaultPolicy": ["read"]}))
        .start()
        .await;
    let login = async |client: &Client| {
        let answer = client
            .get("/v2/token?service=wharfinger&scope=repository:a:pull&offline_token=true")
            .await;
        let id = answer.header("x-request-id").to_owned();
        let line = app
            .log
            .wait("a token is issued", 0, |line| line["request.id"] == id)
            .await;
        (answer.json(), line["token.issued"].as_str().unwrap().to_owned())
    };
    let text = |answer: &Value, name: &str| answer[name].as_str().unwrap().to_owned();
    let refresh = async |app: &TestApp, token: &str| {
        let form = format!("grant_type=refresh_token&refresh_token={token}&scope=repository:a:pull");
        app.anonymous()
            .send(reqwest::Method::POST, "/v2/token", form)
            .await
    };
    let (first, id) = login(&app.bearer(&issuer.token("alice"))).await;
    let (other, _) = login(&app.bearer(&issuer.token("alice"))).await;
    let refreshed = refresh(&app, &text(&first, "refresh_token")).await.json();
    let access = [text(&first, "token"), text(&refreshed, "token")].map(|token| app.bearer(&token));
    app.reload(|config| config["http"]["auth"]["deny"] = json!([{"token": id}]))
        .await;
    for client in &access {
        assert_eq!(client.get("/v2/").await.error(), (401, "UNAUTHORIZED".into()));
    }
    assert_eq!(
        refresh(&app, &text(&first, "refresh_token")).await.json()["error"],
        "invalid_grant"
    );
    assert_eq!(
        app.bearer(&text(&other, "token")).get("/v2/").await.status,
        StatusCode::OK,
        "another session of the same subject"
    );
    assert_eq!(
        refresh(&app, &text(&other, "refresh_token")).await.status,
        StatusCode::OK
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_names_the_rule_and_verify_the_malformed_ones() {
    let pki = TestPki::new();
    let mut setup = Setup::tls(&pki);
    setup.config["http"]["auth"]["deny"] =
        json!([{"htpasswd": "x"}, {"spiffeID": "spiffe://prod.test/ns/ci/"}]);
    setup.write("token", &pki.domain.jwt_svid("/ns/ci/sa/builder", AUDIENCE));
    setup.write("svid.pem", &pki.domain.x509_svid("/ns/ci/sa/builder").certificate);
    let file = setup.file();
    for credential in ["--token-file=token", "--cert=svid.pem"] {
        let (code, said, err) = output(
            &["explain", file.to_str().unwrap(), credential],
            setup.folder.path(),
        );
        assert_eq!(code, 1, "{said}{err}");
        let rule = "rejected     the operator revoked this credential: http.auth.deny[1] (spiffe://prod.test/ns/ci/)";
        assert!(said.contains(rule), "{said}");
    }
    setup.config["http"]["auth"]["deny"] =
        json!([{"spiffeID": "spiffe://prod.test"}, {"issuer": "https://a"}, {"token": "a", "htpasswd": "b"}]);
    let (code, said, err) = output(&["verify", setup.file().to_str().unwrap()], setup.folder.path());
    assert_eq!(code, 2, "{said}{err}");
    for place in [
        "http.auth.deny[0].spiffeID: ",
        "http.auth.deny[1].issuer: ",
        "http.auth.deny[2]: ",
    ] {
        assert!(
            err.contains(place) || said.contains(place),
            "{place} in {said}{err}"
        );
    }
}
