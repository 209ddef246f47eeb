//! Errors of the registry, its storage and its memory.

use super::{Fault, RETRY_SECONDS};
use crate::budget::Exhausted;
use crate::http::upload_range::stands_at;
use crate::limits::MANIFEST_BYTES;
use crate::oci::{Digest, ErrorCode};
use crate::registry;
use crate::storage;
use http::StatusCode;
use http::header::{ALLOW, CONTENT_RANGE, ETAG, RANGE, RETRY_AFTER};
use serde_json::json;

impl Fault {
    /// Reports an error for each of the first digests, and one with the number of the others.
    fn missing(mut self, digests: &[Digest]) -> Self {
        let named = digests.iter().take(registry::NAMED_DIGESTS);
        self.details.extend(named.map(|digest| {
            let message =
                format!("the manifest needs {digest}, which this repository does not hold: push it first");
            (Some(message), json!({"digest": digest.as_str()}))
        }));
        if let more @ 1.. = digests.len().saturating_sub(registry::NAMED_DIGESTS) {
            self.details.push((
                Some(format!("and {more} more are missing")),
                json!({"more": more}),
            ));
        }
        self
    }

    /// The request's body ended early.
    pub(in crate::http) fn broken_off(why: registry::BodyError) -> Self {
        registry::Error::from(why).into()
    }

    pub(in crate::http) fn manifest_too_large() -> Self {
        registry::Error::TooLarge.into()
    }

    pub(in crate::http) fn upload_unknown() -> Self {
        registry::Error::UploadUnknown.into()
    }

    pub(in crate::http) fn range_not_satisfiable(size: u64) -> Self {
        Self::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            ErrorCode::SizeInvalid,
            "the range is outside the blob",
        )
        .detail(json!({"size": size}))
        .header(CONTENT_RANGE, &format!("bytes */{size}"))
    }

    pub(in crate::http) fn too_many_tags(most: usize) -> Self {
        let message = format!("a manifest can be pushed with at most {most} tags at once");
        Self::new(StatusCode::URI_TOO_LONG, ErrorCode::ManifestInvalid, message)
    }

    pub(in crate::http) fn tag_in_path_and_query() -> Self {
        let message = "?tag= goes with a digest in the path, not with a tag";
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::ManifestInvalid, message)
    }

    pub(in crate::http) fn missing_digest() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::DigestInvalid,
            "close an upload with ?digest=<digest of the whole content>",
        )
    }
}

