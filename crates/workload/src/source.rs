//! The sources of tokens. A token is fetched for each request: tokens live only for minutes, so caching them
//! is not worthwhile.

use std::fmt;
use std::path::PathBuf;

/// One source of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A JWT-SVID from the SPIFFE Workload API. `spiffe_id` chooses one if the workload has several.
    WorkloadApi {
        address: String,
        spiffe_id: Option<String>,
    },
    /// An ID token of GitHub Actions, or of Forgejo Actions, which uses the same protocol.
    GithubActions,
    /// A file that another program keeps fresh, such as the kubelet's projected token.
    TokenFile(PathBuf),
    /// An environment variable, such as those of GitLab CI's `id_tokens`.
    Environment(String),
}

impl Source {
    /// Whether the source makes a token for the requested audience. The other sources have a token whose
    /// audience is fixed.
    pub(super) const fn chooses_audience(&self) -> bool {
        matches!(self, Self::WorkloadApi { .. } | Self::GithubActions)
    }

    /// Returns what holds the token, for messages.
    pub(super) fn holder(&self) -> String {
        match self {
            Self::Environment(name) => name.clone(),
            Self::TokenFile(path) => path.display().to_string(),
            Self::WorkloadApi { .. } | Self::GithubActions => self.to_string(),
        }
    }
}

/// Shows the source for messages.
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
