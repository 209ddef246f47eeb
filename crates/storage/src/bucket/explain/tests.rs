//! Each fault of the first hour names the key of the configuration and the fix.

use crate::bucket::{Bucket, Credentials, Requests, Settings, probe};
use crate::tests::buckets;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use wharfinger_base::secret::Secret;
use wharfinger_testkit::Ca;
use wharfinger_testkit::s3::{Fake, Fault, On, Operation, Refusal, SeaweedFs, When};

/// Why the bucket cannot be opened. The command `probe` says the same.
async fn why(settings: &Settings) -> String {
    let requests = Requests {
        connect: Duration::from_secs(2),
        answer: Duration::from_secs(1),
        ..Requests::default()
    };
    let opened = Bucket::open_with(settings.clone(), &requests).await;
    let why = opened.unwrap_err().to_string();
    let probed = probe::full(std::slice::from_ref(settings)).await;
    // The time in it may differ.
    if !why.contains("clock") {
        assert_eq!(probed.unwrap_err().to_string(), why);
    }
    why
}

#[track_caller]
fn assert_says(why: &str, parts: &[&str]) {
    for part in parts {
        assert!(why.contains(part), "{part:?} is not in: {why}");
    }
    for noise in ["<", "Error performing", "source:", "not-a-secret"] {
        assert!(!why.contains(noise), "{noise:?} is in: {why}");
    }
}

fn at(settings: &Settings, endpoint: impl Into<String>) -> Settings {
    let endpoint = endpoint.into();
    let mut other = settings.clone();
    other.tls.plain = endpoint.starts_with("http:");
    other.endpoint = Some(endpoint);
    other
}

#[tokio::test]
async fn an_answer_with_an_error_names_key_and_fix() {
    let fake = Fake::start().await;
    let settings = buckets::settings(fake.place());
    let endpoint = fake.place().endpoint.as_str();
    for (status, code, parts) in [
        (
            403,
            "InvalidAccessKeyId",
            &["does not know the access key", "storage.storageDriver.accesskey"][..],
        ),
        (
            403,
            "SignatureDoesNotMatch",
            &[
                "secret key does not belong",
                "storage.storageDriver.accesskey and secretkey",
            ],
        ),
        (403, "AccessDenied", &["access is denied", "permission"]),
        (
            400,
            "ExpiredToken",
            &["have expired", "storage.storageDriver.accesskey"],
        ),
        (
            403,
            "RequestTimeTooSkewed",
            &["this machine's clock says 2", "correct the clock"],
        ),
        (
            404,
            "NoSuchBucket",
            &["there is no bucket wharfinger", "storage.storageDriver.bucket"],
        ),
        (400, "InvalidBucketName", &["storage.storageDriver.bucket"]),
        (
            400,
            "AuthorizationHeaderMalformed",
            &["not in the region us-east-1", "storage.storageDriver.region"],
        ),
        (
            301,
            "PermanentRedirect",
            &["not in the region us-east-1", "storage.storageDriver.region"],
        ),
        (500, "InternalError", &["500", "InternalError"]),
    ] {
        let refusal = Refusal {
            status,
            code,
            retry_after: None,
        };
        fake.heal();
        fake.inject(On::any().always(), Fault::Refuse(When::Before, refusal));
        let why = why(&settings).await;
        assert_says(&why, parts);
        assert_says(&why, &["the bucket wharfinger at", endpoint]);
    }
}

#[tokio::test]
async fn a_service_that_cannot_be_reached_names_key_and_fix() {
    let ca = Ca::new("a private CA");
    let plain = Fake::start().await;
    let tls = Fake::start_with_tls(&ca).await;
    let settings = buckets::settings(plain.place());
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let port = |fake: &Fake| fake.place().endpoint.rsplit_once(':').unwrap().1.to_owned();
    let endpoint = "storage.storageDriver.regionendpoint";
    for (url, parts) in [
        (format!("http://{free}"), &["connection is refused", endpoint][..]),
        (
            "http://no-such-host.invalid:8333".to_owned(),
            &["cannot be resolved", endpoint],
        ),
        (
            format!("https://127.0.0.1:{}", port(&tls)),
            &[
                "certificate is not accepted",
                "storage.storageDriver.certificateAuthorityFile",
            ],
        ),
        (
            format!("https://127.0.0.1:{}", port(&plain)),
            &["speaks plain HTTP", "http://", endpoint],
        ),
        (
            format!("http://127.0.0.1:{}", port(&tls)),
            &["does not speak plain HTTP", "https://", endpoint],
        ),
    ] {
        assert_says(&why(&at(&settings, url)).await, parts);
    }
}

#[tokio::test]
async fn another_server_is_not_taken_for_the_service() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let answer =
                "HTTP/1.1 404 Not Found\r\nContent-Length: 12\r\nConnection: close\r\n\r\n<html>no</h>";
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let fake = Fake::start().await;
    let settings = at(&buckets::settings(fake.place()), format!("http://{address}"));
    assert_says(
        &why(&settings).await,
        &["not the S3 API", "storage.storageDriver.regionendpoint"],
    );
    serving.abort();
}

#[tokio::test]
async fn a_request_that_the_keys_may_not_make_does_not_look_like_a_lack_of_the_store() {
    for operation in [Operation::Put, Operation::Get] {
        let fake = Fake::start().await;
        let bucket = Bucket::open(buckets::settings(fake.place())).await.unwrap();
        let on = On::operation(operation).always();
        fake.inject(on, Fault::Refuse(When::Before, Refusal::ACCESS_DENIED));
        let why = bucket.probe_for_one().await.unwrap_err();
        assert!(matches!(why, probe::Unfit::NotProbed { .. }), "{why}");
        assert_says(&why.to_string(), &["access is denied", "accesskey"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seaweedfs_is_understood() {
    let Some(store) = SeaweedFs::start() else { return };
    let settings = buckets::settings(&store.place());
    let with = |access_key: &str, secret_key: &str| Settings {
        credentials: Credentials::Given {
            access_key: access_key.to_owned(),
            secret_key: Secret::new(secret_key.to_owned()),
            session_token: None,
        },
        ..settings.clone()
    };
    let place = store.place();
    let elsewhere = Settings {
        bucket: "elsewhere".to_owned(),
        ..settings.clone()
    };
    for (settings, parts) in [
        (
            elsewhere,
            &["there is no bucket elsewhere", "storage.storageDriver.bucket"][..],
        ),
        (with("unknown", "secret"), &["does not know the access key"]),
        (with(&place.access_key, "wrong"), &["secret key does not belong"]),
    ] {
        assert_says(&why(&settings).await, parts);
    }
}
