//! The settings of a web identity: a token of the workload, which STS exchanges for short-lived keys.

use futures_util::future::BoxFuture;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use wharfinger_base::secret::Secret;

/// A role that is assumed with a token, so that the registry needs no secret of the cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebIdentity {
    /// The role's name, such as `arn:aws:iam::123456789012:role/registry`.
    pub role: String,
    /// What the cloud's audit log calls the session. `None` for `wharfinger`.
    pub session_name: Option<String>,
    /// The URL of STS. `None` for the one of the bucket's region at Amazon.
    pub sts_endpoint: Option<String>,
    pub token: TokenSource,
}

/// Where the token comes from. It is fetched again for each exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// A file that another program keeps fresh, such as the kubelet's projected token.
    File(PathBuf),
    Fetched(TokenFetcher),
}

/// Fetches a token from a source that this crate does not know.
#[derive(Clone)]
pub struct TokenFetcher {
    name: String,
    fetch: Arc<Fetch>,
}

type Fetch = dyn Fn() -> BoxFuture<'static, Result<Secret, FetchError>> + Send + Sync;

/// Why there is no token. Its text is logged, so it must not contain one.
pub type FetchError = Box<dyn std::error::Error + Send + Sync>;

impl TokenFetcher {
    /// `name` names the source in messages. Two fetchers with the same name are equal.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        fetch: impl Fn() -> BoxFuture<'static, Result<Secret, FetchError>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            fetch: Arc::new(fetch),
        }
    }

    pub(super) fn fetch(&self) -> BoxFuture<'static, Result<Secret, FetchError>> {
        (self.fetch)()
    }
}

impl PartialEq for TokenFetcher {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for TokenFetcher {}

impl fmt::Debug for TokenFetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenFetcher({})", self.name)
    }
}

impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Fetched(fetcher) => f.write_str(&fetcher.name),
        }
    }
}
