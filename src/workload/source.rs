//! Where a token comes from. Each is asked anew every time: a token that lives for minutes is not worth
//! keeping.

use super::github;
use super::surroundings::Surroundings;
use super::token::Token;
use crate::clock::Timestamp;
use crate::file_error::FileError;
use spiffe::{SpiffeId, WorkloadApiClient};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

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

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error("{place} cannot be read: {why}")]
    Unreadable { place: String, why: FileError },
    #[error("{place} is not set")]
    Unset { place: String },
    #[error("{place} holds no JWT: expected three parts joined by dots")]
    NotAToken { place: String },
    #[error("the token of {place} expired at {at}: renew it, and look why nothing has")]
    Expired { place: String, at: Timestamp },
    #[error("the Workload API at {address} gives no JWT-SVID: {why}")]
    WorkloadApi { address: String, why: String },
    #[error("{0:?} is no SPIFFE ID")]
    SpiffeId(String),
    #[error("GitHub Actions gives no ID token: {0}")]
    GithubActions(github::Error),
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

    /// May have expired.
    pub(super) async fn token(&self, audience: &str, around: &Surroundings) -> Result<Token, SourceError> {
        let place = self.to_string();
        let text = match self {
            Self::WorkloadApi { address, spiffe_id } => {
                jwt_svid(address, spiffe_id.as_deref(), audience).await?
            }
            Self::GithubActions => github::id_token(around, audience)
                .await
                .map_err(SourceError::GithubActions)?,
            Self::TokenFile(path) => {
                let unreadable = |why| SourceError::Unreadable {
                    place: place.clone(),
                    why: FileError::new(path, &why),
                };
                tokio::fs::read_to_string(path).await.map_err(unreadable)?
            }
            Self::Environment(name) => around
                .variable(name)
                .ok_or_else(|| SourceError::Unset { place: place.clone() })?
                .to_owned(),
        };
        Token::read(&text, &place)
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

async fn jwt_svid(address: &str, spiffe_id: Option<&str>, audience: &str) -> Result<String, SourceError> {
    let failed = |why: String| SourceError::WorkloadApi {
        address: address.to_owned(),
        why,
    };
    let id = spiffe_id
        .map(|id| SpiffeId::new(id).map_err(|_| SourceError::SpiffeId(id.to_owned())))
        .transpose()?;
    let fetching = async {
        let client = WorkloadApiClient::connect_to(address).await?;
        client.fetch_jwt_token([audience], id.as_ref()).await
    };
    match tokio::time::timeout(PATIENCE, fetching).await {
        Ok(Ok(token)) => Ok(token),
        Ok(Err(why)) => Err(failed(format!("{why}; is this workload registered there?"))),
        Err(_) => Err(failed(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

/// Somebody waits for their pull.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
