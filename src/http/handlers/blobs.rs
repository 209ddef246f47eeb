//! `/v2/<name>/blobs/<digest>` (distribution-spec, Pulling blobs, Deleting Blobs; RFC 9110, 14 for ranges).

use super::{CONTENT_DIGEST, Call, OCI_NAMESPACE, Reply};
use crate::access::Create;
use crate::http::Connection;
use crate::http::download::Download;
use crate::http::fault::Fault;
use crate::oci::{ByteRange, Digest, RangeRequest, RepositoryName};
use crate::secret::Secret;
use crate::storage::BlobFile;
use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, LOCATION, RANGE,
};
use http::{Method, StatusCode, Version};

pub(in crate::http) async fn answer(
    call: &Call,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Response, Fault> {
    match call.parts.method {
        Method::DELETE => {
            call.app
                .registry
                .delete_blob(&call.permit(repository)?, digest)
                .await?;
            Ok(Reply::new(StatusCode::ACCEPTED).empty())
        }
        _ => pull(call, repository, digest).await,
    }
}

async fn pull(call: &Call, repository: &RepositoryName, digest: &Digest) -> Result<Response, Fault> {
    let registry = &call.app.registry;
    let permit = call.permit(repository)?;
    let head = call.parts.method == Method::HEAD;
    let (size, file) = match call.permit::<Create>(repository) {
        Ok(create) if head => (registry.keep_blob(&permit, &create, digest).await?, None),
        _ if head => (registry.blob(&permit, digest).await?.size, None),
        _ => {
            // A redirect needs no bytes.
            let is_sent = !call.has(digest)? && call.live.redirects.is_none();
            let first = if is_sent { first(call) } else { None };
            let blob = registry.pull_blob(&permit, digest, first).await?;
            (blob.size, Some(blob.file))
        }
    };
    let etag = format!("\"{digest}\"");
    let reply = |status| {
        Reply::new(status)
            .header(CONTENT_DIGEST, digest.as_str())
            .header(ETAG, &etag)
            .header(ACCEPT_RANGES, "bytes")
            .header_if(OCI_NAMESPACE, call.namespace())
    };
    if call.has(digest)? {
        return Ok(reply(StatusCode::NOT_MODIFIED).empty());
    }
    let (status, first, length) = match range(call, &etag, size) {
        RangeRequest::Whole => (StatusCode::OK, 0, size),
        RangeRequest::Part(range) => (StatusCode::PARTIAL_CONTENT, range.start, range.len()),
        RangeRequest::Unsatisfiable => return Err(Fault::range_not_satisfiable(size)),
    };
    if let Some(file) = file.as_ref().filter(|_| status == StatusCode::OK)
        && let Some(url) = redirect(call, &**file).await
    {
        return Ok(reply(StatusCode::TEMPORARY_REDIRECT)
            .header(LOCATION, url.expose())
            .empty());
    }
    let part = (status == StatusCode::PARTIAL_CONTENT).then(|| {
        let ByteRange { start, end } = ByteRange {
            start: first,
            end: first + length - 1,
        };
        format!("bytes {start}-{end}/{size}")
    });
    let reply = reply(status)
        .header(CONTENT_TYPE, "application/octet-stream")
        .header(CONTENT_LENGTH, length.to_string())
        .header_if(CONTENT_RANGE, part);
    match file {
        Some(file) if length > 0 => {
            let more = call
                .parts
                .extensions
                .get::<Connection>()
                .map(|connection| connection.more.clone())
                .unwrap_or_default();
            let download = Download::new(digest, file, first, length, more);
            let shared = call.parts.version > Version::HTTP_11;
            Ok(reply.body(Body::new(if shared { download.shared() } else { download })))
        }
        _ => Ok(reply.empty()),
    }
}

/// Where the answer will begin, as far as that is known without the blob's size.
fn first(call: &Call) -> Option<u64> {
    match RangeRequest::parse(call.header(RANGE), u64::MAX) {
        RangeRequest::Whole => Some(0),
        RangeRequest::Part(range) => Some(range.start),
        RangeRequest::Unsatisfiable => None,
    }
}

/// The URL of the store to which the client is sent for a whole blob. If the store cannot sign one, the registry
/// sends the blob itself.
async fn redirect(call: &Call, file: &dyn BlobFile) -> Option<Secret> {
    let redirects = call.live.redirects?;
    if file.size() < redirects.min_size {
        return None;
    }
    match file.url(redirects.lifetime).await {
        Ok(url) => url,
        Err(why) => {
            tracing::warn!("cannot redirect a download to the bucket, so the registry sends the blob: {why}");
            None
        }
    }
}

/// `Range` applies only to a GET, and only if `If-Range` names this content (RFC 9110, 13.1.5).
fn range(call: &Call, etag: &str, size: u64) -> RangeRequest {
    let other = call.header(IF_RANGE).is_some_and(|validator| validator != etag);
    if call.parts.method == Method::HEAD || other {
        return RangeRequest::Whole;
    }
    RangeRequest::parse(call.header(RANGE), size)
}
