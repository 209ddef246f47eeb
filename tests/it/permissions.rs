//! The permissions that docs/how-to/buckets.md names, on a store that enforces them.

use crate::harness::{Setup, TestApp, TestPki, output, sha256};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::block_in_place;
use wharfinger::secret::Secret;
use wharfinger::storage::bucket::{
    Bucket, Credentials, Parts, Provider, Settings, Tls, TokenFetcher, TokenSource, WebIdentity,
};
use wharfinger_testkit::s3::{SeaweedFs, documented_policy};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const ALL: &str = "all";
/// So much does not fit into one part of a multipart upload.
const LARGE: usize = 12 << 20;

/// A store with a role that has these permissions. `None` if it is not installed.
fn store() -> Option<SeaweedFs> {
    block_in_place(|| SeaweedFs::with_roles(&[(ALL, documented_policy("registry/*"))]))
}

fn on(store: &SeaweedFs) -> Setup {
    let place = store.place();
    let mut setup = Setup::plain();
    setup.write("token", &store.token());
    setup.config["storage"] = json!({"storageDriver": {
        "name": "s3",
        "bucket": place.bucket,
        "region": place.region,
        "regionendpoint": place.endpoint,
        "rootdirectory": "registry",
        "webidentity": {
            "rolearn": format!("arn:aws:iam::role/{ALL}"),
            "stsendpoint": place.endpoint,
            "tokenfile": "token",
        },
    }});
    setup.config["stateDirectory"] = json!("state");
    // `gc` runs beside the registry.
    setup.write("keys.pem", &TestPki::new().servers.server().key);
    setup.config["http"]["auth"]["token"] = json!({"signingKeyFile": "keys.pem"});
    setup
}

/// Makes the races of the first start, which take long on a busy machine.
async fn probe(store: &SeaweedFs) {
    let place = store.place();
    let token = store.token();
    let fetch = move || {
        let token = Secret::new(token.clone());
        Box::pin(async { Ok(token) }) as _
    };
    let settings = Settings {
        provider: Provider::S3,
        bucket: place.bucket,
        root: "registry".to_owned(),
        region: Some(place.region),
        endpoint: Some(place.endpoint.clone()),
        path_style: true,
        tls: Tls {
            plain: true,
            ..Tls::default()
        },
        parts: Parts::default(),
        credentials: Credentials::WebIdentity(WebIdentity {
            role: format!("arn:aws:iam::role/{ALL}"),
            session_name: None,
            sts_endpoint: Some(place.endpoint),
            token: TokenSource::Fetched(TokenFetcher::new("the test", fetch)),
        }),
    };
    Bucket::open(settings).await.unwrap().probe().await.unwrap();
}

fn run(setup: &Setup, command: &str) -> (i32, String) {
    let file = setup.file();
    let (code, out, errors) =
        block_in_place(|| output(&[command, file.to_str().unwrap()], setup.folder.path()));
    (code, format!("{out}{errors}"))
}

/// Begins an upload, sends more than a part, and cancels it. Returns the answer to the last request.
async fn cancel(app: &TestApp) -> StatusCode {
    let client = app.anonymous();
    let upload = client.start_upload("app").await;
    let sent = client.send(Method::PATCH, &upload, vec![7; LARGE]).await;
    assert_eq!(sent.status, StatusCode::ACCEPTED, "{}", sent.text());
    let upload = sent.header("location").to_owned();
    client.send(Method::DELETE, &upload, "").await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_permissions_suffice() {
    let Some(store) = store() else {
        return;
    };
    probe(&store).await;
    let mut setup = on(&store);
    setup.config["storage"]["scrub"] = json!({"period": "1s", "rate": 50});
    let app = setup.start().await;
    let client = app.anonymous().header("content-type", IMAGE);
    let layers = [vec![1; 100], vec![2; LARGE]];
    let mut descriptors = Vec::new();
    for layer in &layers {
        let digest = client.push_blob("app", layer).await;
        let pulled = client.get(&format!("/v2/app/blobs/{digest}")).await;
        assert_eq!((pulled.status, &pulled.body), (StatusCode::OK, layer));
        descriptors.push(json!({"mediaType": "a/b", "digest": digest, "size": layer.len()}));
    }
    let image =
        json!({"schemaVersion": 2, "mediaType": IMAGE, "config": descriptors[0], "layers": descriptors});
    let image = image.to_string();
    for tag in ["v1", "v2"] {
        let pushed = client
            .put(&format!("/v2/app/manifests/{tag}"), image.clone())
            .await;
        assert_eq!(pushed.status, StatusCode::CREATED, "{}", pushed.text());
    }
    let listed = client.get("/v2/app/tags/list").await;
    assert_eq!(listed.json()["tags"], json!(["v1", "v2"]));
    assert_eq!(cancel(&app).await, StatusCode::NO_CONTENT);
    let is_walked = |line: &Value| line["scrub.damaged"] == json!(0);
    app.log.wait("a walk has ended", 0, is_walked).await;
    let path = format!("/v2/app/manifests/{}", sha256(image.as_bytes()));
    let deleted = client.send(Method::DELETE, &path, "").await;
    assert_eq!(deleted.status, StatusCode::ACCEPTED, "{}", deleted.text());
    for command in ["gc", "fsck"] {
        let (code, said) = run(&app.setup, command);
        assert_eq!(code, 0, "{command}: {said}");
    }
    let complaints = app
        .log
        .since(0)
        .into_iter()
        .filter(|line| line["level"] == "ERROR" || line.to_string().contains("permission"));
    assert_eq!(complaints.collect::<Vec<_>>(), [Value::Null; 0]);
}
