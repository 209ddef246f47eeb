//! The settings file, which says which registry gets which token. It is kept small enough to document on one
//! page.

use super::host::RegistryHost;
use super::source::Source;
use super::surroundings::{SETTINGS, Surroundings};
use super::withheld::Withheld;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use wharfinger_base::file_error::FileError;

/// The settings of registries, by the host that clients use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub(super) registries: BTreeMap<RegistryHost, Registry>,
    pub(super) file: PathBuf,
}

/// The settings of one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Registry {
    /// Default: the host, with its port unless that is the default.
    pub(super) audience: Option<String>,
    pub(super) username: Option<String>,
    pub(super) present_as: PresentAs,
    /// Default: the sources that the environment offers.
    pub(super) source: Option<Source>,
}

/// How clients present the token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PresentAs {
    /// As a password. Every client supports this.
    #[default]
    Password,
    /// As Docker's identity token, which clients exchange at the registry's token endpoint and never present
    /// directly.
    IdentityToken,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSettings {
    #[error("{} cannot be read: {why}{}", file.display(), if why.is_missing() { named() } else { String::new() })]
    Unreadable { file: PathBuf, why: FileError },
    #[error("{}: {what}", file.display())]
    Malformed { file: PathBuf, what: String },
}

fn named() -> String {
    format!("; {SETTINGS} names it")
}

impl Settings {
    /// Finds and reads the file. Returns `None` if there is none, which is not an error.
    pub fn find(around: &Surroundings) -> Result<Option<Self>, InvalidSettings> {
        let (files, must_exist) = around.settings_files();
        for file in files {
            match std::fs::read_to_string(&file) {
                Ok(text) => {
                    let parsed = Self::parse(&text, &file, around);
                    return parsed
                        .map(Some)
                        .map_err(|what| InvalidSettings::Malformed { file, what });
                }
                Err(why) if why.kind() == ErrorKind::NotFound && !must_exist => {}
                Err(why) => {
                    let why = FileError::new(&file, &why);
                    return Err(InvalidSettings::Unreadable { file, why });
                }
            }
        }
        Ok(None)
    }

    /// Returns the settings of this registry, if the file names it.
    pub(super) fn registry(&self, host: &RegistryHost) -> Option<&Registry> {
        self.registries
            .iter()
            .find(|(named, _)| named.is(host))
            .map(|(_, registry)| registry)
    }

    /// Returns the likely mistake if the file names this host with another port or scheme.
    pub(super) fn near(&self, host: &RegistryHost) -> Option<Withheld> {
        let named = self.registries.keys().find(|named| named.is_near(host))?.clone();
        Some(Withheld::Settings {
            file: self.file.clone(),
            named,
            host: host.clone(),
        })
    }

    pub(super) fn without(&self, host: &RegistryHost) -> Withheld {
        Withheld::NotInSettings {
            file: self.file.clone(),
            host: host.clone(),
        }
    }

