//! The settings of a bucket.

use super::web_identity::WebIdentity;
use std::fmt;
use std::path::PathBuf;
use wharfinger_base::secret::Secret;

/// A bucket and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub provider: Provider,
    /// The name of the bucket.
    pub bucket: String,
    /// A prefix of all keys, without a slash at its ends. Empty for none.
    pub root: String,
    pub region: Option<String>,
    /// The URL of the service. `None` for the provider's own.
    pub endpoint: Option<String>,
    /// Whether the bucket is part of the path (`https://host/bucket/key`) and not of the host name.
    pub path_style: bool,
    pub tls: Tls,
    pub parts: Parts,
    /// For S3. The others have theirs in [`Provider`].
    pub credentials: Credentials,
}

/// Names the bucket as its users do, such as `s3://bucket/root`.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match &self.provider {
            Provider::S3 => "s3",
            Provider::Gcs { .. } => "gs",
            Provider::Azure { .. } => "az",
        };
        write!(f, "{scheme}://{}", self.bucket)?;
        match self.root.as_str() {
            "" => Ok(()),
            root => write!(f, "/{root}"),
        }
    }
}

/// The service that stores the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Amazon S3, or a service with the same API.
    S3,
    /// Google Cloud Storage, with the file of a service account's key.
    Gcs { key_file: Option<PathBuf> },
    /// Azure Blob Storage. The bucket is a container.
    Azure { account: String, key: Option<Secret> },
}

/// How the connection is protected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Whether plain HTTP is allowed.
    pub plain: bool,
    /// Whether any certificate is accepted.
    pub skip_verify: bool,
    /// A PEM file with further authorities.
    pub authorities: Option<PathBuf>,
}

/// How the bytes of blobs are cut for the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// The memory for the parts that are received or sent, in bytes, for all uploads of the process. At least
    /// 64 MiB, the size of the largest part.
    pub memory: u64,
    /// Whether the service wants all parts of a blob but the last to have one size, as Cloudflare R2 does.
    pub equal: bool,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            equal: false,
        }
    }
}

/// Where the credentials come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    Given {
        access_key: String,
        secret_key: Secret,
        session_token: Option<Secret>,
    },
    /// A token of the workload is exchanged for keys.
    WebIdentity(WebIdentity),
    /// In the environment, in a profile file, from a web identity, or from the instance.
    Found,
}
