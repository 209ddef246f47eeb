//! The commands for a store on a bucket that three registries serve meanwhile.

use crate::harness::{Setup, TestApp, eventually};
use crate::replicas::{on, signing_keys};
use crate::versions::{pull, push, run_with};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::block_in_place;
use wharfinger::secret::Secret;
use wharfinger::storage::bucket::{Bucket, Credentials, Parts, Provider, Settings, Tls};
use wharfinger_testkit::s3::{Place, SeaweedFs};

const GATEWAYS: usize = 2;

fn setup(store: &SeaweedFs, number: usize, keys: &str) -> Setup {
    let place = store.place_at(number % GATEWAYS);
    let mut setup = on(&place, &place.endpoint, keys);
    setup.config["storage"]["gc"] = json!(false);
    setup
}

/// Makes the probe of the first start, which takes long on a busy machine.
async fn first_probe(place: &Place) {
    let settings = Settings {
        provider: Provider::S3,
        bucket: place.bucket.clone(),
        root: String::new(),
        region: Some(place.region.clone()),
        endpoint: Some(place.endpoint.clone()),
        path_style: true,
        tls: Tls {
            plain: true,
            ..Tls::default()
        },
        parts: Parts::default(),
        credentials: Credentials::Given {
            access_key: place.access_key.clone(),
            secret_key: Secret::new(place.secret_key.clone()),
            session_token: None,
        },
    };
    let bucket = Bucket::open(settings).await.unwrap();
    bucket.probe().await.unwrap();
}

/// Pushes through all registries until `ends`. Returns the tags.
async fn push_until(apps: &[TestApp], ends: &AtomicBool) -> Vec<String> {
    let mut tags = Vec::new();
    for (number, app) in (0..).zip(apps.iter().cycle()) {
        if ends.load(Ordering::Relaxed) {
            break;
        }
        let tag = format!("beside-{number}");
        // A pass without a grace period may remove the blob before its manifest comes. Then a client begins again.
        eventually("the image is pushed", async || {
            (push(&app.anonymous(), &tag, &tag).await == StatusCode::CREATED).then_some(())
        })
        .await;
        tags.push(tag);
    }
    tags
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_work_on_a_bucket_that_three_registries_serve() {
    let Some(store) = block_in_place(|| SeaweedFs::with_gateways(GATEWAYS)) else {
        let required = std::env::var_os("WHARFINGER_REQUIRE_CLIENTS").is_some();
        assert!(!required, "weed is not installed");
        eprintln!("skipped: weed (SeaweedFS) is not installed");
        return;
    };
    first_probe(&store.place()).await;
    let keys = signing_keys();
    let mut apps = Vec::new();
    for number in 0..3 {
        let mut setup = setup(&store, number, &keys);
        setup.config["storage"]["scrub"] = json!({"period": "1s", "rate": 50});
        apps.push(setup.start().await);
    }
    for (number, app) in apps.iter().enumerate() {
        for tag in [format!("kept-{number}"), format!("gone-{number}")] {
            assert_eq!(push(&app.anonymous(), &tag, &tag).await, StatusCode::CREATED);
        }
    }
    // Each is deleted at another registry than the one that took it.
    for (number, app) in apps.iter().cycle().skip(1).take(3).enumerate() {
        let path = format!("/v2/team/app/manifests/gone-{number}");
        let client = app.anonymous();
        let digest = client.get(&path).await.header("docker-content-digest").to_owned();
        let path = format!("/v2/team/app/manifests/{digest}");
        let deleted = client.send(Method::DELETE, &path, "").await;
        assert_eq!(deleted.status, StatusCode::ACCEPTED, "{}", deleted.text());
    }
    let mut commands = setup(&store, 1, &keys);
    let (code, text) = run_with(&["fsck"], &commands, None).await;
    assert!(code == 0 && text.contains(": clean: 0 damaged"), "{text}");
    let (code, text) = run_with(&["upgrade"], &commands, None).await;
    assert!(code == 0 && text.contains("nothing to do"), "{text}");

    commands.config["storage"]["gcDelay"] = json!("0");
    let dry = ["gc", "--dry-run", "--output", "json"];
    let (code, text) = run_with(&dry, &commands, None).await;
    assert_eq!(code, 0, "{text}");
    let ends = AtomicBool::new(false);
    let work = async {
        let collected = run_with(&["gc", "--output", "json"], &commands, None).await;
        let probed = run_with(&["probe"], &commands, None).await;
        ends.store(true, Ordering::Relaxed);
        (collected, probed)
    };
    let (((code, collected), probed), tags) = tokio::join!(work, push_until(&apps, &ends));
    assert_eq!(code, 0, "{collected}");
    let report: Value = serde_json::from_str(&collected).unwrap();
    assert_eq!(report["complete"], json!(true), "{report}");
    assert!(
        report["freedBytes"].as_u64().unwrap() >= 3 * "gone-0".len() as u64,
        "{report}"
    );
    let fit = "any number of replicas may use this store";
    assert!(probed.0 == 0 && probed.1.contains(fit), "{}", probed.1);
    assert!(!tags.is_empty());
    let kept = (0..3).map(|number| format!("kept-{number}"));
    for tag in kept.chain(tags) {
        for app in &apps {
            assert_eq!(pull(&app.anonymous(), &tag).await, tag);
        }
    }
    let (code, text) = run_with(&["fsck", "--mark"], &commands, None).await;
    assert!(code == 0 && text.contains(": clean: 0 damaged"), "{text}");
    // One of the registries has walked through the store.
    let walks = apps
        .iter()
        .map(|app| app.log.says("a scrub has checked all blobs and manifests"));
    let (walk, _, _) = futures_util::future::select_all(walks.map(Box::pin)).await;
    assert_eq!(walk["scrub.damaged"], json!(0), "{walk}");
}
