//! Fetches a token from a source.

use super::github;
use super::source::Source;
use super::source_error::SourceError;
use super::surroundings::Surroundings;
use super::token::Token;
use spiffe::{SpiffeId, WorkloadApiClient};
use std::time::Duration;
use wharfinger_base::file_error::FileError;

impl Source {
    /// Fetches a token. It may have expired.
    pub(super) async fn token(&self, audience: &str, around: &Surroundings) -> Result<Token, SourceError> {
        let place = self.to_string();
        let text = match self {
            Self::WorkloadApi { address, spiffe_id } => {
                jwt_svid(address, spiffe_id.as_deref(), audience).await?
            }
            Self::GithubActions => github::id_token(around, audience, PATIENCE)
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

/// A person may be waiting for a pull.
const PATIENCE: Duration = Duration::from_secs(10);
