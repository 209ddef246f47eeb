//! Why a bucket has no keys.

use super::exchange::{ExchangeError, StsSetupError};
use super::profile::ProfileError;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::bucket) enum KeysError {
    #[error("{found} is set without {missing}: set both")]
    Half {
        found: &'static str,
        missing: &'static str,
    },
    #[error(transparent)]
    Profile(#[from] ProfileError),
    #[error(transparent)]
    Sts(#[from] StsSetupError),
    #[error(transparent)]
    Exchange(ExchangeError),
    #[error(
        "the bucket is not at Amazon, so the URL of its STS must be set in webidentity.stsendpoint or \
         AWS_ENDPOINT_URL_STS"
    )]
    NoSts,
    #[error(
        "AWS_CONTAINER_CREDENTIALS_FULL_URI must be an https URL, or an http URL on this machine: the container's \
         token is sent there"
    )]
    NotLocal,
    #[error("the role of this container gives no keys: {why}")]
    Container { why: String },
    #[error(
        "there are no keys for the bucket. The configuration, AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE and a \
         profile file name none, and {why}"
    )]
    None { why: String },
}
