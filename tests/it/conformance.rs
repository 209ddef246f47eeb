//! The official conformance suite of the distribution-spec, with everything on, as its main branch has it.
//!
//! <https://github.com/opencontainers/distribution-spec/tree/main/conformance>

use crate::harness::{AUDIENCE, Setup, TestPki};
use serde_json::json;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn the_official_suite_with_everything_on_has_no_failure_and_skips_nothing() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|folder| folder.join("conformance").is_file()) {
        assert!(std::env::var_os("WHARFINGER_REQUIRE_CLIENTS").is_none(), "conformance is not installed");
        eprintln!("skipped: conformance is not installed");
        return;
    }
    let pki = TestPki::new();
    let mut setup = Setup::tls(&pki).allow("conformance/**", json!({"defaultPolicy": ["read", "create", "update", "delete"]}));
    setup.config["storage"]["sparse"] = json!(["conformance/**"]);
    let app = setup.start().await;
    app.setup.write("roots.pem", app.authority().unwrap());
    let suite = Command::new("conformance")
        .env("OCI_REGISTRY", app.host())
        .env("OCI_TLS", "enabled")
        .env("SSL_CERT_FILE", app.setup.path("roots.pem"))
        // A token is the password of any user.
        .env("OCI_USERNAME", "workload")
        .env("OCI_PASSWORD", pki.domain.jwt_svid("/conformance", AUDIENCE))
        .env("OCI_VERSION", "dev")
        .env("OCI_DATA_SPARSE", "true")
        .env("OCI_RESULTS_DIR", app.setup.path("results"))
        .current_dir(app.setup.folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(600), suite).await.expect("the suite does not end").unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let told = || format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    // As in `  Pass..........................:       1028`
    let count = |name: &str| {
        let line = text.lines().find(|line| line.trim_start().to_lowercase().starts_with(&format!("{name}.")));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap())
    };
    let (passed, failed, skipped, errors, total) = (count("pass"), count("fail"), count("skip"), count("error"), count("total"));
    eprintln!("the official suite: {passed} of {total} passed, {failed} failed, {skipped} skipped, {errors} errors");
    assert!(output.status.success(), "{}", told());
    assert_eq!((failed, skipped, errors), (0, 0, 0), "{}", told());
    assert!(total > 1000 && passed == total, "{}", told());
    assert!(!text.contains(": Disabled") && !text.contains(": Skip"), "{}", told());
}
