//! The registries for which a client's own configuration names this helper. A client calls a helper in
//! `credHelpers` only for the listed registries, and one in `credsStore` for every registry. The call does
//! not say which of the two it is.

use super::host::RegistryHost;
use super::surroundings::Surroundings;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Whether a client's configuration or the variable `WHARFINGER_REGISTRIES` names this registry. A missing or
/// malformed file is ignored here, since its client reports it.
pub(super) fn name(around: &Surroundings, host: &RegistryHost) -> bool {
    let listed = around
        .variable(REGISTRIES)
        .into_iter()
        .flat_map(|list| list.split([',', ' ']))
        .any(|one| is(one, host));
    listed || files(around).iter().any(|file| file_names(file, host))
}

fn file_names(file: &Path, host: &RegistryHost) -> bool {
    let Some(found) = std::fs::read(file)
        .ok()
        .and_then(|text| serde_json::from_slice::<Value>(&text).ok())
    else {
        return false;
    };
    let entries = |key: &str| found.get(key).and_then(Value::as_object).into_iter().flatten();
    let by_helper = entries("credHelpers").filter(|(_, helper)| *helper == HELPER);
    // This is the form of regctl's own configuration.
    let by_host =
        entries("hosts").filter(|(_, host)| host.get("credHelper").is_some_and(|helper| helper == PROGRAM));
    by_helper.chain(by_host).any(|(registry, _)| is(registry, host))
}

fn is(text: &str, host: &RegistryHost) -> bool {
    text.parse::<RegistryHost>().is_ok_and(|named| named.is(host))
}

/// Returns the files in which clients look for their configuration.
fn files(around: &Surroundings) -> Vec<PathBuf> {
    let variable = |name: &str| around.variable(name).map(PathBuf::from);
    let home = |path: &str| variable("HOME").map(|home| home.join(path));
    let configuration = variable("XDG_CONFIG_HOME").or_else(|| home(".config"));
    let below = |path: &str| configuration.as_ref().map(|folder| folder.join(path));
    let docker = variable("DOCKER_CONFIG")
        .or_else(|| home(".docker"))
        .map(|folder| folder.join("config.json"));
    let all = [
        docker,
        variable("REGISTRY_AUTH_FILE"),
        variable("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json")),
        below("containers/auth.json"),
        variable("HELM_REGISTRY_CONFIG").or_else(|| below("helm/registry/config.json")),
        variable("REGCTL_CONFIG").or_else(|| home(".regctl/config.json")),
    ];
    all.into_iter().flatten().collect()
}

/// A comma-separated list of registries.
pub(super) const REGISTRIES: &str = "WHARFINGER_REGISTRIES";
/// The program's name in `credHelpers`.
const HELPER: &str = "wharfinger";
const PROGRAM: &str = "docker-credential-wharfinger";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_named_in_any_clients_configuration_by_host_and_port() {
        let home = tempfile::tempdir().unwrap();
        let around: Surroundings = [("HOME".to_owned(), home.path().display().to_string())]
            .into_iter()
            .collect();
        let named = |host: &str| name(&around, &host.parse().unwrap());
        for (file, text, host) in [
            (
                ".docker/config.json",
                r#"{"auths": {}, "credHelpers": {"a.example": "wharfinger", "x.example": "pass"}}"#,
                "a.example",
            ),
            (
                ".config/containers/auth.json",
                r#"{"credHelpers": {"b.example:5000": "wharfinger"}}"#,
                "b.example:5000",
            ),
            (
                ".config/helm/registry/config.json",
                r#"{"credHelpers": {"https://c.example": "wharfinger"}}"#,
                "c.example",
            ),
            (
                ".regctl/config.json",
                r#"{"hosts": {"d.example": {"credHelper": "docker-credential-wharfinger"}, "e": []}}"#,
                "d.example",
            ),
        ] {
            assert!(!named(host), "{host}");
            let path = home.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            assert!(named(host), "{host}");
            std::fs::write(&path, "{").unwrap();
            assert!(!named(host), "{host}: a malformed file names none");
            std::fs::write(&path, text).unwrap();
        }
        for host in [
            "a.example:5000",
            "http://a.example",
            "b.example",
            "x.example",
            "index.docker.io",
        ] {
            assert!(!named(host), "{host}");
        }
    }

    #[test]
    fn a_creds_store_names_no_registry_and_the_variable_names_those_in_its_list() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("config.json"), r#"{"credsStore": "wharfinger"}"#).unwrap();
        let folder = home.path().display().to_string();
        let around: Surroundings = [
            ("DOCKER_CONFIG".to_owned(), folder),
            (REGISTRIES.to_owned(), "a.example, b.example:5000".to_owned()),
        ]
        .into_iter()
        .collect();
        for (host, named) in [
            ("a.example", true),
            ("b.example:5000", true),
            ("b.example", false),
            ("index.docker.io", false),
        ] {
            assert_eq!(name(&around, &host.parse().unwrap()), named, "{host}");
        }
    }
}
