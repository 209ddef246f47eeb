//! Files that another version of the program wrote, as `docs/reference/compatibility.md` lists them. Stores of other
//! formats have their own tests in `upgrade.rs`.

use crate::harness::{Setup, copy_folder, now, output, sha256};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// No server runs there.
const ISSUER: &str = "http://127.0.0.1:9";

/// A file of a state directory of format 1, written a minute ago.
fn fixture(name: &str) -> String {
    let path = Path::new("tests/fixtures/state-1").join(name);
    let written = (now() - 60).to_string();
    fs::read_to_string(path).unwrap().replace("SECONDS", &written)
}

/// A registry with an issuer that is down, and with these files in its state directory.
fn with_state(signing_keys: &str, last_good: &str) -> Setup {
    let mut setup = Setup::plain();
    setup.config["stateDirectory"] = "state".into();
    setup.config["http"]["auth"] =
        json!({"bearer": {"oidc": [{"issuer": ISSUER, "audiences": ["registry.test"]}]}});
    private(&setup.path("state/signing-keys.json"), signing_keys);
    private(&last_good_of(&setup), last_good);
    setup
}

fn last_good_of(setup: &Setup) -> PathBuf {
    let source = format!("oidc {ISSUER} - - its-issuer - -");
    let name = sha256(source.as_bytes()).replace("sha256:", "");
    setup.path(&format!("state/trust/{name}.last-good"))
}

/// Writes a file that only its owner can read.
fn private(path: &Path, text: &str) {
    let folder = path.parent().unwrap();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Whether a registry on this state directory has keys for its issuer.
fn trusts(setup: &Setup) -> bool {
    let state = setup.path("state").display().to_string();
    let (code, out, errors) = output(&["trust", "--state-directory", &state], setup.folder.path());
    assert!(code < 2, "{out}{errors}");
    code == 0
}

#[tokio::test]
async fn keys_in_a_state_directory_of_an_earlier_version_are_used() {
    let signing_keys = fixture("signing-keys.json");
    let setup = with_state(&signing_keys, &fixture("issuer.last-good"));
    let app = setup.start().await;
    // The issuer is down, so its keys come from the state directory.
    assert!(trusts(&app.setup));
    let published = app.anonymous().get("/v2/_wharfinger/jwks").await.json();
    let kept: serde_json::Value = serde_json::from_str(&signing_keys).unwrap();
    let has = |member: &str| published["keys"][0][member] == kept["keys"][0][member];
    assert!(has("x") && has("y"), "{published}");
}

/// Cached keys can be fetched again, so a file that is not understood costs nothing but a warning.
#[tokio::test]
async fn cached_keys_of_a_newer_version_are_ignored() {
    let newer = fixture("issuer.last-good").replacen("last-good 1", "last-good 2", 1);
    let setup = with_state(&fixture("signing-keys.json"), &newer);
    let app = setup.start().await;
    let says = |line: &serde_json::Value| {
        let text = line["message"].as_str().unwrap_or_default();
        text.ends_with(": not used: has a format that this program does not know")
    };
    app.log.wait("the file is not used", 0, says).await;
    assert!(!trusts(&app.setup));
    // The newer version still finds it.
    assert_eq!(fs::read_to_string(last_good_of(&app.setup)).unwrap(), newer);
}

/// New keys would end every session, so the operator decides.
#[test]
fn signing_keys_of_an_unknown_format_are_not_replaced() {
    let newer = r#"{"format":2,"ring":[]}"#;
    let setup = with_state(newer, &fixture("issuer.last-good"));
    let (code, out, errors) = output(&["serve", setup.file().to_str().unwrap()], setup.folder.path());
    assert_eq!(code, 2, "{out}{errors}");
    let said = "is not a set of signing keys; restore it, or remove it to have new keys made, which ends every session";
    assert!(errors.contains(said), "{errors}");
    assert_eq!(
        fs::read_to_string(setup.path("state/signing-keys.json")).unwrap(),
        newer
    );
}

#[test]
fn a_setting_of_a_newer_version_is_refused_by_its_name() {
    let mut setup = Setup::plain();
    setup.config["http"]["settingOfTomorrow"] = true.into();
    for command in ["verify", "serve"] {
        let (code, out, errors) = output(&[command, setup.file().to_str().unwrap()], setup.folder.path());
        assert_eq!(code, 2, "{command}: {out}{errors}");
        assert!(errors.contains("http.settingOfTomorrow"), "{command}: {errors}");
    }
    assert!(!setup.path("store").exists());
}

#[tokio::test]
async fn a_store_of_the_current_format_is_served_as_it_is() {
    let app = with_store("format-2").start().await;
    let answer = app.anonymous().get("/v2/app/web/manifests/latest").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let converts = |line: &serde_json::Value| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.contains("convert"))
    };
    assert!(!app.log.since(0).iter().any(converts));
}

fn with_store(fixture: &str) -> Setup {
    let mut setup = Setup::plain();
    // The fixtures have an index without its children.
    setup.config["storage"]["sparse"] = json!(["library/base"]);
    copy_folder(&Path::new("tests/fixtures").join(fixture), &setup.path("store"));
    setup
}

/// A copy of an old store is what its users have as a backup. A backup of a newer version is refused like its store.
#[test]
fn a_backup_has_the_format_of_its_store() {
    let setup = with_store("format-1");
    let file = setup.file();
    let to = setup.path("backup");
    let backup = || {
        output(
            &["backup", file.to_str().unwrap(), to.to_str().unwrap()],
            setup.folder.path(),
        )
    };
    let (code, _, errors) = backup();
    assert_eq!(code, 1, "{errors}");
    assert!(
        errors.contains("has format 1, and this version of wharfinger uses format 2"),
        "{errors}"
    );
    assert!(!to.join("format").exists());

    fs::remove_dir_all(setup.path("store")).unwrap();
    copy_folder(Path::new("tests/fixtures/format-2"), &setup.path("store"));
    let (code, _, errors) = backup();
    assert_eq!(code, 0, "{errors}");
    fs::remove_dir_all(setup.path("store")).unwrap();
    copy_folder(&to, &setup.path("store"));
    let (code, out, errors) = output(&["fsck", file.to_str().unwrap()], setup.folder.path());
    assert_eq!(code, 0, "{out}{errors}");
    fs::write(setup.path("store/format"), "wharfinger store 3\n").unwrap();
    let (code, out, errors) = output(&["serve", file.to_str().unwrap()], setup.folder.path());
    assert_eq!(code, 2, "{out}{errors}");
    assert!(errors.contains("has format 3"), "{errors}");
}
