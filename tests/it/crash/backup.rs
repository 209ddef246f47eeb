//! A backup that is cut short while it waits for the disk.

use super::server::Shim;
use crate::backup::{Image, back_up, copied, restored};
use crate::gc::{bytes_in, report};
use crate::harness::{PATIENCE, Setup, TestApp, eventually, output};
use reqwest::Method;
use serde_json::json;
use std::path::Path;
use std::process::Stdio;
use tokio::process::{Child, Command};

const OF_A_COPY: &str = "*/backup/d/??/*";

/// Starts the command, and returns while it waits in the copy of a file.
async fn begin(app: &TestApp, to: &Path) -> Child {
    app.log
        .wait("the registry answers the operator", 0, |line| {
            line["control.socket"].is_string()
        })
        .await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
    command
        .arg("backup")
        .arg(app.setup.file())
        .arg(to)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let child = command.spawn().unwrap();
    eventually("a file is being copied", async || {
        (parts(&to.join("d")) > 0).then_some(())
    })
    .await;
    child
}

fn parts(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            if entry.path().is_dir() {
                parts(&entry.path())
            } else {
                usize::from(entry.path().extension().is_some())
            }
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_backup_cannot_be_opened_and_the_next_run_finishes_it() {
    let Some(shim) = Shim::build() else { return };
    let app = Setup::plain().start_by(shim.program()).await;
    let kept = Image::new("team/app", "kept", true);
    let deleted = Image::new("team/app", "deleted", true);
    kept.push(&app.anonymous(), "v1").await;
    deleted.push(&app.anonymous(), "v2").await;
    let elsewhere = tempfile::tempdir().unwrap();
    let to = elsewhere.path().join("backup");
    let held = app.store().join("v/held");

    shim.hold("fsync", OF_A_COPY);
    let mut command = begin(&app, &to).await;
    let (code, _, errors) = back_up(&app, &elsewhere.path().join("second"), &[]).await;
    assert!(
        code == 1 && errors.contains("another backup of this store is running"),
        "{errors}"
    );
    // Deletions continue, and their files stay for the copy.
    deleted.delete(&app.anonymous()).await;
    assert!(std::fs::read_dir(&held).unwrap().count() > 0);
    command.kill().await.unwrap();
    let stops = |line: &serde_json::Value| {
        line["message"]
            .as_str()
            .is_some_and(|said| said.starts_with("`wharfinger backup` ended before the registry finished"))
    };
    app.log.wait("the backup stops", 0, stops).await;
    shim.heal();
    eventually("the bytes that the backup held are removed", async || {
        (!held.exists()).then_some(())
    })
    .await;
    for command in ["serve", "fsck", "verify"] {
        let setup = copied(&to);
        let (code, _, errors) = output(&[command, setup.file().to_str().unwrap()], setup.folder.path());
        assert!(
            code != 0 && errors.contains("is unfinished: run the same `wharfinger backup` again"),
            "{command}: {errors}"
        );
    }
    let (code, out, errors) = back_up(&app, &to, &[]).await;
    assert_eq!((code, errors.as_str()), (0, ""), "{out}");
    assert_eq!(parts(&to.join("d")), 0);
    kept.must_be(&restored(&to).await.anonymous(), "v1").await;

    // Now the registry is killed. The earlier backup stays usable.
    let later = Image::new("team/app", "later", true);
    later.push(&app.anonymous(), "v2").await;
    shim.hold("fsync", OF_A_COPY);
    let command = begin(&app, &to).await;
    later.delete(&app.anonymous()).await;
    assert!(std::fs::read_dir(&held).unwrap().count() > 0);
    let app = app.restart().await;
    shim.heal();
    let ended = tokio::time::timeout(PATIENCE, command.wait_with_output())
        .await
        .expect("the command does not end")
        .unwrap();
    let errors = String::from_utf8(ended.stderr).unwrap();
    assert!(
        ended.status.code() == Some(1) && errors.contains("run the same command again"),
        "{errors}"
    );
    assert!(
        !app.setup.path("store/v/held").exists(),
        "the start removed what was held"
    );
    kept.must_be(&restored(&to).await.anonymous(), "v1").await;
    let (code, out, errors) = back_up(&app, &to, &[]).await;
    assert_eq!((code, errors.as_str()), (0, ""), "{out}");
    let restored = restored(&to).await;
    kept.must_be(&restored.anonymous(), "v1").await;
    assert_eq!(
        restored.anonymous().get("/v2/team/app/manifests/v2").await.status,
        404
    );
}

/// A pass beside a backup removes nothing that the backup still copies. When the backup has ended, the space
/// is freed.
#[tokio::test(flavor = "multi_thread")]
async fn a_pass_beside_a_backup_leaves_the_bytes_that_the_backup_holds() {
    let Some(shim) = Shim::build() else { return };
    let mut setup = Setup::plain();
    setup.config["storage"]["gc"] = json!(false);
    setup.config["storage"]["gcDelay"] = json!("0");
    let app = setup.start_by(shim.program()).await;
    let kept = Image::new("team/app", "kept", false);
    let deleted = Image::new("team/app", "deleted", true);
    kept.push(&app.anonymous(), "v1").await;
    deleted.push(&app.anonymous(), "v2").await;
    let elsewhere = tempfile::tempdir().unwrap();
    let to = elsewhere.path().join("backup");

    shim.hold("fsync", OF_A_COPY);
    let command = begin(&app, &to).await;
    let path = format!("/v2/team/app/manifests/{}", deleted.digest());
    let answer = app.anonymous().send(Method::DELETE, &path, "").await;
    assert_eq!(answer.status, 202);
    let size = |image: &Image| image.blobs.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
    for freed in [size(&deleted), 0] {
        let (code, pass) = report(&app.setup, &[]).await;
        assert_eq!((code, &pass["freedBytes"]), (0, &json!(freed)), "{pass:#}");
        assert_eq!(bytes_in(&app.store().join("d")), size(&kept) + size(&deleted));
    }
    assert!(bytes_in(&app.store().join("v/held")) > 70_000, "the manifest");

    shim.heal();
    let ended = tokio::time::timeout(PATIENCE, command.wait_with_output()).await;
    let ended = ended.expect("the command does not end").unwrap();
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    eventually("the space is freed", async || {
        (bytes_in(&app.store().join("d")) == size(&kept)).then_some(())
    })
    .await;
    let restored = restored(&to).await;
    kept.must_be(&restored.anonymous(), "v1").await;
    deleted.must_be(&restored.anonymous(), "v2").await;
}
