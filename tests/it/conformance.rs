//! The official conformance suite of the distribution-spec, from its main branch, with every test enabled.
//!
//! <https://github.com/opencontainers/distribution-spec/tree/main/conformance>

use crate::harness::{AUDIENCE, Setup, TestApp, TestPki};
use crate::replicas::Cluster;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn the_official_suite_with_everything_on_has_no_failure_and_skips_nothing() {
    let mut setup = Setup::plain();
    setup.config["storage"]["sparse"] = json!(["conformance/**"]);
    let app = setup.start().await;
    let Some(results) = run(&app, &[("OCI_TLS", "disabled")]).await else {
        return;
    };
    assert_eq!(results.counts(), [0, 0, 0], "{}", results.all);
    assert!(
        !results.text.contains(": Disabled") && !results.text.contains(": Skip"),
        "{}",
        results.all
    );
}

/// Settings under which a manifest needs what it refers to, and a child stays as long as its index.
#[tokio::test(flavor = "multi_thread")]
async fn the_official_suite_passes_where_manifests_must_be_complete() {
    let app = Setup::plain().start().await;
    let Some(results) = run(&app, &[("OCI_TLS", "disabled"), ("OCI_DATA_SPARSE", "false")]).await else {
        return;
    };
    // Tests of incomplete manifests are disabled.
    assert_eq!(results.counts_of(950), [0, 0, 0], "{}", results.all);
}

/// The suite requests tokens for one repository at a time, so it may not read the other repository of a
/// mount. The registry then answers with an upload, as the specification allows, and the suite reports the
/// mount as skipped.
#[tokio::test(flavor = "multi_thread")]
async fn the_official_suite_with_a_workloads_token_has_no_failure_and_skips_mounts_alone() {
    let pki = TestPki::new();
    let mut setup = Setup::tls(&pki).allow(
        "conformance/**",
        json!({"defaultPolicy": ["read", "create", "update", "delete"]}),
    );
    setup.config["storage"]["sparse"] = json!(["conformance/**"]);
    let app = setup.start().await;
    app.setup.write("roots.pem", app.authority().unwrap());
    let roots = app.setup.path("roots.pem");
    let token = pki.domain.jwt_svid("/conformance", AUDIENCE);
    // Any user may have the token as password.
    let login = [("OCI_USERNAME", "workload"), ("OCI_PASSWORD", token.as_str())];
    let tls = [("OCI_TLS", "enabled"), ("SSL_CERT_FILE", roots.to_str().unwrap())];
    let Some(results) = run(&app, &[login, tls].concat()).await else {
        return;
    };
    let skipped: Vec<_> = results
        .text
        .lines()
        .filter(|line| line.ends_with(": Skip") && line.contains('/'))
        .collect();
    assert!(
        skipped.iter().all(|line| line.contains("/blob-mount")),
        "{}",
        results.all
    );
    assert_eq!(
        results.counts(),
        [0, u32::try_from(skipped.len()).unwrap(), 0],
        "{}",
        results.all
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_suite_passes_on_one_replica_on_a_bucket() {
    passes_on(&Cluster::in_the_process(1, sparse).await).await;
}

/// It takes long, so it runs only with the variable of the longer runs.
#[tokio::test(flavor = "multi_thread")]
async fn the_official_suite_passes_through_a_round_robin_over_three_replicas_on_a_bucket() {
    if std::env::var_os("WHARFINGER_CHAOS_SECONDS").is_none() {
        eprintln!("skipped: set WHARFINGER_CHAOS_SECONDS to run the suite on three replicas");
        return;
    }
    if let Some(cluster) = Cluster::on_a_bucket(3, sparse).await {
        passes_on(&cluster).await;
    }
}

fn sparse(config: &mut Value) {
    config["storage"]["sparse"] = json!(["conformance/**"]);
}

async fn passes_on(cluster: &Cluster) {
    let folder = tempfile::tempdir().unwrap();
    let host = cluster.address().to_string();
    let Some(results) = run_on(&host, folder.path(), &[("OCI_TLS", "disabled")]).await else {
        return;
    };
    assert_eq!(results.counts(), [0, 0, 0], "{}", results.all);
}

struct Results {
    text: String,
    all: String,
}

async fn run(app: &TestApp, settings: &[(&str, &str)]) -> Option<Results> {
    run_on(&app.host(), app.setup.folder.path(), settings).await
}

/// Runs the suite. Prints a message and returns `None` if it is not installed.
async fn run_on(host: &str, folder: &Path, settings: &[(&str, &str)]) -> Option<Results> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|folder| folder.join("conformance").is_file()) {
        assert!(
            std::env::var_os("WHARFINGER_REQUIRE_CLIENTS").is_none(),
            "conformance is not installed"
        );
        eprintln!("skipped: conformance is not installed");
        return None;
    }
    let suite = Command::new("conformance")
        .env("OCI_REGISTRY", host)
        .env("OCI_VERSION", "dev")
        .env("OCI_DATA_SPARSE", "true")
        .env("OCI_RESULTS_DIR", folder.join("results"))
        .envs(settings.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(600), suite)
        .await
        .expect("the suite does not end")
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let all = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{all}");
    Some(Results { text, all })
}

impl Results {
    fn counts(&self) -> [u32; 3] {
        self.counts_of(1000)
    }

    /// The failed, skipped and erroneous tests. All others passed, and they are more than `many`.
    fn counts_of(&self, many: u32) -> [u32; 3] {
        // As in `  Pass..........................:       1028`
        let count = |name: &str| {
            let line = self
                .text
                .lines()
                .find(|line| line.trim_start().to_lowercase().starts_with(&format!("{name}.")));
            line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap())
        };
        let passed = count("pass");
        let failed = count("fail");
        let skipped = count("skip");
        let errors = count("error");
        let total = count("total");
        eprintln!(
            "the official suite: {passed} of {total} passed, {failed} failed, {skipped} skipped, {errors} errors"
        );
        assert!(
            total > many && passed + failed + skipped + errors == total,
            "{}",
            self.all
        );
        [failed, skipped, errors]
    }
}
