//! The command line: its output and its exit codes.

use crate::harness::{Setup, TestPki, output};
use serde_json::json;

#[test]
fn verify_says_good_and_ends_with_0() {
    let setup = Setup::tls(&TestPki::new());
    let file = setup.file();
    let (code, out, err) = output(&["verify", file.to_str().unwrap()], setup.folder.path());
    assert_eq!(
        (code, out.trim_end(), err.as_str()),
        (0, format!("{}: good", file.display()).as_str(), "")
    );
    assert!(!setup.path("store").exists(), "verify writes nothing");
}

#[test]
fn verify_names_every_mistake_with_its_key_and_ends_with_2() {
    let mut setup = Setup::tls(&TestPki::new());
    setup.config["http"]["tls"]["cert"] = "missing.crt".into();
    setup.write("broken.json", "{");
    setup.config["http"]["auth"]["spiffe"]["trustDomains"][0]["bundle"] = json!([{"file": "broken.json"}]);
    let file = setup.file();
    for command in ["verify", "serve"] {
        let (code, out, err) = output(&[command, file.to_str().unwrap()], setup.folder.path());
        assert_eq!((code, out.as_str()), (2, ""), "{command}: {err}");
        for said in [
            "config.json: 2 mistakes",
            "http.tls: ",
            "missing.crt",
            "trustDomains[0].bundle[0]: ",
            "broken.json",
        ] {
            assert!(err.contains(said), "{command}: expected {said} in {err}");
        }
    }
}

#[test]
fn mistakes_of_spelling_of_meaning_and_in_other_files_are_reported_in_one_run() {
    let mut setup = Setup::tls(&TestPki::new());
    setup.config["http"]["tls"]["cert"] = "missing.crt".into();
    setup.config["http"]["prot"] = 8080.into();
    setup.config["http"]["auth"]["spiffe"]["trustDomains"][0]["clockSkew"] = "soon".into();
    setup.write("broken.json", "{");
    setup.config["http"]["auth"]["spiffe"]["trustDomains"][0]["bundle"] = json!([{"file": "broken.json"}]);
    let file = setup.file();
    for command in ["verify", "serve"] {
        let (code, out, err) = output(&[command, file.to_str().unwrap()], setup.folder.path());
        assert_eq!((code, out.as_str()), (2, ""), "{command}: {err}");
        for said in [
            "config.json: 4 mistakes",
            "http.prot: ",
            "trustDomains[0].clockSkew: ",
            "http.tls: ",
            "trustDomains[0].bundle[0]: ",
        ] {
            assert!(err.contains(said), "{command}: expected {said} in {err}");
        }
    }
}

#[test]
fn an_unknown_key_is_reported_with_the_known_one_that_is_meant() {
    let setup = Setup::plain();
    setup.write(
        "config.yaml",
        "http:\n  prot: 8080\nstorage:\n  rootDirectory: store\nlog:\n  level: loud\n",
    );
    let (code, _, err) = output(&["verify", "config.yaml"], setup.folder.path());
    assert_eq!(code, 2, "{err}");
    for said in ["http.prot", "did you mean port?", "log.level", "loud"] {
        assert!(err.contains(said), "expected {said} in {err}");
    }
    let (code, _, err) = output(&["verify", "nowhere.yaml"], setup.folder.path());
    assert!(code == 2 && err.contains("nowhere.yaml"), "{code}: {err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_first_warns_that_acknowledgements_do_not_wait_for_the_disk() {
    const WARNING: &str = "storage.commit: false: a power cut may lose acknowledged content";
    let mut setup = Setup::plain();
    setup.config["storage"]["commit"] = false.into();
    let file = setup.file();
    let (code, _, err) = output(&["verify", file.to_str().unwrap()], setup.folder.path());
    assert_eq!(
        (code, err.trim_end()),
        (0, format!("warning: {WARNING}").as_str())
    );
    let app = setup.start().await;
    let lines = app.log.since(0);
    let position = |message: &str| lines.iter().position(|line| line["message"] == message).unwrap();
    assert!(position(WARNING) < position("serving"));
    assert_eq!(lines[position(WARNING)]["level"], "WARN");
    for line in Setup::plain().start().await.log.since(0) {
        assert!(!line.to_string().contains("storage.commit"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_use_is_reported_with_its_process() {
    let app = Setup::plain().start().await;
    let file = app.setup.file();
    let (code, _, err) = output(&["serve", file.to_str().unwrap()], app.setup.folder.path());
    assert_eq!(code, 2, "{err}");
    for said in [
        "storage.rootDirectory: ",
        &format!("in use by process {}", app.pid()),
    ] {
        assert!(err.contains(said), "expected {said} in {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_registries_cannot_share_a_state_directory() {
    let mut setup = Setup::plain();
    setup.config["stateDirectory"] = "shared-state".into();
    let app = setup.start().await;
    let folder = app.setup.folder.path();
    let mut config = app.setup.config.clone();
    config["storage"]["rootDirectory"] = "another-store".into();
    config["http"]["port"] = 0.into();
    std::fs::write(folder.join("another.json"), config.to_string()).unwrap();
    let (code, _, err) = output(&["serve", "another.json"], folder);
    assert!(
        code == 2
            && err.contains("stateDirectory: ")
            && err.contains("shared-state is used by another registry"),
        "{code}: {err}"
    );
}

#[test]
fn wrong_arguments_end_with_2_and_help_with_0() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, code, said) in [
        (&[][..], 2, "Usage"),
        (&["sail"][..], 2, "unrecognized subcommand"),
        (&["serve"][..], 2, "<FILE>"),
        (&["--help"][..], 0, "wharfinger verify config.yaml"),
        (&["dev", "--help"][..], 0, "wharfinger dev --folder"),
        (&["--version"][..], 0, env!("CARGO_PKG_VERSION")),
    ] {
        let (found, out, err) = output(arguments, folder.path());
        assert!(
            found == code && format!("{out}{err}").contains(said),
            "{arguments:?}: {found}: {out}{err}"
        );
    }
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<_> = wharfinger::cli::definition()
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    assert!(names.iter().any(|name| name == "fsck"), "{names:?}");
    let (code, script, err) = output(&["completion", "bash"], folder.path());
    assert_eq!((code, err.as_str()), (0, ""));
    std::fs::write(folder.path().join("wharfinger.bash"), &script).unwrap();
    // Completes "wharfinger " as bash would.
    let complete = "source ./wharfinger.bash; COMP_WORDS=(wharfinger ''); COMP_CWORD=1; _wharfinger wharfinger '' wharfinger; echo \"${COMPREPLY[@]}\"";
    let offered = std::process::Command::new("bash")
        .args(["-c", complete])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let offered = String::from_utf8(offered.stdout).unwrap();
    let (code, out, err) = output(&["man", "pages"], folder.path());
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    for name in names {
        assert!(
            offered.split_whitespace().any(|word| word == name),
            "bash does not offer {name}: {offered}"
        );
        let page = std::fs::read_to_string(folder.path().join(format!("pages/wharfinger-{name}.1"))).unwrap();
        assert!(page.contains(".TH wharfinger"), "{page}");
    }
    let (code, _, err) = output(&["man", "/proc/pages"], folder.path());
    assert_eq!(code, 1);
    assert!(
        err.starts_with("error: cannot write the manual pages to /proc/pages: "),
        "{err}"
    );
}
