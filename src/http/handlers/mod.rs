//! One file for each kind of resource. A handler asks policy for a permit before it reads a byte of the body.

pub(super) mod base;
pub(super) mod blobs;
pub(super) mod catalog;
pub(super) mod extensions;
pub(super) mod health;
pub(super) mod jwks;
pub(super) mod manifests;
pub(super) mod metrics;
pub(super) mod referrers;
mod reply;
pub(super) mod tags;
pub(super) mod token;
pub(super) mod uploads;
pub(super) mod welcome;
pub(super) mod whoami;

use super::Stalled;
use super::call::{Call, Unidentified};
use crate::registry::BodyError;
use reply::{
    CHUNK_MIN_LENGTH, CONTENT_DIGEST, OCI_FILTERS_APPLIED, OCI_NAMESPACE, OCI_SUBJECT, OCI_TAG, Reply,
    UPLOAD_UUID,
};

/// The reason why a request's body ended early.
fn broken_off(error: axum::Error) -> BodyError {
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    if causes.into_iter().any(|cause| cause.is::<Stalled>()) {
        BodyError::Stalled
    } else {
        BodyError::Interrupted
    }
}
