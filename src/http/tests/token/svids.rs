//! SVIDs of both kinds at the token endpoint, and their tokens.

use super::*;
use crate::identity::{Attribute, Attributes, CertificateEntry, Peer};
use crate::trust::bundle;
use crate::trust::jwt::SvidRules;
use wharfinger_testkit::Ca;

/// A trust domain, and one of its workloads with an X.509-SVID.
struct Workload {
    signer: Signer,
    bundle: bundle::Bundle,
    peer: Arc<Peer>,
}

const ID: &str = "spiffe://prod.example/builder";

impl Workload {
    fn new() -> Self {
        let root = Ca::root("prod.example");
        let leaf = root.svid_der_with(ID, |params| params.not_after = rcgen::date_time_ymd(2030, 1, 1));
        let signer = Signer::new(Algorithm::ES256, "svid");
        let x509 = bundle::parse_pem(root.pem.as_bytes()).unwrap().value;
        let jwt = jwks::parse(
            &key_set(&[signer.jwk_with("use", "jwt-svid")]),
            UseRule::SpiffeBundle,
        )
        .unwrap()
        .value;
        Self {
            signer,
            bundle: bundle::Bundle {
                x509,
                jwt,
                ..bundle::Bundle::default()
            },
            peer: Arc::new(Peer::new(vec![leaf])),
        }
    }

    fn domain(&self) -> Domain {
        let x509 = Slot::new("bundle");
        let jwt = Slot::new("bundle");
        x509.publish(
            self.bundle.x509.clone(),
            Timestamp::from_secs(NOW),
            Timestamp::MAX,
        );
        jwt.publish(self.bundle.jwt.clone(), Timestamp::from_secs(NOW), Timestamp::MAX);
        let rules = SvidRules {
            hosts: Vec::new(),
            trust_domain: "prod.example".parse().unwrap(),
            audiences: vec!["registry".into()],
            clock_skew: Duration::from_secs(30),
            single_audience: false,
        };
        let x509 = Arc::new(Authorities::new(vec![x509]));
        let jwt = Arc::new(Authorities::new(vec![jwt]));
        Domain {
            rules,
            jwt: Some(jwt),
            x509: Some(x509),
            mapping: Mapping::default(),
        }
    }

    fn jwt_svid(&self, audiences: &[&str]) -> String {
        self.signer
            .token(&json!({"sub": ID, "aud": audiences, "exp": NOW + 300}))
    }

    async fn send(&self, site: &Site, request: Builder, body: String) -> Answer {
        let tls = Connection {
            peer: Some(self.peer.clone()),
            remote: ([127, 0, 0, 1], 1).into(),
            tls: true,
            more: More::default(),
            active: ActiveRequest::default(),
        };
        Answer::read(
            site.endpoint
                .clone()
                .call(request.extension(tls).body(Body::from(body)).unwrap())
                .await
                .unwrap(),
        )
        .await
    }
}

#[tokio::test]
async fn svids_are_exchanged_and_their_tokens_die_with_the_bundle() {
    let site = Site::new();
    let workload = Workload::new();
    let other = Workload::new();
    let builder = Grant {
        users: vec![ID.into()],
        actions: ALL.to_vec(),
        ..Grant::default()
    };
    let team = PatternRules {
        policies: vec![builder],
        ..PatternRules::default()
    };
    let policy = Policy::compile(Rules {
        repositories: vec![("team/**".into(), team)],
        ..Rules::default()
    })
    .unwrap();
    site.change(|live| live.policy = Arc::new(policy));
    site.authenticate_with(vec![], vec![workload.domain()], &site.terms(3600));
    let svid = workload.jwt_svid(&["registry"]);
    let assertion = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
    let by_certificate = workload
        .send(
            &site,
            ask(Method::GET, &format!("/v2/token?scope={PULL}")),
            String::new(),
        )
        .await;
    let form = |client_id: &str| format!("grant_type=client_credentials&client_id={client_id}&scope={PULL}");
    let by_client_credentials = workload
        .send(&site, ask(Method::POST, "/v2/token"), form(ID))
        .await;
    let answers = [
        site.token_for(&format!("scope={PULL}"), &format!("Bearer {svid}"))
            .await,
        site.post(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", &svid),
            ("scope", PULL),
        ])
        .await,
        site.post(&[
            ("grant_type", "client_credentials"),
            ("client_assertion_type", assertion),
            ("client_assertion", &svid),
            ("scope", PULL),
        ])
        .await,
        by_certificate,
        by_client_credentials,
    ];
    let tokens: Vec<_> = answers.iter().map(access).collect();
    site.hand.advance(Duration::from_secs(3000));
    for token in &tokens {
        assert_eq!(
            site.with_token(Method::GET, TAGS, token).await.error().0,
            404,
            "{}",
            claims(token)
        );
    }
    // The principal is the SPIFFE ID for either kind of SVID.
    let push = site.with_token(Method::POST, UPLOADS, &tokens[0]).await;
    assert_eq!(push.error().0, 401, "pull only");
    site.authenticate_with(vec![], vec![other.domain()], &site.terms(3600));
    for token in &tokens {
        assert_eq!(
            site.with_token(Method::GET, TAGS, token).await.error().0,
            401,
            "another authority, other keys"
        );
    }
    site.authenticate_with(
        vec![],
        vec![Domain {
            x509: None,
            jwt: None,
            ..workload.domain()
        }],
        &site.terms(3600),
    );
    for token in &tokens {
        assert_eq!(
            site.with_token(Method::GET, TAGS, token).await.error().0,
            401,
            "a kind that is not accepted any more"
        );
    }
    site.authenticate_with(vec![], vec![], &site.terms(3600));
    for token in &tokens {
        assert_eq!(
            site.with_token(Method::GET, TAGS, token).await.error().0,
            401,
            "a trust domain that is not configured any more"
        );
    }
}

