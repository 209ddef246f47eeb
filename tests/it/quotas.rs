//! Quotas of a running registry: over restarts, in metrics and in the log, and as clients show them.

use crate::harness::{Layout, Setup, TestApp, eventually, is_installed};
use reqwest::StatusCode;
use rustix::process::Signal;
use serde_json::json;
use std::process::Stdio;

/// 2000 bytes for `team/**`.
fn limited() -> Setup {
    let mut setup = Setup::plain();
    setup.config["http"]["health"] = json!({"address": "127.0.0.1", "port": 0});
    setup.config["storage"]["quotas"] = json!({"total": "1GiB", "repositories": {"team/**": 2000}});
    setup
}

impl TestApp {
    /// The value of the metric of this quota.
    async fn quota(&self, metric: &str, quota: &str) -> Option<u64> {
        let url = format!("http://{}/metrics", self.health.unwrap());
        let text = self.anonymous().get(&url).await.text();
        let name = format!("wharfinger_quota_{metric}{{quota=\"{quota}\"");
        let line = text.lines().find(|line| line.starts_with(&name))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    async fn is_used_up(&self) {
        let refused = self.anonymous().post("/v2/team/other/blobs/uploads/").await;
        assert_eq!(refused.error(), (403, "DENIED".into()));
        let detail = &refused.json()["errors"][0]["detail"];
        assert_eq!(
            *detail,
            json!({"quota": "team/**", "used": 2000, "allowed": 2000, "needed": 0})
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_hold_over_restarts_and_warn_once() {
    let mut app = limited().start().await;
    let known = async |app: &TestApp| {
        eventually("the store is counted", async || {
            app.quota("used_bytes", "team/**").await
        })
        .await
    };
    assert_eq!(known(&app).await, 0);
    app.anonymous().push_blob("team/app", &[b'x'; 1600]).await;
    app.anonymous().push_blob("team/app", &[b'y'; 100]).await;
    app.log.says("80 % of a quota in storage.quotas are used").await;
    let warned = app.log.since(0);
    let warned = warned.iter().filter(|line| line["quota.name"] == "team/**");
    assert_eq!(warned.count(), 1);
    app.anonymous().push_blob("team/app", &[b'z'; 300]).await;
    app.log.says("95 % of a quota in storage.quotas are used").await;
    app.is_used_up().await;
    for (metric, quota, value) in [
        ("used_bytes", "team/**", 2000),
        ("allowed_bytes", "team/**", 2000),
        ("used_bytes", "(total)", 2000),
        ("allowed_bytes", "(total)", 1 << 30),
        ("warnings_total", "team/**", 1),
        ("rejections_total", "team/**", 1),
    ] {
        assert_eq!(app.quota(metric, quota).await, Some(value), "{metric} {quota}");
    }

    // The counters that a process wrote at its end apply to the next one from its first request.
    app.signal(Signal::TERM);
    app.ended().await;
    let app = app.restart().await;
    app.is_used_up().await;

    // A killed process leaves outdated counters. The next process counts everything.
    let gone = app.anonymous();
    let digest = crate::harness::sha256(&[b'x'; 1600]);
    let path = format!("/v2/team/app/blobs/{digest}");
    let deleted = gone.send(reqwest::Method::DELETE, &path, "").await;
    assert_eq!(deleted.status, StatusCode::ACCEPTED);
    let app = app.restart().await;
    eventually("the store is counted", async || {
        (app.quota("used_bytes", "team/**").await == Some(400)).then_some(())
    })
    .await;
    app.anonymous().push_blob("team/app", &[b'w'; 1600]).await;
    app.is_used_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_quota_needs_a_restart_and_the_log_warns() {
    let mut app = limited().start().await;
    app.reload(|config| config["storage"]["quotas"]["total"] = json!("2GiB"))
        .await;
    let line = app.log.says("this change needs a restart").await;
    assert_eq!(line["config.key"], "storage.quotas");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_show_what_is_used_and_allowed() {
    let mut setup = limited();
    setup.config["storage"]["quotas"] = json!({"repositories": {"team/**": 150}});
    let app = setup.start().await;
    eventually("the store is counted", async || {
        app.quota("used_bytes", "team/**").await
    })
    .await;
    let home = tempfile::tempdir().unwrap();
    Layout::write(&home.path().join("layout"));
    let image = format!("{}/team/app:v1", app.host());
    let target = format!("docker://{image}");
    let skopeo = [
        "--insecure-policy",
        "copy",
        "--dest-tls-verify=false",
        "oci:layout:v1",
        &target,
    ];
    let crane = ["push", "--insecure", "layout", &image];
    for (program, arguments) in [("skopeo", &skopeo[..]), ("crane", &crane)] {
        if !is_installed(program) {
            continue;
        }
        let mut command = tokio::process::Command::new(program);
        command
            .args(arguments)
            .current_dir(home.path())
            .env("HOME", home.path());
        let done = command
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let shown = String::from_utf8_lossy(&done.stderr);
        assert!(!done.status.success(), "{program}: {shown}");
        assert!(
            shown.contains("the quota of the repositories team/** is used up"),
            "{program}: {shown}"
        );
    }
}