    fn parse(text: &str, file: &Path, around: &Surroundings) -> Result<Self, String> {
        let folder = file.parent().unwrap_or(Path::new("."));
        let File { registries } = serde_saphyr::from_str(text).map_err(|why| why.to_string())?;
        let registry = |(host, raw): (String, Raw)| {
            let wrong = |what: &str| format!("registries[{host:?}]: {what}");
            let key: RegistryHost = host
                .parse()
                .map_err(|why: super::InvalidHost| wrong(&why.to_string()))?;
            let source = raw
                .from
                .map(|from| from.source(folder, around).map_err(wrong))
                .transpose()?;
            Ok((
                key,
                Registry {
                    audience: raw.audience,
                    username: raw.username,
                    present_as: raw.present_as,
                    source,
                },
            ))
        };
        Ok(Self {
            registries: registries
                .into_iter()
                .map(registry)
                .collect::<Result<_, String>>()?,
            file: file.to_owned(),
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    registries: BTreeMap<String, Raw>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Raw {
    audience: Option<String>,
    username: Option<String>,
    #[serde(default)]
    present_as: PresentAs,
    from: Option<From>,
}

/// The source of a token. Exactly one field must be set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct From {
    #[serde(rename = "workloadAPI")]
    workload_api: Option<WorkloadApi>,
    github_actions: Option<Nothing>,
    token_file: Option<PathBuf>,
    environment: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkloadApi {
    address: Option<String>,
    #[serde(rename = "spiffeID")]
    spiffe_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl From {
    fn source(self, folder: &Path, around: &Surroundings) -> Result<Source, &'static str> {
        match self {
            Self {
                workload_api: Some(api),
                github_actions: None,
                token_file: None,
                environment: None,
            } => {
                let address = api
                    .address
                    .or_else(|| around.endpoint_socket().map(str::to_owned));
                let address =
                    address.ok_or("from.workloadAPI: give its address, or set SPIFFE_ENDPOINT_SOCKET")?;
                Ok(Source::WorkloadApi {
                    address,
                    spiffe_id: api.spiffe_id,
                })
            }
            Self {
                workload_api: None,
                github_actions: Some(Nothing {}),
                token_file: None,
                environment: None,
            } => Ok(Source::GithubActions),
            Self {
                workload_api: None,
                github_actions: None,
                token_file: Some(path),
                environment: None,
            } => Ok(Source::TokenFile(folder.join(path))),
            Self {
                workload_api: None,
                github_actions: None,
                token_file: None,
                environment: Some(name),
            } => Ok(Source::Environment(name)),
            _ => Err("from: name exactly one of workloadAPI, githubActions, tokenFile and environment"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, String> {
        let around = [("SPIFFE_ENDPOINT_SOCKET".to_owned(), "unix:///default".to_owned())]
            .into_iter()
            .collect();
        Settings::parse(text, Path::new("/etc/w/credentials.yaml"), &around)
    }

    #[test]
    fn each_registry_has_its_own_source() {
        let settings = parse(
            "registries:
  r.example:5000: {audience: r, username: svc, presentAs: identityToken, from: {workloadAPI: {address: 'unix:///a', spiffeID: 'spiffe://td/a'}}}
  b.example: {from: {workloadAPI: {}}}
  c.example: {from: {githubActions: {}}}
  d.example: {from: {tokenFile: token}}
  e.example: {from: {environment: ID_TOKEN}}
  f.example: {}
",
        );
        let settings = settings.unwrap();
        let of = |host: &str| settings.registries[&host.parse().unwrap()].clone();
        let svid = |address: &str, id: Option<&str>| {
            Some(Source::WorkloadApi {
                address: address.to_owned(),
                spiffe_id: id.map(str::to_owned),
            })
        };
        assert_eq!(
            of("r.example:5000"),
            Registry {
                audience: Some("r".into()),
                username: Some("svc".into()),
                present_as: PresentAs::IdentityToken,
                source: svid("unix:///a", Some("spiffe://td/a")),
            }
        );
        assert_eq!(of("b.example").source, svid("unix:///default", None));
        assert_eq!(of("c.example").source, Some(Source::GithubActions));
        assert_eq!(
            of("d.example").source,
            Some(Source::TokenFile("/etc/w/token".into()))
        );
        assert_eq!(
            of("e.example").source,
            Some(Source::Environment("ID_TOKEN".into()))
        );
        assert_eq!(of("f.example"), Registry::default());
    }

    #[test]
    fn a_mistake_is_reported_with_its_place() {
        for (text, said) in [
            ("registries: {r.example: {password: x}}", "password"),
            ("registry: {}", "registry"),
            ("- {}", "expected mapping"),
            ("registries: {r.example: [r, svc]}", "expected mapping"),
            (
                "registries: {r.example: {from: [null, null, token]}}",
                "expected mapping",
            ),
            (
                "registries: {r.example: {from: {}}}",
                r#"registries["r.example"]: from: name exactly one"#,
            ),
            (
                "registries: {r.example: {from: {tokenFile: a, environment: B}}}",
                "exactly one",
            ),
            (
                "registries: {'a b': {}}",
                r#"registries["a b"]: expected the registry's host"#,
            ),
            ("registries: {r.example: {presentAs: bearer}}", "bearer"),
        ] {
            let why = parse(text).unwrap_err();
            assert!(why.contains(said), "{text}: {why}");
        }
    }
}
