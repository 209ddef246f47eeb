//! Mistakes in the first hour. Each message names the thing, the place and the fix, and has no words of the
//! system or a library.

use crate::harness::{Setup, TestPki, output};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// The message of `verify` and `serve`, which is the same.
fn said(setup: &Setup) -> String {
    let file = setup.file();
    let [verify, serve] = ["verify", "serve"].map(|command| {
        let (code, _, err) = output(&[command, file.to_str().unwrap()], setup.folder.path());
        assert_eq!(code, 2, "{command}: {err}");
        // Lines about files that were opened before come first.
        err.lines()
            .filter(|line| !line.starts_with('{'))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    });
    assert_eq!(verify, serve);
    for riddle in ["os error", "entity not found", "Some(", "Error {"] {
        assert!(!verify.contains(riddle), "{verify}");
    }
    verify
}

fn openssl(arguments: &[&str], folder: &Path) {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("openssl is installed");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn an_encrypted_key_is_distinguished_from_a_missing_one() {
    let mut setup = Setup::tls(&TestPki::new());
    let key = setup.config["http"]["tls"]["key"].as_str().unwrap().to_owned();
    let folder = setup.folder.path().to_owned();
    openssl(
        &[
            "pkcs8",
            "-topk8",
            "-in",
            &key,
            "-out",
            "new form.pem",
            "-passout",
            "pass:secret",
        ],
        &folder,
    );
    openssl(
        &[
            "ec",
            "-in",
            &key,
            "-aes128",
            "-out",
            "old.pem",
            "-passout",
            "pass:secret",
        ],
        &folder,
    );
    for name in ["new form.pem", "old.pem"] {
        setup.config["http"]["tls"]["key"] = name.into();
        setup.config["http"]["auth"]["token"] = json!({"signingKeyFile": name});
        let said = said(&setup);
        assert_eq!(
            said.matches(
                " is encrypted, and the registry asks for no passphrase: decrypt it with `openssl pkey -in "
            )
            .count(),
            2,
            "{said}"
        );
        let path = folder.join(name).display().to_string();
        let path = if name.contains(' ') {
            format!("'{path}'")
        } else {
            path
        };
        assert!(said.contains(&format!("-in {path} -out FILE`")), "{said}");
    }
}

#[test]
fn a_missing_file_is_named_with_the_folder_that_is_missing_too() {
    let mut setup = Setup::tls(&TestPki::new());
    setup.config["http"]["tls"]["cert"] = "no.pem".into();
    let folder = setup.folder.path().display().to_string();
    let said = said(&setup);
    assert!(
        said.contains(&format!(
            "http.tls: the file {folder}/no.pem cannot be read: it does not exist"
        )),
        "{said}"
    );
    setup.config["http"]["tls"]["cert"] = "no/folder/no.pem".into();
    setup.config["http"]["auth"]["htpasswd"] = json!({"path": "no/users"});
    let said = self::said(&setup);
    for part in ["no/folder/no.pem", "no/users"] {
        assert!(said.contains(&format!("{folder}/{part}")), "{said}");
    }
    assert_eq!(
        said.matches(&format!("cannot be read: the folder {folder}/no does not exist"))
            .count(),
        2,
        "{said}"
    );
    for command in ["verify", "serve", "fsck"] {
        let (code, _, err) = output(&[command, "nowhere.yaml"], setup.folder.path());
        assert!(
            code > 0 && err.contains("nowhere.yaml") && err.contains("cannot be read: it does not exist"),
            "{command}: {err}"
        );
    }
}

/// A mistake hides no other, and mere consequences are not reported.
#[test]
fn the_same_mistake_of_two_trust_domains_is_reported_twice_and_nothing_else() {
    let mut setup = Setup::plain();
    let domain = |name: &str, rest: Value| {
        let mut entry = json!({"name": name, "audiences": ["a"]});
        entry
            .as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        entry
    };
    let mut of = |domains: [Value; 2]| {
        setup.config["http"]["auth"] = json!({"spiffe": {"trustDomains": domains}});
        setup.config["accessControl"] = json!({"repositories": {}});
        said(&setup)
    };
    let bundle = json!({"svids": ["jwt"], "bundle": [{"jwks": "{\"keys\":[]}"}]});
    let said = of([
        domain("spiffe://a", bundle.clone()),
        domain("https://b/c", bundle),
    ]);
    for n in 0..2 {
        let key = format!("http.auth.spiffe.trustDomains[{n}].name: ");
        let line = said
            .lines()
            .find(|line| line.contains(&key))
            .unwrap_or_else(|| panic!("{said}"));
        assert!(
            line.contains("expected the bare name of a trust domain") && line.contains("drop the scheme"),
            "{line}"
        );
    }
    assert_eq!(said.lines().count(), 3, "{said}");
    // A plain JWK set has no X.509 authorities.
    let useless = |key: &str| json!({"svids": ["jwt", "x509"], "bundle": [{"jwks": key}]});
    let said = of([
        domain("a", useless("{\"keys\":[]}")),
        domain("b", useless("{\"keys\": []}")),
    ]);
    assert_eq!(
        said.matches("none of its sources has authorities for X.509-SVIDs")
            .count(),
        2,
        "{said}"
    );
}

/// As in a container that runs as `nobody` with a folder of root's.
#[test]
fn a_folder_of_another_user_is_reported_with_both_users() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut setup = Setup::plain();
    let data = setup.path("data");
    fs::create_dir(&data).unwrap();
    chown(&data, Some(0), Some(0)).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(setup.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (root, named) in [("data", "data"), ("data/store", "data")] {
        setup.config["storage"]["rootDirectory"] = root.into();
        let file = setup.file();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        // If the user `nobody` cannot read the binary, a copy is used.
        let binary = setup.path("wharfinger");
        fs::copy(env!("CARGO_BIN_EXE_wharfinger"), &binary).unwrap();
        let output = Command::new(&binary)
            .arg("serve")
            .arg(&file)
            .uid(65532)
            .gid(65532)
            .current_dir("/")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let expected = format!(
            "permission denied: this process runs as uid 65532, and {} belongs to uid 0 with mode 0755; change its owner",
            setup.path(named).display()
        );
        assert!(
            output.status.code() == Some(2)
                && said.contains("storage.rootDirectory")
                && said.contains(&expected),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_agent_is_reported_with_its_socket() {
    let mut setup = Setup::plain();
    let socket = setup.path("run/agent.sock").display().to_string();
    let domain = json!({"name": "prod.test", "audiences": ["a"], "bundle": [{"workloadAPI": {}}]});
    setup.config["http"]["auth"] =
        json!({"spiffe": {"workloadAPI": format!("unix://{socket}"), "trustDomains": [domain]}});
    setup.config["http"]["auth"]["spiffe"]["trustDomains"][0]["svids"] = json!(["jwt"]);
    setup.config["accessControl"] = json!({"repositories": {}});
    let app = setup.start().await;
    let is_it = |line: &Value| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.starts_with("the Workload API's stream"))
    };
    let line = app.log.wait("the agent is away", 0, is_it).await;
    let message = line["message"].as_str().unwrap();
    assert!(
        message.contains(&format!(
            "the agent's socket {socket} cannot be used: the folder "
        )),
        "{message}"
    );
    assert!(
        message.contains("is the agent running") && !message.contains("os error"),
        "{message}"
    );
}
