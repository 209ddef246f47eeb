//! The permissions that docs/how-to/buckets.md names, on a store that enforces them: they suffice, and each is needed.

use crate::harness::{Setup, TestApp, output, sha256};
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
const NAMES: [&str; 6] = [
    "s3:ListBucket",
    "s3:GetObject",
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:AbortMultipartUpload",
    "s3:ListBucketMultipartUploads",
];

/// A store with a role that has all permissions, and for each permission a role that lacks it. `None` if the store
/// is not installed.
fn store() -> Option<SeaweedFs> {
    let all = documented_policy("registry/*");
    let mut roles = vec![(ALL, all.clone())];
    for name in NAMES {
        let mut policy = all.clone();
        let statements = policy["Statement"].as_array_mut().unwrap();
        // This store allows the requests of multipart uploads to whoever may write objects, unless they are denied.
        statements.push(json!({"Effect": "Deny", "Action": [name], "Resource": ["*"]}));
        roles.push((role(name), policy));
    }
    block_in_place(|| SeaweedFs::with_roles(&roles))
}

/// The role that lacks this permission.
fn role(permission: &'static str) -> &'static str {
    permission.trim_start_matches("s3:")
}

fn on(store: &SeaweedFs, role: &str) -> Setup {
    let place = store.place();
    let mut setup = Setup::plain();
    setup.write("token", &store.token());
    setup.config["storage"] = json!({"storageDriver": {
        "name": "s3",
        "bucket": place.bucket,
        "region": place.region,
        "regionendpoint": place.endpoint,
        "rootdirectory": "registry",
        "singleReplica": true,
        "webidentity": {
            "rolearn": format!("arn:aws:iam::role/{role}"),
            "stsendpoint": place.endpoint,
            "tokenfile": "token",
        },
    }});
    setup.config["stateDirectory"] = json!("state");
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
async fn the_documented_permissions_suffice_and_the_error_names_one_that_is_missing() {
    let Some(store) = store() else {
        return;
    };
    probe(&store).await;
    let mut setup = on(&store, ALL);
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
    drop(app);

    for name in &NAMES[..4] {
        let (code, said) = run(&on(&store, role(name)), "serve");
        assert_eq!(code, 2, "{name}: {said}");
        assert!(said.contains(name), "{name}: {said}");
    }
    let app = on(&store, role("s3:AbortMultipartUpload")).start().await;
    let status = cancel(&app).await;
    let log = format!("{:?}", app.log.since(0));
    assert!(log.contains("s3:AbortMultipartUpload"), "{status} {log}");
    drop(app);
    let (code, said) = run(&on(&store, role("s3:ListBucketMultipartUploads")), "gc");
    assert!(said.contains("s3:ListBucketMultipartUploads"), "{code}: {said}");
}
