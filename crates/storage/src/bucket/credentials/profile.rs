//! The profile files of the AWS SDKs: `~/.aws/credentials` with the keys, and `~/.aws/config` with the rest.
//!
//! <https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>

use super::environment::Environment;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use wharfinger_base::file_error::FileError;

/// The settings of one profile, from both files.
#[derive(Default)]
pub(super) struct Profile {
    /// Which profile of which files this is, for messages.
    pub(super) name: String,
    settings: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::bucket) enum ProfileError {
    #[error("the profile file {path} ({variable}) cannot be read: {why}")]
    Unreadable {
        path: String,
        variable: &'static str,
        why: FileError,
    },
    #[error(
        "line {line} of the profile file {path} is neither `[profile]`, `name = value` nor a comment: correct it"
    )]
    Line { path: String, line: usize },
    #[error("AWS_PROFILE names the profile {name:?}, which is in none of the files {files}")]
    Missing { name: String, files: String },
    #[error("{profile} sets {found} without {missing}: set both")]
    Half {
        profile: String,
        found: &'static str,
        missing: &'static str,
    },
    #[error("{profile} sets {key}, which is not supported: {instead}")]
    Unsupported {
        profile: String,
        key: &'static str,
        instead: &'static str,
    },
}

impl Profile {
    /// Reads the profile that the environment chooses. `None` if it chooses none and there is no default one.
    pub(super) fn read(environment: &Environment) -> Result<Option<Self>, ProfileError> {
        let chosen = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]
            .into_iter()
            .find_map(|variable| environment.variable(variable));
        let name = chosen.unwrap_or("default");
        let files = FILES.map(|(variable, of_user)| File::named(environment, variable, of_user));
        let [config, credentials] = &files;
        let mut settings = BTreeMap::new();
        let mut found = false;
        for (file, prefix) in [(config, "profile "), (credentials, "")] {
            let Some(text) = file.text()? else { continue };
            let sections = sections(&text).map_err(|line| ProfileError::Line {
                path: file.path(),
                line,
            })?;
            let titles = [format!("{prefix}{name}"), name.to_owned()];
            // In the file config, only the default profile may stand without the word.
            let titles = titles
                .iter()
                .filter(|title| prefix.is_empty() || **title != name || name == "default");
            for title in titles {
                let Some(of_file) = sections.get(title.as_str()) else {
                    continue;
                };
                settings.extend(of_file.clone());
                found = true;
            }
        }
        let files = format!("{} and {}", config.path(), credentials.path());
        match (found, chosen) {
            (true, _) => Ok(Some(Self {
                name: format!("the profile {name:?} of {files}"),
                settings,
            })),
            (false, None) => Ok(None),
            (false, Some(_)) => Err(ProfileError::Missing {
                name: name.to_owned(),
                files,
            }),
        }
    }

    pub(super) fn setting(&self, key: &str) -> Option<&str> {
        self.settings
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Fails if the profile says how to get keys in a way that is not supported.
    pub(super) fn check_supported(&self) -> Result<(), ProfileError> {
        let unsupported = UNSUPPORTED.iter().find(|(key, _)| self.setting(key).is_some());
        match unsupported {
            None => Ok(()),
            Some((key, instead)) => Err(ProfileError::Unsupported {
                profile: self.name.clone(),
                key,
                instead,
            }),
        }
    }
}

/// A profile file.
struct File {
    variable: &'static str,
    /// `None` without a home folder.
    path: Option<PathBuf>,
    /// Whether the environment names it. It must exist then.
    named: bool,
}

impl File {
    fn named(environment: &Environment, variable: &'static str, of_user: &str) -> Self {
        let named = environment.path(variable);
        Self {
            variable,
            named: named.is_some(),
            path: named.or_else(|| Some(environment.path("HOME")?.join(of_user))),
        }
    }

    fn path(&self) -> String {
        let path = self.path.as_deref().unwrap_or(Path::new(self.variable));
        path.display().to_string()
    }

    fn text(&self) -> Result<Option<String>, ProfileError> {
        let Some(path) = &self.path else { return Ok(None) };
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            // A user without a folder ~/.aws is usual. In a container its parent may not be readable either.
            Err(_) if !self.named && !path.is_file() => Ok(None),
            Err(why) => Err(ProfileError::Unreadable {
                path: self.path(),
                variable: self.variable,
                why: FileError::new(path, &why),
            }),
        }
    }
}

type Sections = BTreeMap<String, BTreeMap<String, String>>;

/// Returns the settings by the title of their section, or the number of the line that is not understood.
fn sections(text: &str) -> Result<Sections, usize> {
    let mut sections = Sections::new();
    let mut title = None;
    for (number, line) in (1_usize..).zip(text.lines()) {
        let content = without_comment(line);
        // An indented line belongs to the setting before it. No setting that is read here has such lines.
        let belongs_to_a_setting = line.starts_with([' ', '\t']) && title.is_some();
        if content.is_empty() || belongs_to_a_setting {
            continue;
        }
        if let Some(inner) = content.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(number)?;
            let words: Vec<_> = inner.split_whitespace().collect();
            let words = words.join(" ");
            sections.entry(words.clone()).or_default();
            title = Some(words);
            continue;
        }
        let (key, value) = content.split_once('=').ok_or(number)?;
        let section = title.as_ref().and_then(|title| sections.get_mut(title));
        section
            .ok_or(number)?
            .insert(key.trim().to_lowercase(), value.trim().to_owned());
    }
    Ok(sections)
}

