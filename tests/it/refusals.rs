//! Bad credentials are each rejected for their own reason. The log gives the reason and what is known of the
//! credential, but never the credential itself. Anonymous callers may read here, so a bad credential that
//! became anonymous would be let in.

mod unreachable;

use crate::harness::{
    AUDIENCE, Answer, Client, Pair, Setup, TestApp, TestIssuer, TestPki, TrustDomain, encode, now,
};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pki_types::pem::PemObject as _;
use pki_types::{CertificateDer, PrivateKeyDer};
use rcgen::{BasicConstraints, CustomExtension, IsCa, KeyUsagePurpose, SanType};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A path that anonymous callers may read.
const PATH: &str = "/v2/public/app/tags/list";
const BUILDER: &str = "/ns/ci/sa/builder";

struct Site {
    app: TestApp,
    pki: TestPki,
    /// A second configured trust domain, beside `pki.domain`.
    staging: TrustDomain,
    issuer: TestIssuer,
    /// An issuer whose usernames come from the claim `name`.
    mapping: TestIssuer,
}

impl Site {
    async fn start() -> Self {
        let pki = TestPki::new();
        let issuer = TestIssuer::start(&pki.servers).await;
        let mapping = TestIssuer::start(&pki.servers).await;
        let staging = TrustDomain::new("staging.test");
        let rules = json!({"anonymousPolicy": ["read"], "defaultPolicy": ["read", "create"]});
        let mut setup = Setup::tls(&pki).issuer(&issuer, &pki).allow("**", rules);
        setup.write("staging.json", &staging.bundle().to_string());
        let mut mapped = mapping.entry(&pki.servers);
        mapped["claimMapping"] = json!({"username": "claims.name"});
        let auth = &mut setup.config["http"]["auth"];
        auth["bearer"]["oidc"].as_array_mut().unwrap().push(mapped);
        let domain =
            json!({"name": "staging.test", "audiences": [AUDIENCE], "bundle": [{"file": "staging.json"}]});
        auth["spiffe"]["trustDomains"]
            .as_array_mut()
            .unwrap()
            .push(domain);
        let app = setup.start().await;
        app.bearer(&issuer.token("builder"))
            .push_blob("public/app", b"x")
            .await;
        assert_eq!(
            app.anonymous().get(PATH).await.status,
            StatusCode::OK,
            "anonymous callers may read"
        );
        Self {
            app,
            pki,
            staging,
            issuer,
            mapping,
        }
    }

    /// Sends a request with a bad credential. Returns the answer and the line of the log.
    async fn refused(&self, case: &str, client: &Client) -> (Answer, Value) {
        let answer = client.get(PATH).await;
        let line = self
            .app
            .log
            .wait(case, 0, |line| {
                line["request.id"] == answer.header("x-request-id")
            })
            .await;
        assert_eq!(answer.error(), (401, "UNAUTHORIZED".into()), "{case}: {line}");
        assert!(
            answer
                .header("www-authenticate")
                .contains(r#"error="invalid_token""#),
            "{case}: {line}"
        );
        assert_eq!(
            (&line["message"], &line["level"]),
            (&"credential refused".into(), &"WARN".into()),
            "{case}: {line}"
        );
        assert_eq!(line["http.status"], 401, "{case}: {line}");
        assert!(line["identity"].is_null(), "{case}: {line}");
        (answer, line)
    }

    async fn token(&self, case: &str, token: &str, expected: &Expected<'_>) {
        let basic = format!("Basic {}", STANDARD.encode(format!("any:{token}")));
        for client in [
            self.app.bearer(token),
            self.app.anonymous().header("authorization", &basic),
        ] {
            let (answer, line) = self.refused(case, &client).await;
            expected.check(case, &line);
            for part in token.split('.').filter(|part| part.len() > 8) {
                assert!(
                    !line.to_string().contains(part),
                    "{case}: the token is in the log: {line}"
                );
                assert!(
                    !answer.text().contains(part),
                    "{case}: the token is in the answer: {}",
                    answer.text()
                );
            }
        }
    }
}

/// The fields of a line of the log.
struct Expected<'a> {
    why: &'a str,
    kind: &'a str,
    issuer: Option<&'a str>,
    key_id: Option<&'a str>,
    subject: Option<&'a str>,
}

