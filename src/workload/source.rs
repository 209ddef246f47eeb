//! Where a token comes from. Each is asked anew every time: a token that lives for minutes is not worth
//! keeping.

use std::fmt;
use std::path::PathBuf;

/// One source of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A JWT-SVID from the SPIFFE Workload API, of this identity if the workload has several.
    WorkloadApi {
        address: String,
        spiffe_id: Option<String>,
    },
    /// An ID token of GitHub Actions, or of Forgejo Actions, which speaks the same protocol.
    GithubActions,
    /// A file that somebody keeps fresh, such as the kubelet's projected token.
    TokenFile(PathBuf),
    /// A variable of the environment, as GitLab CI's `id_tokens` sets them.
    Environment(String),
}

impl Source {
    /// Whether it makes a token for the audience that it is asked for. The others hold one whose audience is
    /// already chosen.
    pub(super) const fn chooses_audience(&self) -> bool {
        matches!(self, Self::WorkloadApi { .. } | Self::GithubActions)
    }

    /// What holds the token, as a person would look it up.
    pub(super) fn holder(&self) -> String {
        match self {
            Self::Environment(name) => name.clone(),
            Self::TokenFile(path) => path.display().to_string(),
            Self::WorkloadApi { .. } | Self::GithubActions => self.to_string(),
        }
    }
}

/// Where it is, for people.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WorkloadApi { address, .. } => write!(f, "the Workload API at {address}"),
            Self::GithubActions => f.write_str("GitHub Actions"),
            Self::TokenFile(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "variable {name}"),
        }
    }
}