#[tokio::test]
async fn a_certificate_that_may_name_uris_is_rejected_once_its_trust_domain_is_configured() {
    let site = Site::new();
    let workload = Workload::new();
    let attributes = |order| {
        Mapping::by_attributes(
            Attributes {
                order,
                ..Attributes::common_name()
            },
            false,
        )
    };
    let configure = |domains: Vec<Domain>, mapping: Mapping| {
        let authorities = workload.domain().x509.unwrap();
        let entry = CertificateEntry {
            name: "lab".into(),
            authorities,
            mapping,
        };
        let authenticator = Authenticator::new(vec![], domains, vec![entry]);
        let authenticator = authenticator
            .with_minted(site.app.tokens.verification(&site.terms(3600)))
            .with_token_cache();
        site.change(|live| live.authenticator = Arc::new(authenticator));
    };
    configure(vec![], attributes(vec![Attribute::Uri]));
    let minted = access(
        &workload
            .send(&site, ask(Method::GET, "/v2/token"), String::new())
            .await,
    );
    let works = async || {
        site.with_token(Method::GET, "/v2/", &minted)
            .await
            .status
            .as_u16()
    };
    assert_eq!(works().await, 200);
    configure(vec![], attributes(vec![Attribute::CommonName]));
    assert_eq!(works().await, 401, "its entry no longer maps URIs");
    configure(vec![workload.domain()], attributes(vec![Attribute::Uri]));
    assert_eq!(
        works().await,
        401,
        "a SPIFFE ID of a configured trust domain is verified by its rules"
    );
    configure(vec![], attributes(vec![Attribute::Uri]));
    assert_eq!(works().await, 200);
}

#[tokio::test]
async fn a_client_assertion_must_name_its_own_workload() {
    let site = Site::new();
    let workload = Workload::new();
    site.authenticate_with(vec![], vec![workload.domain()], &site.terms(3600));
    let bad_client = (401, "UNAUTHORIZED".to_owned(), "invalid_client".to_owned());
    let form = "grant_type=client_credentials&client_id=spiffe://prod.example/other".to_owned();
    assert_eq!(
        outcome(&workload.send(&site, ask(Method::POST, "/v2/token"), form).await),
        bad_client
    );
    let assertion = (
        "client_assertion_type",
        "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe",
    );
    let one = workload.jwt_svid(&["registry"]);
    let two = workload.jwt_svid(&["registry", "elsewhere"]);
    let grant = ("grant_type", "client_credentials");
    for form in [
        &[grant, assertion, ("client_assertion", &*two)][..],
        &[
            grant,
            assertion,
            ("client_assertion", &one),
            ("client_id", "spiffe://prod.example/other"),
        ],
        &[
            grant,
            assertion,
            ("client_assertion", &workload.jwt_svid(&["elsewhere"])),
        ],
    ] {
        assert_eq!(outcome(&site.post(form).await), bad_client, "{form:?}");
    }
    access(
        &site
            .post(&[grant, assertion, ("client_assertion", &one), ("client_id", ID)])
            .await,
    );
    // A client assertion that cannot be checked now is not rejected.
    let silent = || Some(Arc::new(Authorities::new(vec![Slot::new("silent")])));
    site.authenticate_with(
        vec![],
        vec![Domain {
            jwt: silent(),
            ..workload.domain()
        }],
        &site.terms(3600),
    );
    let answer = site
        .post(&[grant, assertion, ("client_assertion", &one), ("client_id", ID)])
        .await;
    assert_eq!(
        (answer.status, answer.json()["error"].as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, Some("temporarily_unavailable"))
    );
    site.authenticate_with(vec![], vec![workload.domain()], &site.terms(3600));
    // This is a browser's request for another site.
    let foreign = ask(Method::POST, "/v2/token").header("origin", "https://evil.example");
    let answer = workload
        .send(&site, foreign, "grant_type=client_credentials".into())
        .await;
    assert_eq!(outcome(&answer), bad_client);
    // The credential in the form is used, and neither the header nor the certificate beside it.
    let dex = ask(Method::POST, "/v2/token").header("authorization", basic("client", "secret"));
    let form = format!("grant_type={EXCHANGE}&subject_token={one}&subject_token_type={JWT}");
    access(&workload.send(&site, dex, form).await);
    let form = "grant_type=password&username=u&password=wrong".to_owned();
    assert_eq!(
        outcome(&workload.send(&site, ask(Method::POST, "/v2/token"), form).await).2,
        "invalid_grant",
        "no other credential is tried"
    );
}
