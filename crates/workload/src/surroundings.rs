//! The process's environment, and the sources of tokens that it offers.

use super::source::Source;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The environment variables, read once.
#[derive(Clone, Default)]
pub struct Surroundings {
    variables: BTreeMap<String, String>,
}

impl Surroundings {
    /// Returns the variables of this process. Those that are not valid UTF-8 are ignored.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// Returns a variable. An empty one is treated as not set.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Returns where a settings file may be, in order of preference, and whether the first must exist.
    pub(super) fn settings_files(&self) -> (Vec<PathBuf>, bool) {
        if let Some(path) = self.variable(SETTINGS) {
            return (vec![path.into()], true);
        }
        let of_user = match (self.variable("XDG_CONFIG_HOME"), self.variable("HOME")) {
            (Some(config), _) => Some(Path::new(config).join(USER_FILE)),
            (None, Some(home)) => Some(Path::new(home).join(".config").join(USER_FILE)),
            (None, None) => None,
        };
        (
            of_user.into_iter().chain([PathBuf::from(SYSTEM_FILE)]).collect(),
            false,
        )
    }

    /// Returns the Workload API's address.
    pub(super) fn endpoint_socket(&self) -> Option<&str> {
        self.variable("SPIFFE_ENDPOINT_SOCKET")
    }

    /// Returns the sources that the environment offers. Those that were set up for this purpose come first.
    pub(super) fn sources(&self) -> Vec<Source> {
        let named = self
            .variable(TOKEN_FILE)
            .map(|path| Source::TokenFile(path.into()));
        let github = (self.variable(GITHUB_URL).is_some() && self.variable(GITHUB_TOKEN).is_some())
            .then_some(Source::GithubActions);
        let projected = Path::new(PROJECTED)
            .is_file()
            .then(|| Source::TokenFile(PROJECTED.into()));
        let svid = self.endpoint_socket().map(|address| Source::WorkloadApi {
            address: address.to_owned(),
            spiffe_id: None,
        });
        named
            .into_iter()
            .chain(self.gitlab())
            .chain(github)
            .chain(projected)
            .chain(svid)
            .collect()
    }

    /// GitLab's users choose the names of the variables, so every variable with a JWT is a source.
    fn gitlab(&self) -> impl Iterator<Item = Source> {
        let in_a_job = self.variable("GITLAB_CI").is_some();
        let tokens = self
            .variables
            .iter()
            .filter(move |(_, value)| in_a_job && value.starts_with("eyJ") && value.split('.').count() == 3);
        tokens.map(|(name, _)| Source::Environment(name.clone()))
    }
}

impl FromIterator<(String, String)> for Surroundings {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self {
            variables: variables.into_iter().collect(),
        }
    }
}

/// Shows only the names, since values may be secret.
impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

/// The variable that names the settings file.
pub(super) const SETTINGS: &str = "WHARFINGER_CREDENTIALS";
const USER_FILE: &str = "wharfinger/credentials.yaml";
const SYSTEM_FILE: &str = "/etc/wharfinger/credentials.yaml";
/// The variables with the URL and the token for requesting ID tokens in GitHub Actions.
pub(super) const GITHUB_URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
pub(super) const GITHUB_TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";
/// The variable that names a token's file.
const TOKEN_FILE: &str = "WHARFINGER_TOKEN_FILE";
/// Where Wharfinger's Kubernetes manifests project a token for the registry.
const PROJECTED: &str = "/var/run/secrets/wharfinger/token";

#[cfg(test)]
mod tests {
    use super::*;

    fn around(variables: &[(&str, &str)]) -> Surroundings {
        variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn each_environment_offers_its_own_source() {
        let jwt = "eyJh.eyJi.c";
        let svid = |address: &str| Source::WorkloadApi {
            address: address.to_owned(),
            spiffe_id: None,
        };
        for (variables, expected) in [
            (&[][..], vec![]),
            (
                &[("SPIFFE_ENDPOINT_SOCKET", "unix:///a")][..],
                vec![svid("unix:///a")],
            ),
            (&[("SPIFFE_ENDPOINT_SOCKET", "")][..], vec![]),
            (
                &[(GITHUB_URL, "u"), (GITHUB_TOKEN, "t")][..],
                vec![Source::GithubActions],
            ),
            (&[(GITHUB_URL, "u")][..], vec![]),
            (
                &[("GITLAB_CI", "true"), ("B", jwt), ("A", jwt), ("C", "eyJno")][..],
                vec![Source::Environment("A".into()), Source::Environment("B".into())],
            ),
            (&[("A", jwt)][..], vec![]),
            (
                &[("SPIFFE_ENDPOINT_SOCKET", "unix:///a"), (TOKEN_FILE, "/t")][..],
                vec![Source::TokenFile("/t".into()), svid("unix:///a")],
            ),
        ] {
            assert_eq!(around(variables).sources(), expected, "{variables:?}");
        }
    }

    #[test]
    fn the_settings_file_is_the_named_one_or_the_users_or_the_systems() {
        assert_eq!(
            around(&[(SETTINGS, "/x"), ("HOME", "/h")]).settings_files(),
            (vec!["/x".into()], true)
        );
        let users = |path: &str| (vec![PathBuf::from(path), SYSTEM_FILE.into()], false);
        assert_eq!(
            around(&[("HOME", "/h")]).settings_files(),
            users("/h/.config/wharfinger/credentials.yaml")
        );
        assert_eq!(
            around(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/c")]).settings_files(),
            users("/c/wharfinger/credentials.yaml")
        );
        assert_eq!(around(&[]).settings_files(), (vec![SYSTEM_FILE.into()], false));
    }

    #[test]
    fn its_values_are_never_shown() {
        assert!(!format!("{:?}", around(&[("A", "hunter2")])).contains("hunter2"));
    }
}
