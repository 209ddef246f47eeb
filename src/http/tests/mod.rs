//! Requests end to end: the real router, authenticator, policy and core over the store in memory.

mod actions;
mod bad_input;
mod callers;
mod conformance;
mod deleting;
mod descriptors;
mod errors;
mod healing;
mod immutable;
mod memory;
mod passwords;
mod pull;
mod push;
mod quotas;
mod reads;
mod records;
mod redirects;
mod referrers;
mod strangers;
mod suspect;
mod token;
mod whoami;
mod zot;

use super::{
    ActiveRequest, App, Connection, Cors, Endpoint, Live, More, Readiness, Strangers, TrustedProxies,
};
use crate::access::{Action, Grant, PatternRules, Policy, Repositories, Rules};
use crate::budget::{self, Budget};
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::exchange::{SigningKeys, Terms, Tokens};
use crate::identity::{Authenticator, Issuer, Mapping, MappingSettings};
use crate::oci::{Algorithm as DigestAlgorithm, Digest};
use crate::registry::{Registry, Settings};
use crate::storage::local::Local;
use crate::storage::memory::Memory;
use crate::storage::{BlobStore, RecordStore, Resume};
use crate::telemetry::Scrape;
use crate::trust::jwks::{self, UseRule};
use crate::trust::jwt::testing::{Signer, key_set};
use crate::trust::jwt::{Algorithm, OidcRules};
use crate::trust::{Authorities, Slot};
use arc_swap::ArcSwap;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::request::Builder;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tower_service::Service;

const NOW: i64 = 1_795_000_000;
const ISSUER: &str = "https://issuer.example";
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const ALL: [Action; 4] = [Action::Read, Action::Create, Action::Update, Action::Delete];

/// A registry with one OIDC issuer. Every caller has all rights to `open/**` and may read `public/**`. The
/// subject `builder` has all rights to `team/**`. No caller has any rights to `secret/**`.
struct Site {
    app: App,
    endpoint: Endpoint,
    signer: Signer,
    keys: Arc<Slot<jwks::KeySet>>,
    /// The folder of a store on disk.
    folder: Option<TempDir>,
    hand: ManualClock,
}

impl Site {
    fn new() -> Self {
        let everything = PatternRules {
            default: ALL.to_vec(),
            anonymous: ALL.to_vec(),
            ..PatternRules::default()
        };
        let public = PatternRules {
            default: ALL.to_vec(),
            anonymous: vec![Action::Read],
            ..PatternRules::default()
        };
        let builder = Grant {
            users: vec![format!("{ISSUER}/builder")],
            actions: ALL.to_vec(),
            ..Grant::default()
        };
        let team = PatternRules {
            policies: vec![builder],
            ..PatternRules::default()
        };
        Self::with(vec![
            ("open/**".into(), everything),
            ("public/**".into(), public),
            ("team/**".into(), team),
            ("secret/**".into(), PatternRules::default()),
        ])
    }

    /// A registry with its store in a local folder.
    fn on_disk() -> Self {
        let mut site = Self::new();
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(
            Local::open_with(
                folder.path(),
                crate::storage::local::Settings {
                    commit: true,
                    clock: site.app.clock.clone(),
                },
            )
            .unwrap(),
        );
        site.app.registry = registry(store.clone(), store);
        Self {
            endpoint: Endpoint::new(site.app.clone()),
            folder: Some(folder),
            ..site
        }
    }

    fn with(repositories: Vec<(String, PatternRules)>) -> Self {
        let (clock, hand) = Clock::manual(Timestamp::from_secs(NOW));
        let terms = Terms {
            service: "r.example".into(),
            session_lifetime: Duration::from_secs(3600),
        };
        let tokens = Tokens::new("0123", Arc::new(SigningKeys::in_memory(clock.now()).unwrap()));
        let signer = Signer::new(Algorithm::ES256, "k1");
        let keys = Slot::new("test");
        let set = jwks::parse(&key_set(&[signer.jwk()]), UseRule::Oidc)
            .unwrap()
            .value;
        keys.publish(set, Timestamp::from_secs(NOW), Timestamp::MAX);
        let rules = OidcRules {
            hosts: Vec::new(),
            issuer: ISSUER.into(),
            skip_issuer: false,
            audiences: vec!["registry".into()],
            algorithms: None,
            clock_skew: Duration::from_secs(30),
            max_lifetime: None,
            single_audience: false,
        };
        let mapping = Mapping::compile(&MappingSettings::default()).unwrap();
        let issuer = Issuer {
            name: None,
            rules,
            keys: Arc::new(Authorities::new(vec![keys.clone()])),
            mapping,
        };
        let live = Live {
            generation: 1,
            authenticator: Arc::new(
                Authenticator::new(vec![issuer], vec![], vec![])
                    .with_minted(tokens.verification(&terms))
                    .with_token_cache(),
            ),
            policy: Arc::new(
                Policy::compile(Rules {
                    repositories,
                    ..Rules::default()
                })
                .unwrap(),
            ),
            terms,
            external_urls: vec![],
            realm: None,
            proxies: TrustedProxies::default(),
            challenge: true,
            open: None,
            cors: Cors::default(),
            metrics: Some("/metrics".to_owned()),
            redirects: None,
        };
        let store = Arc::new(Memory::with_clock(clock.clone()));
        let registry = registry(store.clone(), store);
        let app = App {
            live: Arc::new(ArcSwap::from_pointee(live)),
            registry,
            memory: Budget::new(budget::USUAL),
            tokens,
            clock,
            ready: ready(),
            strangers: Strangers::default(),
            scrape: Scrape::default(),
        };
        Self {
            endpoint: Endpoint::new(app.clone()),
            app,
            signer,
            keys,
            hand,
            folder: None,
        }
    }

