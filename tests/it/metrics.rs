//! The metrics for Prometheus.

use crate::harness::{AUDIENCE, Setup, TestPki, eventually, now};
use reqwest::StatusCode;
use serde_json::json;

/// The value of a metric with these labels.
fn value(text: &str, name: &str) -> Option<f64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_by_kind_and_bytes_as_they_pass() {
    let mut setup = Setup::plain();
    setup.config["http"]["health"] = json!({"address": "127.0.0.1", "port": 0});
    let app = setup.start().await;
    let client = app.anonymous();
    let large = vec![b'x'; 300_000];
    let digest = client.push_blob("a/b", &large).await;
    assert_eq!(client.get(&format!("/v2/a/b/blobs/{digest}")).await.body, large);
    for _ in 0..3 {
        assert_eq!(
            client.get("/v2/a/b/manifests/none").await.status,
            StatusCode::NOT_FOUND
        );
    }
    assert_eq!(client.get("/anything/else").await.status, StatusCode::NOT_FOUND);
    let path = format!("http://{}/metrics", app.health.unwrap());
    let answer = client.get(&path).await;
    assert_eq!(
        answer.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let text = answer.text();
    let requests = |labels: &str| value(&text, &format!("wharfinger_http_requests_total{{{labels}}}"));
    assert_eq!(
        requests(r#"route="upload",method="POST",status="201""#),
        Some(1.0),
        "{text}"
    );
    assert_eq!(
        requests(r#"route="blob",method="GET",status="200""#),
        Some(1.0),
        "{text}"
    );
    assert_eq!(
        requests(r#"route="manifest",method="GET",status="404""#),
        Some(3.0),
        "{text}"
    );
    assert_eq!(
        requests(r#"route="none",method="GET",status="404""#),
        Some(1.0),
        "{text}"
    );
    assert_eq!(
        value(
            &text,
            r#"wharfinger_http_request_seconds_count{route="manifest"}"#
        ),
        Some(3.0)
    );
    assert_eq!(
        value(
            &text,
            r#"wharfinger_http_request_seconds_bucket{route="manifest",le="+Inf"}"#
        ),
        Some(3.0)
    );
    assert_eq!(
        value(&text, "wharfinger_http_received_bytes_total"),
        Some(300_000.0)
    );
    assert!(value(&text, "wharfinger_http_sent_bytes_total").unwrap() > 300_000.0);
    assert_eq!(value(&text, "wharfinger_http_requests_in_flight"), Some(0.0));
    assert_eq!(client.post(&path).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registrys_own_address_shows_metrics_only_to_callers_that_policy_names() {
    let pki = TestPki::new();
    let mut setup = Setup::tls(&pki).allow(
        "**",
        json!({"anonymousPolicy": ["read"], "defaultPolicy": ["read"]}),
    );
    setup.config["accessControl"]["metrics"] = json!({"users": ["spiffe://prod.test/monitoring/"]});
    let app = setup.start().await;
    let as_workload = |path| app.bearer(&pki.domain.jwt_svid(path, AUDIENCE));
    let answer = as_workload("/monitoring/prometheus").get("/metrics").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        value(
            &answer.text(),
            &format!("wharfinger_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))
        ),
        Some(1.0)
    );
    assert_eq!(
        as_workload("/builder").get("/metrics").await.error(),
        (403, "DENIED".into())
    );
    assert_eq!(
        app.anonymous().get("/metrics").await.error(),
        (401, "UNAUTHORIZED".into())
    );

    let mut setup = Setup::plain();
    setup.config["accessControl"]["metrics"] = json!({"anonymousPolicy": ["read"]});
    assert_eq!(
        setup.start().await.anonymous().get("/metrics").await.status,
        StatusCode::OK
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_the_store_and_the_process_are_measured() {
    let mut setup = Setup::plain();
    setup.config["http"]["health"] = json!({"address": "127.0.0.1", "port": 0});
    let started = now();
    let app = setup.start().await;
    let client = app.anonymous();
    client.push_blob("a/b", &vec![b'x'; 300_000]).await;
    let path = format!("http://{}/metrics", app.health.unwrap());
    let scrape = async || client.get(&path).await.text();
    // The disk is measured every few seconds.
    let text = eventually("the blob is counted", async || {
        let bytes = |text: &str| value(text, r#"wharfinger_store_bytes{part="blobs"}"#);
        Some(scrape().await).filter(|text| bytes(text) == Some(300_000.0))
    })
    .await;
    let of = |name: &str| value(&text, name).unwrap_or_else(|| panic!("{name} is missing in {text}"));
    assert_eq!(
        (
            of(r#"wharfinger_store_files{part="blobs"}"#),
            of(r#"wharfinger_store_bytes{part="values"}"#)
        ),
        (1.0, 0.0)
    );
    assert!(
        of(r#"wharfinger_store_bytes{part="database"}"#) + of(r#"wharfinger_store_bytes{part="log"}"#)
            > 4096.0
    );
    assert!(
        of("wharfinger_disk_free_bytes") > 0.0
            && of("wharfinger_disk_free_bytes") <= of("wharfinger_disk_size_bytes")
    );
    let resident = of("process_resident_memory_bytes");
    assert!(
        resident > f64::from(1 << 20) && resident < of("process_virtual_memory_bytes"),
        "{text}"
    );
    assert!(
        of("process_cpu_seconds_total") > 0.0
            && of("process_open_fds") >= 5.0
            && of("process_open_fds") < of("process_max_fds")
    );
    assert!(
        (of("process_start_time_seconds") - started as f64).abs() < 60.0,
        "{text}"
    );
    let proc = |name: &str| std::path::PathBuf::from(format!("/proc/{}/{name}", app.pid()));
    let open = std::fs::read_dir(proc("fd")).unwrap().count() as f64;
    assert!((of("process_open_fds") - open).abs() < 10.0, "{open}: {text}");
}
