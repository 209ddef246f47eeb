//! Why a registry gets no token, for the person at the client. Clients continue without one.

use super::host::RegistryHost;
use super::printable;
use super::source::Source;
use super::source_error::SourceError;
use std::fmt;
use std::path::PathBuf;

/// A token that was withheld. The message never contains the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// The token is for another registry, and the recipient could log in there. `setting` is the kubelet's
    /// setting for the audience.
    Audience {
        holder: String,
        found: Vec<String>,
        expected: String,
        setting: Option<&'static str>,
    },
    /// The settings file names this host with another port or scheme.
    Settings {
        file: PathBuf,
        named: RegistryHost,
        host: RegistryHost,
    },
    /// The settings file names other registries only.
    NotInSettings { file: PathBuf, host: RegistryHost },
    /// No configuration says that this registry should get a token, so none was fetched.
    NotConfigured { source: Source, host: RegistryHost },
    /// The source cannot be used.
    Unusable { host: RegistryHost, why: SourceError },
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Audience {
                holder,
                found,
                expected,
                setting,
            } => {
                write!(
                    f,
                    "the token in {holder} is for {}, not for {expected}; ",
                    Audiences(found)
                )?;
                match setting {
                    Some(setting) => write!(f, "set {setting} to {expected}")?,
                    None => write!(f, "request it with the audience {expected}")?,
                }
                f.write_str(", or name the registry in the settings file")
            }
            Self::Settings { file, named, host } => {
                write!(
                    f,
                    "no token for {host}: {} names {named}, not {host}; name {host} there",
                    file.display()
                )
            }
            Self::NotInSettings { file, host } => write!(
                f,
                "no token for {host}: {} does not name it; name it there",
                file.display()
            ),
            Self::NotConfigured { source, host } => write!(
                f,
                "no token for {host}: none was requested from {source}, since the registry is not configured; name it in the settings file, \
                 in credHelpers of the client's configuration, or in {}",
                super::clients::REGISTRIES
            ),
            Self::Unusable { host, why } => write!(f, "no token for {host}: {why}"),
        }
    }
}

impl std::error::Error for Withheld {}

/// Shows the audiences of a token. The token's author chose them, so their number and length are limited.
#[derive(Debug)]
pub struct Audiences<'a>(pub &'a [String]);

impl fmt::Display for Audiences<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<_> = self
            .0
            .iter()
            .take(SHOWN)
            .map(|audience| printable(&audience.chars().take(LENGTH).collect::<String>()))
            .collect();
        match (shown.as_slice(), self.0.len().saturating_sub(SHOWN)) {
            ([], _) => f.write_str("no audience"),
            (shown, 0) => f.write_str(&shown.join(", ")),
            (shown, more) => write!(f, "{} and {more} more", shown.join(", ")),
        }
    }
}

const SHOWN: usize = 4;
const LENGTH: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokens_audiences_are_shown_in_bounds_and_without_control_characters() {
        let many: Vec<String> = (0..9).map(|n| format!("a{n}")).collect();
        for (found, shown) in [
            (vec![], "no audience".to_owned()),
            (
                vec!["a\u{1b}[2J".to_owned(), "b".to_owned()],
                "a\\u{1b}[2J, b".to_owned(),
            ),
            (vec!["x".repeat(9000)], "x".repeat(200)),
            (many, "a0, a1, a2, a3 and 5 more".to_owned()),
        ] {
            assert_eq!(Audiences(&found).to_string(), shown);
        }
    }
}