/// A comment begins the line, or follows a space.
fn without_comment(line: &str) -> &str {
    let line = line.trim();
    if line.starts_with(['#', ';']) {
        return "";
    }
    let ends = [" #", " ;", "\t#", "\t;"].map(|mark| line.find(mark));
    let end = ends.into_iter().flatten().min().unwrap_or(line.len());
    line.get(..end).unwrap_or(line).trim_end()
}

/// The variables that name the files, and where the files are otherwise. The later one has precedence.
const FILES: [(&str, &str); 2] = [
    ("AWS_CONFIG_FILE", ".aws/config"),
    ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"),
];

/// How else a profile may say where keys come from, and what to use instead.
const UNSUPPORTED: &[(&str, &str)] = &[
    (
        "credential_process",
        "run the program yourself and write its keys to a profile, or use a web identity",
    ),
    ("sso_session", LOGIN),
    ("sso_start_url", LOGIN),
    ("login_session", LOGIN),
    (
        "source_profile",
        "give the registry keys of its own, or use a web identity for the role",
    ),
    (
        "credential_source",
        "remove it: without it, the role of the container or the instance is used",
    ),
];
const LOGIN: &str =
    "a person's sign-in is not for a server. Use a web identity, the role of the instance or keys";

#[cfg(test)]
mod tests {
    use super::*;

    /// The files, and the environment that names them.
    struct Home {
        folder: tempfile::TempDir,
    }

    impl Home {
        fn new(config: &str, credentials: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let aws = folder.path().join(".aws");
            std::fs::create_dir(&aws).unwrap();
            std::fs::write(aws.join("config"), config).unwrap();
            std::fs::write(aws.join("credentials"), credentials).unwrap();
            Self { folder }
        }

        fn read(&self, profile: Option<&str>) -> Result<Option<Profile>, ProfileError> {
            let home = self.folder.path().to_str().unwrap();
            let variables = [("HOME", home), ("AWS_PROFILE", profile.unwrap_or_default())];
            Profile::read(&variables.into())
        }
    }

    #[test]
    fn the_chosen_profile_is_read_from_both_files() {
        let home = Home::new(
            "# comment\n[default]\nregion = eu-west-1 # near\n\n[profile ci]\nregion=us-west-2\n[other]\nregion=x\n\
             [profile  spaced]\nregion=y\n",
            "[default]\naws_access_key_id = AKID\naws_secret_access_key = se/cr+et=\n; comment\n\
             [ci]\nAWS_ACCESS_KEY_ID=CI\nregion = over\n s3 =\n  nested = 1\n",
        );
        for (profile, key, expected) in [
            (None, "region", Some("eu-west-1")),
            (None, "aws_access_key_id", Some("AKID")),
            (None, "aws_secret_access_key", Some("se/cr+et=")),
            (None, "aws_session_token", None),
            (Some("ci"), "aws_access_key_id", Some("CI")),
            (Some("ci"), "region", Some("over")),
            (Some("ci"), "nested", None),
            (Some("spaced"), "region", Some("y")),
        ] {
            let found = home.read(profile).unwrap().unwrap();
            assert_eq!(found.setting(key), expected, "{profile:?} {key}");
        }
        let missing = home.read(Some("other")).map(|_| ()).unwrap_err().to_string();
        assert!(
            missing.contains("\"other\"") && missing.contains(".aws/config"),
            "{missing}"
        );
    }

    #[test]
    fn no_file_is_needed_unless_the_environment_names_one() {
        let empty = tempfile::tempdir().unwrap();
        let home = empty.path().to_str().unwrap();
        assert!(Profile::read(&[("HOME", home)].into()).unwrap().is_none());
        assert!(Profile::read(&Environment::default()).unwrap().is_none());
        let named = [("AWS_SHARED_CREDENTIALS_FILE", "/nowhere/keys")];
        let why = Profile::read(&named.into()).map(|_| ()).unwrap_err().to_string();
        assert!(
            why.contains("/nowhere/keys") && why.contains("AWS_SHARED_CREDENTIALS_FILE"),
            "{why}"
        );
    }

    #[test]
    fn a_line_that_is_not_understood_is_named_and_not_shown() {
        for text in [
            "[default]\nsecret-without-equals\n",
            "[default\nx=1\n",
            "x = secret\n",
        ] {
            let why = Home::new("", text).read(None).map(|_| ()).unwrap_err();
            let text = why.to_string();
            assert!(text.contains("line ") && text.contains("credentials"), "{text}");
            assert!(!text.contains("secret-") && !text.contains("x ="), "{text}");
        }
    }

    #[test]
    fn what_is_not_supported_is_named_with_what_to_use_instead() {
        for (key, _) in UNSUPPORTED {
            let home = Home::new(&format!("[default]\n{key} = something\n"), "");
            let profile = home.read(None).unwrap().unwrap();
            let why = profile.check_supported().unwrap_err().to_string();
            assert!(why.contains(key) && why.contains("not supported"), "{why}");
        }
        let home = Home::new("[default]\nregion = x\n", "");
        assert_eq!(home.read(None).unwrap().unwrap().check_supported(), Ok(()));
    }
}