impl Expected<'_> {
    fn check(&self, case: &str, line: &Value) {
        let found = line["why"].as_str().unwrap_or_default();
        assert!(
            found.contains(self.why),
            "{case}: expected {:?} in {line}",
            self.why
        );
        for (field, expected) in [
            ("credential.type", Some(self.kind)),
            ("credential.issuer", self.issuer),
            ("credential.key_id", self.key_id),
            ("credential.subject", self.subject),
        ] {
            assert_eq!(line[field].as_str(), expected, "{case}: {field} in {line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_oidc_token_is_rejected_for_its_own_reason() {
    let site = Site::start().await;
    let signer = &site.issuer.signer;
    let issuer = &site.issuer;
    let good = issuer.claims(AUDIENCE, "builder");
    let with = |member: &str, value: Value| {
        let mut claims = good.clone();
        claims[member] = value;
        claims
    };
    let payload = with("exp", (now() + 300).into()).to_string();
    let none = format!(
        "{}.{}.",
        encode(json!({"alg": "none", "kid": "oidc-1"}).to_string()),
        encode(&payload)
    );
    let hs256 = format!(
        "{}.{}",
        encode(json!({"alg": "HS256", "kid": "oidc-1"}).to_string()),
        encode(&payload)
    );
    let public_key = hmac::Key::new(hmac::HMAC_SHA256, signer.public_key());
    let hs256 = format!("{hs256}.{}", encode(hmac::sign(&public_key, hs256.as_bytes())));
    let header = json!({"alg": "ES256", "kid": "oidc-1"});
    let twice = payload.replacen('{', r#"{"sub":"admin","#, 1);
    let forged = TestPki::new().domain.signer.token_of(&header, &payload);
    let unknown = json!({"iss": "https://unknown.test", "sub": "builder", "aud": AUDIENCE});
    let spiffe = json!({"iss": site.mapping.url, "sub": "builder", "aud": AUDIENCE, "name": site.pki.domain.id(BUILDER)});
    for (case, token, why) in [
        ("alg none", none, r#"the token's alg "none" is not accepted"#),
        (
            "HS256 over a public key",
            hs256,
            r#"the token's alg "HS256" is not accepted"#,
        ),
        (
            "a future nbf",
            signer.token(&with("nbf", (now() + 600).into())),
            "the token's `nbf` is",
        ),
        (
            "expired",
            signer.token(&with("exp", (now() - 600).into())),
            "the token expired at",
        ),
        (
            "another audience",
            issuer.token_for("elsewhere.test", "builder"),
            "the token is for another audience",
        ),
        (
            "a duplicate claim",
            signer.token_of(&header, &twice),
            r#"the member "sub" appears twice"#,
        ),
        ("another's signature", forged, "the signature does not verify"),
        (
            "an unknown issuer",
            signer.token(&unknown),
            "the token's issuer is not configured here",
        ),
        (
            "a username that is a SPIFFE ID",
            site.mapping.signer.token(&spiffe),
            "a username may begin with spiffe:// only if",
        ),
    ] {
        let url = match case {
            "an unknown issuer" => "https://unknown.test",
            "a username that is a SPIFFE ID" => &site.mapping.url,
            _ => &issuer.url,
        };
        let expected = Expected {
            why,
            kind: "oidc",
            issuer: Some(url),
            key_id: Some("oidc-1"),
            subject: Some("builder"),
        };
        site.token(case, &token, &expected).await;
    }
    // The same claims without a mistake are accepted.
    assert_eq!(
        site.app.bearer(&signer.token(&good)).get(PATH).await.status,
        StatusCode::OK
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_jwt_svid_is_rejected_for_its_own_reason() {
    let site = Site::start().await;
    let domain = &site.pki.domain;
    let id = domain.id(BUILDER);
    let claims = |sub: &str| json!({"sub": sub, "aud": [AUDIENCE]});
    let foreign = site.pki.foreign.id(BUILDER);
    for (case, token, why, subject) in [
        (
            "another domain's key",
            site.staging.signer.token(&claims(&id)),
            "the signature does not verify",
            &id,
        ),
        (
            "another audience",
            domain.jwt_svid(BUILDER, "elsewhere.test"),
            "the token is for another audience",
            &id,
        ),
        (
            "a foreign domain",
            site.pki.foreign.jwt_svid(BUILDER, AUDIENCE),
            "the SPIFFE ID's trust domain is not configured",
            &foreign,
        ),
        (
            "expired",
            domain
                .signer
                .token(&json!({"sub": id, "aud": [AUDIENCE], "exp": now() - 600})),
            "the token expired at",
            &id,
        ),
    ] {
        let expected = Expected {
            why,
            kind: "jwt-svid",
            issuer: None,
            key_id: Some("jwt-1"),
            subject: Some(subject),
        };
        site.token(case, &token, &expected).await;
    }
    assert_eq!(
        site.app
            .bearer(&domain.jwt_svid(BUILDER, AUDIENCE))
            .get(PATH)
            .await
            .status,
        StatusCode::OK
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_x509_svid_is_rejected_for_its_own_reason() {
    let site = Site::start().await;
    let domain = &site.pki.domain;
    let id = domain.id(BUILDER);
    let uri = |text: String| SanType::URI(text.as_str().try_into().unwrap());
    let second = uri(domain.id("/ns/ci/sa/other"));
    let pairs = [
        (
            "another domain's root",
            site.staging.ca.svid(&id),
            "to an authority from",
            "CN=staging.test",
        ),
        (
            "two URI names",
            domain
                .ca
                .svid_with(&id, |params| params.subject_alt_names.push(second)),
            "expected exactly one URI name in the X.509-SVID, found 2",
            "CN=prod.test",
        ),
        (
            "an authority",
            domain.ca.svid_with(&id, |params| {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.key_usages.push(KeyUsagePurpose::KeyCertSign);
            }),
            "expected a workload's certificate with cA false",
            "CN=prod.test",
        ),
        (
            "a foreign domain",
            site.pki.foreign.x509_svid(BUILDER),
            "the SPIFFE ID's trust domain is not configured here",
            "CN=foreign.test",
        ),
    ];
    for (case, pair, why, issuer) in pairs {
        let (_, line) = site.refused(case, &site.app.certificate(&pair)).await;
        let subject = line["credential.subject"].as_str().map(str::to_owned);
        assert!(
            subject
                .as_ref()
                .is_some_and(|subject| subject.contains("spiffe://")),
            "{case}: {line}"
        );
        assert!(
            !line["credential.serial"].as_str().unwrap_or_default().is_empty(),
            "{case}: {line}"
        );
        let subject = subject.as_deref();
        Expected {
            why,
            kind: "x509-svid",
            issuer: Some(issuer),
            key_id: None,
            subject,
        }
        .check(case, &line);
    }
    assert_eq!(
        site.app
            .certificate(&domain.x509_svid(BUILDER))
            .get(PATH)
            .await
            .status,
        StatusCode::OK
    );
    // The certificate is not used if a header has a credential, and does not help if that credential is bad.
    let certified = || site.app.certificate(&domain.x509_svid(BUILDER));
    let header = |token: &str| certified().header("authorization", &format!("Bearer {token}"));
    site.refused(
        "a bad token beside a good certificate",
        &header(&domain.jwt_svid(BUILDER, "elsewhere.test")),
    )
    .await;
    let bad = site.app.certificate(&site.staging.ca.svid(&id));
    let saved = bad.header(
        "authorization",
        &format!("Bearer {}", domain.jwt_svid(BUILDER, AUDIENCE)),
    );
    assert_eq!(
        saved.get(PATH).await.status,
        StatusCode::OK,
        "a good token beside a bad certificate"
    );
}

/// A connection on which a client presents a certificate that its own TLS library would reject.
struct Presenting(TlsStream<TcpStream>);

impl Presenting {
    async fn connect(app: &TestApp, pair: &Pair) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
        let key = provider.key_provider.load_private_key(key).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()];
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(app.authority().unwrap().as_bytes()).unwrap())
            .unwrap();
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        let certified = rustls::sign::CertifiedKey::new(chain, key);
        config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(certified));
        let stream = TcpStream::connect(app.address).await.unwrap();
        Self(
            TlsConnector::from(Arc::new(config))
                .connect("localhost".try_into().unwrap(), stream)
                .await
                .unwrap(),
        )
    }

    /// The answer, up to the end of a JSON object.
    async fn get(&mut self, headers: &str) -> String {
        let request = format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        self.0.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            assert_ne!(
                self.0.read_buf(&mut answer).await.unwrap(),
                0,
                "{}",
                String::from_utf8_lossy(&answer)
            );
        }
        String::from_utf8(answer).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_token_works_beside_a_certificate_that_tls_libraries_refuse() {
    let site = Site::start().await;
    let domain = &site.pki.domain;
    let id = domain.id(BUILDER);
    let critical = domain.ca.svid_with(&id, |params| {
        let mut policies =
            CustomExtension::from_oid_content(&[2, 5, 29, 32], vec![0x30, 5, 0x30, 3, 0x06, 1, 0x2a]);
        policies.set_criticality(true);
        params.custom_extensions.push(policies);
    });
    let mut connection = Presenting::connect(&site.app, &critical).await;
    let refused = connection.get("").await;
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    assert!(
        refused.contains("the certificate has the critical extension certificatePolicies (2.5.29.32)"),
        "{refused}"
    );
    let token = domain.jwt_svid(BUILDER, AUDIENCE);
    let accepted = connection
        .get(&format!("Authorization: Bearer {token}\r\n"))
        .await;
    assert!(accepted.starts_with("HTTP/1.1 200 "), "{accepted}");
    let why = "the certificate has the critical extension certificatePolicies (2.5.29.32)";
    let line = site
        .app
        .log
        .wait("it was refused", 0, |line| {
            line["why"].as_str().is_some_and(|found| found.contains(why))
        })
        .await;
    assert_eq!(
        (&line["credential.type"], &line["credential.subject"]),
        (&"x509-svid".into(), &id.into()),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_certificate_is_required_the_log_names_the_refused_one_and_the_reason() {
    let pki = TestPki::new();
    let staging = TrustDomain::new("staging.test");
    let mut setup = Setup::tls(&pki).allow("**", json!({"defaultPolicy": ["read"]}));
    setup.config["http"]["tls"]["clientAuth"] = "required".into();
    let app = setup.start().await;
    assert_eq!(
        app.certificate(&pki.domain.x509_svid(BUILDER))
            .get("/v2/")
            .await
            .status,
        StatusCode::OK
    );
    let id = pki.domain.id(BUILDER);
    let forged = staging
        .ca
        .svid_with(&id, |params| params.serial_number = Some(0x00c0_ffee_u64.into()));
    assert!(app.certificate(&forged).get_or_none("/v2/").await.is_none());
    let message = "client certificate refused in the TLS handshake";
    let line = app
        .log
        .wait("it was refused", 0, |line| line["message"] == message)
        .await;
    let expected = Expected {
        why: "to an authority from",
        kind: "x509-svid",
        issuer: Some("CN=staging.test"),
        key_id: None,
        subject: Some(&id),
    };
    expected.check("required", &line);
    assert_eq!(
        (&line["credential.serial"], &line["level"]),
        (&"c0ffee".into(), &"WARN".into()),
        "{line}"
    );
    assert!(
        line["client.address"]
            .as_str()
            .is_some_and(|address| address.starts_with("127.0.0.1:")),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_credentials_are_rejected_too() {
    let site = Site::start().await;
    let good = format!("Bearer {}", site.issuer.token("builder"));
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
    for (case, headers, why) in [
        (
            "two headers",
            vec![good.clone(), good],
            "expected one Authorization header, found several",
        ),
        (
            "another scheme",
            vec!["Digest username=x".into()],
            "expected the Authorization scheme Bearer, or Basic",
        ),
        (
            "a password",
            vec![basic("admin:hunter2")],
            "the password is not a token",
        ),
        (
            "no base64",
            vec!["Basic ???".into()],
            "expected base64 of user:password",
        ),
        (
            "no token",
            vec!["Bearer hunter2".into()],
            "expected a JWS in compact serialization",
        ),
    ] {
        let client = headers.iter().fold(site.app.anonymous(), |client, header| {
            client.header("authorization", header)
        });
        let (answer, line) = site.refused(case, &client).await;
        assert!(line["why"].as_str().unwrap().contains(why), "{case}: {line}");
        for text in [line.to_string(), answer.text()] {
            assert!(
                !text.contains("hunter2") && !text.contains("eyJ"),
                "{case}: {text}"
            );
        }
    }
    // Some clients send an empty username and password if they have none.
    let anonymous = site.app.anonymous().header("authorization", "Basic Og==");
    assert_eq!(anonymous.get(PATH).await.status, StatusCode::OK);
}
