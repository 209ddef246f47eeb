//! Why a source does not provide a token.

use super::github;
use wharfinger_base::clock::Timestamp;
use wharfinger_base::file_error::FileError;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error("{place} cannot be read: {why}")]
    Unreadable { place: String, why: FileError },
    #[error("{place} is not set")]
    Unset { place: String },
    #[error("{place} does not hold a JWT: expected three parts joined by dots")]
    NotAToken { place: String },
    #[error("the token of {place} expired at {at}: renew it, and find out why it was not renewed")]
    Expired { place: String, at: Timestamp },
    #[error("the Workload API at {address} gives no JWT-SVID: {why}")]
    WorkloadApi { address: String, why: String },
    #[error("{0:?} is not a SPIFFE ID")]
    SpiffeId(String),
    #[error("GitHub Actions gives no ID token: {0}")]
    GithubActions(github::Error),
}