impl From<registry::Error> for Fault {
    fn from(error: registry::Error) -> Self {
        use registry::Error::*;
        let (status, code) = match &error {
            BlobUnknown => (StatusCode::NOT_FOUND, ErrorCode::BlobUnknown),
            UploadUnknown => (StatusCode::NOT_FOUND, ErrorCode::BlobUploadUnknown),
            UploadBusy | UploadTakenOver { .. } | RangeMismatch { .. } => {
                (StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::BlobUploadInvalid)
            }
            TooManyUploads { .. } | TooManyRepositories { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests)
            }
            SizeMismatch => (StatusCode::BAD_REQUEST, ErrorCode::SizeInvalid),
            DigestMismatch { .. } => (StatusCode::BAD_REQUEST, ErrorCode::DigestInvalid),
            ManifestUnknown => (StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown),
            RepositoryUnknown => (StatusCode::NOT_FOUND, ErrorCode::NameUnknown),
            InvalidManifest(_) => (StatusCode::BAD_REQUEST, ErrorCode::ManifestInvalid),
            MissingReferences(_) => (StatusCode::NOT_FOUND, ErrorCode::ManifestBlobUnknown),
            TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::SizeInvalid),
            TagExists | TagMissing | TagImmutable(_) | QuotaExceeded(_) => {
                (StatusCode::FORBIDDEN, ErrorCode::Denied)
            }
            ConditionFailed { .. } => (StatusCode::PRECONDITION_FAILED, ErrorCode::Denied),
            Referenced | Undecided { .. } | Listed { .. } | MayBeListed { .. } => {
                (StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Denied)
            }
            // As in zot.
            SeveralTags => (StatusCode::CONFLICT, ErrorCode::ManifestInvalid),
            Interrupted => (StatusCode::BAD_REQUEST, ErrorCode::BlobUploadInvalid),
            BlobDamaged(_) | Unreadable { .. } | Unread { .. } | Scratch { .. } => {
                return Self::new(StatusCode::INTERNAL_SERVER_ERROR, None, error.to_string()).log(&error);
            }
            Internal => return Self::new(StatusCode::INTERNAL_SERVER_ERROR, None, error.to_string()),
            Stalled => (StatusCode::REQUEST_TIMEOUT, ErrorCode::BlobUploadInvalid),
            Storage(failure) => return storage_failed(failure),
        };
        let fault = Self::new(status, code, error.to_string());
        match error {
            UploadTakenOver { offset } | RangeMismatch { offset } => fault
                .header(RANGE, &stands_at(offset))
                .detail(json!({"offset": offset})),
            TooManyUploads { most } => fault.header(RETRY_AFTER, RETRY_SECONDS).log(format_args!(
                "the caller has {most} open uploads, which is the limit (http.openUploads)"
            )),
            DigestMismatch { expected, found } => {
                fault.detail(json!({"expected": expected.as_str(), "found": found.as_str()}))
            }
            MissingReferences(digests) => fault.missing(&digests),
            TooManyRepositories { most } => fault.detail(json!({"limit": most})),
            QuotaExceeded(quota) => fault
                .for_everybody()
                .log(format_args!(
                    "the quota {} is used up (storage.quotas)",
                    quota.quota
                ))
                .detail(json!({
                    "quota": quota.quota,
                    "used": quota.used,
                    "allowed": quota.allowed,
                    "needed": quota.needed,
                })),
            TagImmutable(rule) => fault.detail(json!({
                "tag": rule.tag.as_str(),
                "pattern": rule.pattern,
                "repositories": rule.repositories,
            })),
            ConditionFailed { found: Some(found) } => fault
                .header(ETAG, &format!("\"{found}\""))
                .detail(json!({"found": found.as_str()})),
            TooLarge => fault.detail(json!({"limit": MANIFEST_BYTES})),
            Referenced => fault.header(ALLOW, "GET, HEAD"),
            Undecided { manifest } => fault
                .header(ALLOW, "GET, HEAD")
                .detail(json!({"manifest": manifest.as_str()})),
            Listed { index } | MayBeListed { index } => fault
                .header(ALLOW, "GET, HEAD, PUT")
                .detail(json!({"index": index.as_str()})),
            _ => fault,
        }
    }
}

fn storage_failed(failure: &storage::Failure) -> Fault {
    let (status, message) = match failure {
        storage::Failure::Conflict => (
            StatusCode::SERVICE_UNAVAILABLE,
            "another request is changing the same content: try again",
        ),
        storage::Failure::Busy => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the registry's storage is busy: try again",
        ),
        storage::Failure::Full => (
            StatusCode::INSUFFICIENT_STORAGE,
            "the registry's storage is full: nothing was stored",
        ),
        lacks if lacks.lacks_descriptors() => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the registry has no file descriptors left: try again",
        ),
        storage::Failure::LogHeld => (
            StatusCode::INSUFFICIENT_STORAGE,
            "nothing was stored: another program keeps reading the registry's records.sqlite3, and the log of changes has become too large",
        ),
        storage::Failure::Missing
        | storage::Failure::Lost { .. }
        | storage::Failure::NotWritable { .. }
        | storage::Failure::Io(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "the registry's storage failed: its log has the reason",
        ),
        storage::Failure::Stopped => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the registry's storage accepts no changes until the registry is restarted",
        ),
        storage::Failure::Barred(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "this replica of the registry makes no changes now: its log has the reason",
        ),
    };
    let fault = Fault::new(status, None, message).log(failure);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        fault.header(RETRY_AFTER, RETRY_SECONDS)
    } else {
        fault
    }
}

impl From<Exhausted> for Fault {
    fn from(exhausted: Exhausted) -> Self {
        let message =
            "the registry has no memory for this request now, because too many are in progress: try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, None, message)
            .log(exhausted)
            .header(RETRY_AFTER, RETRY_SECONDS)
    }
}
