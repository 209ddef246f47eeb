//! zot's other methods beside ours: usernames and passwords, tokens of an external token server, and client
//! certificates that are not SVIDs.

use crate::harness::{AUDIENCE, Client, Setup, Signer, TestApp, TestIssuer, TestPki, now};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const UPLOADS: &str = "/v2/app/blobs/uploads/";
const TAGS: &str = "/v2/app/tags/list";

fn basic(app: &TestApp, user: &str, password: &str) -> Client {
    app.anonymous().header(
        "authorization",
        &format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))),
    )
}

fn line(user: &str, password: &str) -> String {
    format!("{user}:{}\n", bcrypt::hash(password, 4).unwrap())
}

async fn whoami(client: &Client) -> (String, String) {
    let identity = client.get("/v2/_wharfinger/whoami").await.json();
    let text = |name: &str| identity[name].as_str().unwrap_or_default().to_owned();
    (text("username"), text("credential"))
}

#[tokio::test(flavor = "multi_thread")]
async fn usernames_and_passwords_work_until_the_file_changes() {
    let pki = TestPki::new();
    let issuer = TestIssuer::start(&pki.servers).await;
    let rules = json!({"policies": [{"users": ["ann"], "groups": ["staff"], "actions": ["read", "create"]}]});
    let mut setup = Setup::tls(&pki).issuer(&issuer, &pki).allow("**", rules);
    setup.config["accessControl"]["groups"] = json!({"staff": {"users": ["bob"]}});
    setup.config["http"]["auth"]["htpasswd"] = json!({"path": "users"});
    setup.write("users", &format!("{}{}", line("ann", "one"), line("bob", "two")));
    let app = setup.start().await;
    assert_eq!(
        whoami(&basic(&app, "ann", "one")).await,
        ("ann".into(), "htpasswd".into())
    );
    for client in [basic(&app, "ann", "one"), basic(&app, "bob", "two")] {
        assert_eq!(client.post(UPLOADS).await.status, StatusCode::ACCEPTED);
    }
    for (user, password) in [("ann", "two"), ("eve", "one"), ("ann", "")] {
        let answer = basic(&app, user, password).get("/v2/").await;
        assert_eq!(answer.error(), (401, "UNAUTHORIZED".into()), "{user} {password}");
        assert!(
            answer.text().contains("the name or the password is wrong"),
            "the answer must not say which of the two is wrong: {}",
            answer.text()
        );
    }
    let token = issuer.token("builder");
    assert_eq!(
        whoami(&basic(&app, "ann", &token)).await.1,
        "oidc",
        "a token as the password, whatever the name"
    );
    // An upload belongs to the caller who began it, with password or token.
    let location = basic(&app, "ann", "one").start_upload("app").await;
    let answer = basic(&app, "ann", "one")
        .get("/v2/token?scope=repository:app:pull,push&offline_token=true")
        .await
        .json();
    let token = answer["token"].as_str().unwrap().to_owned();
    assert_eq!(
        answer.get("refresh_token"),
        None,
        "docker would keep it instead of the password, which lives longer"
    );
    assert_eq!(
        app.bearer(&token).get(&location).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(basic(&app, "bob", "two").get(&location).await.error().0, 404);
    let form = "grant_type=password&username=bob&password=two&scope=repository:app:pull";
    assert_eq!(
        app.anonymous().send(Method::POST, "/v2/token", form).await.json()["scope"],
        "repository:app:pull"
    );
    let form = "grant_type=password&username=bob&password=three";
    assert_eq!(
        app.anonymous().send(Method::POST, "/v2/token", form).await.json()["error"],
        "invalid_grant"
    );

    let mark = app.mark().await;
    app.setup.write("users", &line("ann", "another"));
    app.log
        .wait("the file is read again", mark, |line| {
            line["message"] == "password file reloaded"
        })
        .await;
    for client in [
        basic(&app, "ann", "one"),
        basic(&app, "bob", "two"),
        app.bearer(&token),
    ] {
        assert_eq!(
            client.get("/v2/").await.error().0,
            401,
            "an entry that left the file is rejected, and so are its tokens"
        );
    }
    assert_eq!(
        basic(&app, "ann", "another").get("/v2/").await.status,
        StatusCode::OK
    );
    let log = app.log.since(0).iter().map(Value::to_string).collect::<String>();
    assert!(
        !log.contains("$2b$") && !log.contains(&token),
        "no hash and no token in the log"
    );
}

/// Uses real sockets. Tests beside the queue prove its bounds and its order.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_of_one_address_are_answered_late_and_delay_no_other_address() {
    let pki = TestPki::new();
    let mut setup = Setup::tls(&pki).allow("**", json!({"defaultPolicy": ["read"]}));
    setup.config["http"]["auth"]["htpasswd"] = json!({"path": "users"});
    setup.config["http"]["auth"]["failDelay"] = 60.into();
    setup.config["http"]["trustedProxies"] = json!(["127.0.0.1"]);
    setup.write("users", &line("ann", "one"));
    let app = setup.start().await;
    let from = |client: &str, password: &str| basic(&app, "ann", password).header("x-forwarded-for", client);
    let guesses: Vec<_> = (0..9)
        .map(|n| from("192.0.2.66", &format!("guess {n}")))
        .collect();
    let mut guesses: FuturesUnordered<_> = guesses.iter().map(|guess| guess.get("/v2/")).collect();
    let first = guesses.next().await.unwrap();
    assert_eq!(
        first.error(),
        (429, "TOOMANYREQUESTS".into()),
        "the only one that is not answered late"
    );
    assert_eq!(first.header("retry-after"), "60");
    let id = first.header("x-request-id");
    let line = app
        .log
        .wait("it is turned away", 0, |line| line["request.id"] == id)
        .await;
    assert_eq!(
        (&line["level"], &line["client.address"]),
        (&json!("WARN"), &json!("192.0.2.66"))
    );
    assert_eq!(from("192.0.2.1", "one").get("/v2/").await.status, StatusCode::OK);
    assert_eq!(
        from("192.0.2.66", "one").get("/v2/").await.status,
        StatusCode::OK,
        "a password that is known"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn access_control_limits_the_scopes_of_a_token_server() {
    let pki = TestPki::new();
    let issuer = TestIssuer::start(&pki.servers).await;
    let server = Signer::new("auth-1");
    let rules =
        json!({"policies": [{"users": ["ann"], "actions": ["read", "create"]}], "anonymousPolicy": ["read"]});
    let mut setup = Setup::tls(&pki).issuer(&issuer, &pki).allow("app", rules);
    let bearer = &mut setup.config["http"]["auth"]["bearer"];
    bearer["realm"] = "https://auth.test/token".into();
    bearer["service"] = "myauth".into();
    bearer["issuer"] = "auth.test".into();
    bearer["cert"] = "auth.json".into();
    setup.write("auth.json", &json!({"keys": [server.jwk()]}).to_string());
    let app = setup.start().await;
    let claims = |subject: &str, scope: &[(&str, &[&str])]| {
        let access: Vec<_> = scope
            .iter()
            .map(|(name, actions)| json!({"type": "repository", "name": name, "actions": actions}))
            .collect();
        json!({"iss": "auth.test", "sub": subject, "aud": "myauth", "access": access})
    };
    let token = |subject: &str, scope: &[(&str, &[&str])]| app.bearer(&server.token(&claims(subject, scope)));
    let answer = app.anonymous().get("/v2/").await;
    assert_eq!(
        answer.header("www-authenticate"),
        r#"Bearer realm="https://auth.test/token",service="myauth""#
    );

    let all: &[&str] = &["pull", "push", "delete"];
    let ann = token("ann", &[("app", all), ("other", all)]);
    assert_eq!(whoami(&ann).await, ("ann".into(), "token-server".into()));
    assert_eq!(ann.post(UPLOADS).await.status, StatusCode::ACCEPTED);
    assert_eq!(
        ann.post("/v2/other/blobs/uploads/").await.error(),
        (403, "DENIED".into()),
        "the token allows it, but policy does not"
    );
    let puller = token("ann", &[("app", &["pull"])]);
    let answer = puller.post(UPLOADS).await;
    let expected = r#"Bearer realm="https://auth.test/token",service="myauth",scope="repository:app:pull,push",error="insufficient_scope""#;
    assert_eq!(
        (answer.error().0, answer.header("www-authenticate")),
        (401, expected)
    );
    let anonymous = token("", &[("app", all)]);
    assert_eq!(
        anonymous.get(TAGS).await.status,
        StatusCode::OK,
        "a token without a subject has the rights of anonymousPolicy"
    );
    assert_eq!(anonymous.post(UPLOADS).await.error().0, 401);

    let with = |name: &str, value: Value| {
        let mut claims = claims("ann", &[("app", all)]);
        claims[name] = value;
        server.token(&claims)
    };
    for (case, token) in [
        ("another service", with("aud", "other".into())),
        ("another issuer", with("iss", "evil.test".into())),
        ("expired", with("exp", (now() - 60).into())),
        ("without an end", with("exp", Value::Null)),
        ("not yet", with("nbf", (now() + 600).into())),
        (
            "a SPIFFE ID as the subject",
            with("sub", "spiffe://elsewhere.test/admin".into()),
        ),
        (
            "a name that an issuer's subject has",
            with("sub", format!("{}/builder", issuer.url).into()),
        ),
        (
            "another key",
            Signer::new("auth-1").token(&claims("ann", &[("app", all)])),
        ),
    ] {
        assert_eq!(
            app.bearer(&token).get("/v2/").await.error(),
            (401, "UNAUTHORIZED".into()),
            "{case}"
        );
    }
    let mut aged = claims("ann", &[]);
    aged["access"] = json!([{"type": "repository", "name": "app", "actions": all, "exp": now() - 60}]);
    assert_eq!(
        app.bearer(&server.token(&aged)).get(TAGS).await.error().0,
        401,
        "an entry that has expired"
    );
    let exchanged = ann.get("/v2/token?scope=repository:app:pull").await;
    assert_eq!(
        (exchanged.status, &exchanged.json()["error"]),
        (StatusCode::BAD_REQUEST, &json!("invalid_grant"))
    );
    assert_eq!(
        app.bearer(&issuer.token("builder")).get("/v2/").await.status,
        StatusCode::OK,
        "ID tokens beside it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn client_certificates_give_usernames_by_entry_and_by_zots_attributes() {
    let pki = TestPki::new();
    let rules = json!({"policies": [{"users": ["ann", "app"], "actions": ["read", "create"]}, {"users": ["spiffe://foreign.test/"], "actions": ["delete"]}]});
    let mut setup = Setup::tls(&pki).allow("**", rules);
    let lab = crate::harness::Ca::new("lab");
    setup.write("lab.pem", &lab.pem);
    setup.write("foreign.pem", &pki.foreign.ca.pem);
    setup.config["http"]["auth"]["x509"] = json!([{"name": "lab", "certificateAuthorityFile": "lab.pem",
        "claimMapping": {"validations": [{"expression": "claims.x509.subject.cn != 'eve'", "message": "not eve"}]}}]);
    setup.config["http"]["tls"]["cacert"] = "foreign.pem".into();
    setup.config["http"]["auth"]["mtls"] =
        json!({"identityAttributes": ["URI"], "uriSanPattern": "spiffe://foreign.test/workload/(.*)"});
    let app = setup.start().await;
    let ann = lab.client("ann");
    assert_eq!(
        whoami(&app.certificate(&ann)).await,
        ("ann".into(), "x509".into())
    );
    assert_eq!(
        app.certificate(&ann).post(UPLOADS).await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(
        app.certificate(&lab.client("eve")).get("/v2/").await.error().0,
        401,
        "a validation"
    );
    assert_eq!(
        app.certificate(&pki.servers.client("ann"))
            .get("/v2/")
            .await
            .error()
            .0,
        401,
        "an authority that no entry trusts"
    );
    // The certificate gets a token, and an upload continues with it.
    let location = app.certificate(&ann).start_upload("app").await;
    let token = app
        .certificate(&ann)
        .get("/v2/token?scope=repository:app:pull,push")
        .await
        .json()["token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(whoami(&app.bearer(&token)).await, ("ann".into(), "x509".into()));
    assert_eq!(
        app.bearer(&token).get(&location).await.status,
        StatusCode::NO_CONTENT
    );
    // As in zot, the URI becomes the username, but is not a verified SPIFFE ID.
    let workload = app.certificate(&pki.foreign.x509_svid("/workload/app"));
    assert_eq!(whoami(&workload).await, ("app".into(), "x509".into()));
    assert_eq!(workload.post(UPLOADS).await.status, StatusCode::ACCEPTED);
    assert_eq!(
        workload
            .send(Method::DELETE, "/v2/app/manifests/v1", "")
            .await
            .error(),
        (403, "DENIED".into()),
        "spiffe:// users are verified ones"
    );
    assert_eq!(
        app.certificate(&pki.foreign.x509_svid("/other"))
            .get("/v2/")
            .await
            .error()
            .0,
        401,
        "the pattern does not match"
    );
    let svid = app.certificate(&pki.domain.x509_svid("/builder"));
    assert_eq!(
        whoami(&svid).await,
        (pki.domain.id("/builder"), "x509-svid".into()),
        "a configured trust domain's are SVIDs"
    );
    // A certificate that also names a configured trust domain, even badly, is an invalid SVID and does not
    // match `app`.
    for name in [
        pki.domain.id("/builder"),
        pki.domain.id("/builder").to_uppercase(),
        pki.domain.id(""),
    ] {
        let two = pki
            .foreign
            .ca
            .svid_with(&pki.foreign.id("/workload/app"), |params| {
                params
                    .subject_alt_names
                    .push(rcgen::SanType::URI(name.as_str().try_into().unwrap()));
                params.key_usages.clear();
            });
        assert_eq!(app.certificate(&two).get("/v2/").await.error().0, 401, "{name}");
    }
    let header = app.certificate(&ann).header("authorization", "Bearer a.b.c");
    assert_eq!(
        header.get("/v2/").await.error().0,
        401,
        "an explicit credential is used, and a bad one is rejected"
    );
}

/// Each of these works in zot.
#[tokio::test(flavor = "multi_thread")]
async fn expressions_as_users_of_zot_write_them_name_the_caller() {
    let pki = TestPki::new();
    let issuer = TestIssuer::start(&pki.servers).await;
    let rules = json!({"policies": [{"groups": ["team-a"], "actions": ["read", "create"]}]});
    let mut setup = Setup::tls(&pki).issuer(&issuer, &pki).allow("app", rules);
    let variable = |name: &str, expression: &str| json!({"name": name, "expression": expression});
    setup.config["http"]["auth"]["bearer"]["oidc"][0]["claimMapping"] = json!({
        "variables": [
            variable("first", "claims.groups.first()"),
            variable("absent", "claims.?nickname"),
            variable("raw", "base64.decode(claims.encoded)"),
            variable("life", "timestamp(int(claims.exp)) - timestamp(int(claims.iat))"),
            variable("kind", "type(claims.sub)"),
        ],
        "validations": [
            {"expression": "vars.life + duration('5m') <= duration('15m')", "message": "too long"},
            {"expression": "vars.absent == null && vars.kind == 'string' && !has(claims.sub.name)", "message": "no"},
        ],
        "username": "claims.`example.org/name` + '-' + string(vars.raw)",
        "groups": "[vars.first] + claims.?groups.orValue([])",
    });
    let app = setup.start().await;
    let mut claims = issuer.claims(AUDIENCE, "ann");
    claims["groups"] = json!(["team-a", "team-b"]);
    claims["example.org/name"] = "ann".into();
    claims["encoded"] = STANDARD.encode("x").into();
    let ann = app.bearer(&issuer.signer.token(&claims));
    assert_eq!(whoami(&ann).await, ("ann-x".into(), "oidc".into()));
    assert_eq!(ann.post(UPLOADS).await.status, StatusCode::ACCEPTED);
    claims["encoded"] = "!".into();
    let refused = app.bearer(&issuer.signer.token(&claims));
    assert_eq!(refused.get("/v2/").await.error(), (401, "UNAUTHORIZED".into()));
}