    /// A good token of `subject`.
    fn token(&self, subject: &str) -> String {
        self.signer
            .token(&json!({"iss": ISSUER, "sub": subject, "aud": "registry", "exp": NOW + 300}))
    }

    async fn send(&self, request: Builder, body: impl Into<Body>) -> Answer {
        let tls = Connection {
            peer: None,
            remote: ([127, 0, 0, 1], 1).into(),
            tls: true,
            more: More::default(),
            active: ActiveRequest::default(),
        };
        let request = request.extension(tls).body(body.into()).unwrap();
        Answer::read(self.endpoint.clone().call(request).await.unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(ask(Method::GET, path), Body::empty()).await
    }

    async fn get_as(&self, subject: &str, path: &str) -> Answer {
        self.send(
            bearer(ask(Method::GET, path), &self.token(subject)),
            Body::empty(),
        )
        .await
    }

    /// Pushes a blob in a single request.
    async fn push_blob(&self, repository: &str, content: &str) -> String {
        let digest = sha256(content);
        let answer = self
            .send(
                ask(
                    Method::POST,
                    &format!("/v2/{repository}/blobs/uploads/?digest={digest}"),
                ),
                content.to_owned(),
            )
            .await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        digest
    }

    /// The descriptor of a manifest that exists.
    async fn described(&self, repository: &str, reference: &str) -> Value {
        let answer = self.get(&format!("/v2/{repository}/manifests/{reference}")).await;
        let media_type = answer.header("content-type");
        let digest = answer.header("docker-content-digest");
        json!({"mediaType": media_type, "digest": digest, "size": answer.body.len()})
    }

    /// An image of one configuration and no layers.
    async fn push_image(&self, repository: &str, tag: &str, extra: Value) -> Answer {
        let config = self.push_blob(repository, "{}").await;
        let mut manifest = image(&config);
        if let (Some(manifest), Value::Object(extra)) = (manifest.as_object_mut(), extra) {
            manifest.extend(extra);
        }
        let request =
            ask(Method::PUT, &format!("/v2/{repository}/manifests/{tag}")).header("content-type", IMAGE);
        self.send(request, manifest.to_string()).await
    }
}

/// Manifests in `open/sparse/**` may refer to missing content.
fn registry(records: Arc<dyn RecordStore>, blobs: Arc<dyn BlobStore>) -> Registry {
    let sparse = Repositories::parse("open/sparse/**").unwrap();
    Registry::new(records, blobs).with(Settings {
        sparse,
        unchecked_descriptors: Repositories::parse("open/unchecked/**").unwrap(),
        ..Settings::default()
    })
}

fn ready() -> Arc<Readiness> {
    let ready = Readiness::default();
    ready.serves(true);
    Arc::new(ready)
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    async fn read(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        Self {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The value of a header, or `""` without it.
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The status and the code of an error.
    fn error(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/json");
        (
            self.status.as_u16(),
            self.json()["errors"][0]["code"].as_str().unwrap().to_owned(),
        )
    }
}

fn ask(method: Method, path: &str) -> Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "r.example:5000")
}

fn bearer(request: Builder, token: &str) -> Builder {
    request.header("authorization", format!("Bearer {token}"))
}

fn image(config: &str) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": {"mediaType": "application/vnd.example+json", "digest": config, "size": 2},
        "layers": [],
    })
}

fn sha256(content: impl AsRef<[u8]>) -> String {
    Digest::from_hash(DigestAlgorithm::Sha256, &Sha256::digest(content.as_ref()))
        .unwrap()
        .to_string()
}

fn sha512(content: impl AsRef<[u8]>) -> String {
    Digest::from_hash(DigestAlgorithm::Sha512, &Sha512::digest(content.as_ref()))
        .unwrap()
        .to_string()
}
