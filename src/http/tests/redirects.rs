//! Downloads that are redirected to the bucket.

use super::*;
use crate::http::Redirects;
use crate::secret::Secret;
use crate::storage::bucket::{
    Bucket, Credentials, Parts, Provider, Settings, Tls, TokenFetcher, TokenSource, WebIdentity,
};
use wharfinger_testkit::s3::{Fake, Place};

const SECRET: &str = "X-Amz-Signature";

/// A registry whose store is a bucket, which redirects downloads from this size on.
async fn site(place: &Place, min_size: u64) -> Site {
    let keys = Credentials::Given {
        access_key: place.access_key.clone(),
        secret_key: Secret::new(place.secret_key.clone()),
        session_token: None,
    };
    site_with(place, min_size, keys).await
}

async fn site_with(place: &Place, min_size: u64, credentials: Credentials) -> Site {
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
        credentials,
    };
    let store = Arc::new(Bucket::open(settings).await.unwrap());
    let mut site = Site::new();
    site.app.registry = registry(store.clone(), store);
    let live = site.app.live.load_full();
    let lifetime = Duration::from_secs(90);
    site.app.live.store(Arc::new(Live {
        redirects: Some(Redirects { min_size, lifetime }),
        ..Live::clone(&live)
    }));
    site.endpoint = Endpoint::new(site.app.clone());
    site
}

async fn head(site: &Site, path: &str) -> Answer {
    site.send(ask(Method::HEAD, path), Body::empty()).await
}

#[tokio::test]
async fn only_a_get_of_a_large_enough_blob_is_redirected() {
    let fake = Fake::start().await;
    let site = site(fake.place(), 10).await;
    let large = site.push_blob("open/a", "0123456789").await;
    let small = site.push_blob("open/a", "012345678").await;
    let at = |digest: &str| format!("/v2/open/a/blobs/{digest}");
    let sent = site.get(&at(&large)).await;
    let url = sent.header("location");
    assert_eq!(
        (sent.status, sent.text().as_str()),
        (StatusCode::TEMPORARY_REDIRECT, "")
    );
    assert!(
        url.starts_with(&fake.place().endpoint) && url.contains(SECRET),
        "{url}"
    );
    assert!(url.contains("X-Amz-Expires=90"), "{url}");
    assert_eq!(sent.header("docker-content-digest"), large);
    let read = reqwest::get(url).await.unwrap();
    assert_eq!(read.text().await.unwrap(), "0123456789");

    let whole = site.get(&at(&small)).await;
    assert_eq!(
        (whole.status, whole.text().as_str()),
        (StatusCode::OK, "012345678")
    );
    let asked = head(&site, &at(&large)).await;
    assert_eq!(
        (asked.status, asked.header("content-length")),
        (StatusCode::OK, "10")
    );
    let part = ask(Method::GET, &at(&large)).header("range", "bytes=2-3");
    let part = site.send(part, Body::empty()).await;
    assert_eq!(
        (part.status, part.text().as_str()),
        (StatusCode::PARTIAL_CONTENT, "23")
    );
}

#[tokio::test]
async fn a_caller_without_a_permit_gets_no_url() {
    let fake = Fake::start().await;
    let site = site(fake.place(), 0).await;
    let digest = site.push_blob("open/a", "content").await;
    assert!(
        !site
            .get(&format!("/v2/open/a/blobs/{digest}"))
            .await
            .header("location")
            .is_empty()
    );
    for path in ["team/a", "secret/a", "public/a"] {
        let answer = site.get(&format!("/v2/{path}/blobs/{digest}")).await;
        assert!(answer.status.is_client_error(), "{path}: {}", answer.status);
        assert_eq!(answer.header("location"), "", "{path}");
    }
}

/// The lifetime that a presigned URL states, in seconds.
fn stated(url: &str) -> u64 {
    let (_, rest) = url.split_once("X-Amz-Expires=").expect("a presigned URL");
    rest.split('&').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_url_lives_no_longer_than_the_keys_that_sign_it() {
    let fake = Fake::start().await;
    let session = |seconds| fake.set_rules(|rules| rules.session = Some(Duration::from_secs(seconds)));
    let keys = || {
        let token = || Box::pin(async { Ok(Secret::new("a.b.c")) }) as _;
        Credentials::WebIdentity(WebIdentity {
            role: "arn:aws:iam::1:role/registry".to_owned(),
            session_name: None,
            sts_endpoint: Some(fake.place().endpoint.clone()),
            token: TokenSource::Fetched(TokenFetcher::new("the test", token)),
        })
    };
    session(60);
    let short = site_with(fake.place(), 0, keys()).await;
    let path = format!(
        "/v2/open/a/blobs/{}",
        short.push_blob("open/a", "0123456789").await
    );
    let sent = short.get(&path).await;
    let url = sent.header("location");
    assert!(stated(url) <= 60, "the configured lifetime is 90 seconds: {url}");
    assert_eq!(
        reqwest::get(url).await.unwrap().text().await.unwrap(),
        "0123456789"
    );

    // They end before a client could follow.
    session(9);
    let shorter = site_with(fake.place(), 0, keys()).await;
    let sent = shorter.get(&path).await;
    assert_eq!(
        (sent.status, sent.text().as_str()),
        (StatusCode::OK, "0123456789")
    );
    assert_eq!(sent.header("location"), "");
}

#[tokio::test]
async fn a_url_works_although_the_clock_of_this_machine_is_wrong() {
    let now = Clock::system().now();
    let ten_minutes = Duration::from_mins(10);
    for (stores, redirected) in [(now.plus(ten_minutes), true), (now.minus(ten_minutes), false)] {
        let fake = Fake::start_at(Clock::manual(stores).0).await;
        let site = site(fake.place(), 0).await;
        let path = format!(
            "/v2/open/a/blobs/{}",
            site.push_blob("open/a", "0123456789").await
        );
        let sent = site.get(&path).await;
        let url = sent.header("location");
        assert_eq!(!url.is_empty(), redirected, "{url}");
        let bytes = match redirected {
            true => reqwest::get(url).await.unwrap().text().await.unwrap(),
            false => sent.text(),
        };
        assert_eq!(bytes, "0123456789", "the store's time is {stores}");
    }
}
