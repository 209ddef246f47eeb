//! `deploy/release` with programs that exist. It does not build them here.

use super::{is_installed, repository, run};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "x86_64-unknown-linux-gnu";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Small programs that run the tested ones, so that packing them is quick.
fn binaries(folder: &Path) -> PathBuf {
    let binaries = folder.join("binaries");
    fs::create_dir(&binaries).unwrap();
    for (name, program) in [
        ("wharfinger", env!("CARGO_BIN_EXE_wharfinger")),
        (
            "docker-credential-wharfinger",
            env!("CARGO_BIN_EXE_docker-credential-wharfinger"),
        ),
        (
            "wharfinger-credential-provider",
            env!("CARGO_BIN_EXE_wharfinger-credential-provider"),
        ),
    ] {
        let path = binaries.join(name);
        fs::write(&path, format!("#!/bin/sh\nexec '{program}' \"$@\"\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    binaries
}

fn release(folder: &Path, section: &str, arguments: &[String]) -> (bool, String) {
    let mut command = Command::new(repository("deploy/release"));
    command
        .arg(folder)
        .args(arguments)
        .env("CHANGELOG_SECTION", section);
    // The caller's cargo must not lock the script's out.
    run(command.env_remove("CARGO_TARGET_DIR"))
}

#[test]
fn one_script_makes_all_files_of_a_release_and_makes_the_same_again() {
    if !(is_installed("cargo-cyclonedx") && is_installed("helm")) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let given = format!("{TARGET}={}", binaries(folder.path()).display());
    let mut sums = Vec::new();
    for name in ["first", "second"] {
        let out = folder.path().join(name);
        let (good, output) = release(&out, "Unreleased", std::slice::from_ref(&given));
        assert!(good, "{output}");
        sums.push(fs::read_to_string(out.join("SHA256SUMS")).unwrap());
    }
    assert_eq!(sums[0], sums[1]);

    let out = folder.path().join("first");
    let (good, output) = run(Command::new("sha256sum")
        .args(["--check", "SHA256SUMS"])
        .current_dir(&out));
    assert!(good, "{output}");
    let archive = format!("wharfinger-{VERSION}-{TARGET}.tar.gz");
    let chart = format!("wharfinger-chart-{VERSION}.tgz");
    let bom = format!("wharfinger-{VERSION}.cdx.json");
    let expected = ["NOTES.md", "SHA256SUMS", &archive, &chart, &bom];
    assert_eq!(names(&out), expected.map(str::to_owned).into());

    let changelog = fs::read_to_string(repository("CHANGELOG.md")).unwrap();
    let notes = fs::read_to_string(out.join("NOTES.md")).unwrap();
    assert!(changelog.contains(&format!("## Unreleased\n{notes}")), "{notes}");
    assert!(!notes.contains("\n## "), "{notes}");

    let (good, output) = run(Command::new("helm").args(["show", "chart"]).arg(out.join(chart)));
    assert!(good && output.contains("name: wharfinger"), "{output}");
    holds_what_users_need(&out.join(archive), folder.path());
    lists_what_the_programs_contain(&out.join(bom));
}

fn holds_what_users_need(archive: &Path, folder: &Path) {
    let (good, output) = run(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(folder));
    assert!(good, "{output}");
    let unpacked = folder.join(format!("wharfinger-{VERSION}-{TARGET}"));
    for path in [
        "LICENSE",
        "man/wharfinger-serve.1",
        "completions/wharfinger.bash",
        "systemd/wharfinger.service",
        "examples/spire.yaml",
        "bin/docker-credential-wharfinger",
        "bin/wharfinger-credential-provider",
    ] {
        assert!(unpacked.join(path).is_file(), "{path}");
    }
    let (good, output) = run(Command::new(unpacked.join("bin/wharfinger")).arg("--version"));
    assert!(good && output.contains(VERSION), "{output}");
}

/// Dependencies, each with its version and licence, and none that only tests have.
fn lists_what_the_programs_contain(bom: &Path) {
    let text = fs::read_to_string(bom).unwrap();
    assert!(
        !text.contains(env!("CARGO_MANIFEST_DIR")),
        "it names a folder of this machine"
    );
    let bom: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&bom["bomFormat"], &bom["specVersion"]),
        (&"CycloneDX".into(), &"1.5".into())
    );
    assert_eq!(bom["metadata"]["component"]["version"], VERSION);
    let components = bom["components"].as_array().unwrap();
    let lock = fs::read_to_string(repository("Cargo.lock")).unwrap();
    for component in components {
        let name = component["name"].as_str().unwrap();
        let version = component["version"].as_str().unwrap();
        let locked = format!("name = \"{name}\"\nversion = \"{version}\"\n");
        assert!(lock.contains(&locked), "{name} {version}");
        assert!(component["licenses"].is_array(), "{name} has no licence");
    }
    let has = |wanted: &str| components.iter().any(|component| component["name"] == wanted);
    assert!(has("rustls") && has("wharfinger-storage"), "{text}");
    assert!(!has("wharfinger-testkit"), "it is for tests only");
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_release_needs_notes_a_new_folder_and_all_programs() {
    let folder = tempfile::tempdir().unwrap();
    let programs = binaries(folder.path());
    let given = format!("{TARGET}={}", programs.display());
    let (good, output) = release(&folder.path().join("a"), "0.0.0", std::slice::from_ref(&given));
    assert!(
        !good && output.contains("CHANGELOG.md has no section \"## 0.0.0\""),
        "{output}"
    );
    let (good, output) = release(folder.path(), "Unreleased", std::slice::from_ref(&given));
    assert!(!good && output.contains("must be a new folder"), "{output}");
    fs::remove_file(programs.join("docker-credential-wharfinger")).unwrap();
    let (good, output) = release(&folder.path().join("b"), "Unreleased", &[given]);
    assert!(
        !good && output.contains("has no program docker-credential-wharfinger"),
        "{output}"
    );
}
