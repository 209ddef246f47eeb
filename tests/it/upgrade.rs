//! A store of format 1. Commands that only read report the format. `serve` and `dev` convert the store first.

use crate::harness::{Setup, copy_folder, output};
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

fn with_old_store() -> Setup {
    let mut setup = Setup::plain();
    // Format 1 let the children of an index be deleted.
    setup.config["storage"]["sparse"] = serde_json::json!(["library/base"]);
    copy_folder(Path::new("tests/fixtures/format-1"), &setup.path("store"));
    setup
}

/// The content of the folder's files, except the lock.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if path.file_name().unwrap() != "lock" {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn commands_that_only_read_report_the_format_and_change_nothing() {
    let setup = with_old_store();
    let file = setup.file();
    let before = contents(&setup.path("store"));
    let (code, out, errors) = output(&["fsck", file.to_str().unwrap()], setup.folder.path());
    assert_eq!(code, 1, "{out}{errors}");
    let said = "has format 1, and this version of wharfinger uses format 2: `wharfinger serve` (or `wharfinger dev`) converts the store when it starts";
    assert!(errors.contains(said), "{errors}");
    let (code, out, errors) = output(&["verify", file.to_str().unwrap()], setup.folder.path());
    assert_eq!(code, 0, "`serve` would start: {out}{errors}");
    assert!(
        errors.contains("note: storage.rootDirectory: ") && errors.contains(said),
        "{errors}"
    );
    assert_eq!(contents(&setup.path("store")), before);
    // A conversion that was interrupted in its last steps.
    fs::write(setup.path("store/format"), "wharfinger store 2\n").unwrap();
    fs::write(setup.path("store/records.converted"), "").unwrap();
    let before = contents(&setup.path("store"));
    for command in ["fsck", "verify"] {
        let (_, _, errors) = output(&[command, file.to_str().unwrap()], setup.folder.path());
        assert!(
            errors.contains("was interrupted in its last steps: `wharfinger serve`"),
            "{command}: {errors}"
        );
    }
    assert_eq!(contents(&setup.path("store")), before);
}

#[test]
fn a_store_of_a_later_version_is_refused_by_its_format() {
    let setup = with_old_store();
    fs::write(setup.path("store/format"), "wharfinger store 3\n").unwrap();
    let file = setup.file();
    let before = contents(&setup.path("store"));
    for (command, expected) in [("fsck", 1), ("verify", 2), ("serve", 2)] {
        let (code, out, errors) = output(&[command, file.to_str().unwrap()], setup.folder.path());
        assert_eq!(code, expected, "{command}: {out}{errors}");
        assert!(
            errors.contains("has format 3, and this version of wharfinger supports formats up to 2"),
            "{command}: {errors}"
        );
    }
    assert_eq!(contents(&setup.path("store")), before);
}

/// An operator who returns to the older version must still find a store of format 1.
#[test]
fn a_start_that_fails_for_another_reason_does_not_convert() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mistakes = [
        ("http.port", "port", json!(port)),
        (
            "http.health.port",
            "health",
            json!({"address": "127.0.0.1", "port": port}),
        ),
        (
            "http.tls",
            "tls",
            json!({"cert": "missing.crt", "key": "missing.key"}),
        ),
        (
            "http.auth.token.signingKeyFile",
            "auth",
            json!({"token": {"signingKeyFile": "missing.jwks"}}),
        ),
    ];
    for (key, place, wrong) in mistakes {
        let mut setup = with_old_store();
        setup.config["http"][place] = wrong;
        let before = contents(&setup.path("store"));
        let (code, out, errors) = output(&["serve", setup.file().to_str().unwrap()], setup.folder.path());
        assert_eq!(code, 2, "{key}: {out}{errors}");
        assert!(errors.contains(key), "{key}: {errors}");
        assert_eq!(contents(&setup.path("store")), before, "{key}");
    }
}

#[tokio::test]
async fn the_first_start_converts_and_says_so_and_the_second_finds_nothing_to_do() {
    let mut setup = with_old_store();
    for converts in [true, false] {
        let mut app = setup.start().await;
        assert_eq!(
            app.anonymous().get("/v2/app/web/manifests/latest").await.status,
            200
        );
        let said = |what: &str| app.log.since(0).iter().any(|line| line["message"] == what);
        assert_eq!(said("converting the store to format 2"), converts);
        assert_eq!(said("the store has format 2"), converts);
        app.signal(Signal::TERM);
        assert!(app.ended().await.success());
        setup = std::mem::replace(&mut app.setup, Setup::plain());
        let (code, out, errors) = output(&["fsck", setup.file().to_str().unwrap()], setup.folder.path());
        assert_eq!(code, 0, "{out}{errors}");
    }
}

/// The configuration that `wharfinger dev` wrote with format 1.
const EARLIER_CONFIG: &str = "\
# Written by `wharfinger dev` at every start. Copy it to change it: `wharfinger serve` takes it as it is.
storage:
  rootDirectory: store
http:
  address: 127.0.0.1
  port: 8443
  tls:
    cert: server.crt
    key: server.key
  auth:
    spiffe:
      trustDomains:
        - name: dev.wharfinger.test
          audiences: [wharfinger-dev]
          bundle:
            - file: bundle.json
accessControl:
  repositories:
    '**':
      policies:
        - users: ['spiffe://dev.wharfinger.test/ci/builder']
          actions: [read, create, update, delete]
        - users: ['spiffe://dev.wharfinger.test/ns/default/']
          actions: [read]
log:
  level: warn
";

#[test]
fn dev_converts_its_store_too() {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(Path::new("tests/fixtures/format-1"), &folder.path().join("store"));
    // `dev` recognises a folder of an earlier version by its configuration.
    fs::write(folder.path().join("config.yaml"), EARLIER_CONFIG).unwrap();
    let (code, out, errors) = output(
        &[
            "dev",
            "--folder",
            folder.path().to_str().unwrap(),
            "--port",
            "0",
            "--once",
        ],
        folder.path(),
    );
    assert_eq!(code, 0, "{out}{errors}");
    assert_eq!(
        fs::read_to_string(folder.path().join("store/format")).unwrap(),
        "wharfinger store 2\n"
    );
}
