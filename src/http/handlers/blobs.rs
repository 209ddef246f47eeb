//! `/v2/<name>/blobs/<digest>` (distribution-spec, Pulling blobs, Deleting Blobs; RFC 9110, 14 for ranges).

use super::{CONTENT_DIGEST, Call, OCI_NAMESPACE, Reply};
use crate::access::Create;
use crate::http::Connection;
use crate::http::answer::Fault;
use crate::http::download::Download;
use crate::oci::{ByteRange, Digest, RangeRequest, RepositoryName};
use axum::body::Body;
use axum::response::Response;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, RANGE};
use http::{Method, StatusCode};

pub(super) async fn answer(call: &Call, repository: &RepositoryName, digest: &Digest) -> Result<Response, Fault> {
    match call.parts.method {
        Method::GET | Method::HEAD => pull(call, repository, digest).await,
        Method::DELETE => {
            call.app.registry.delete_blob(&call.permit(repository)?, digest).await?;
            Ok(Reply::new(StatusCode::ACCEPTED).empty())
        }
        _ => Err(Fault::method_not_allowed("GET, HEAD, DELETE")),
    }
}

async fn pull(call: &Call, repository: &RepositoryName, digest: &Digest) -> Result<Response, Fault> {
    let blob = call.app.registry.blob(&call.permit(repository)?, digest).await?;
    let etag = format!("\"{}\"", blob.digest);
    if call.parts.method == Method::HEAD
        && let Ok(create) = call.permit::<Create>(repository)
    {
        // Whoever may push here asks in order not to push.
        if let Err(why) = call.app.registry.keep_blob(&create, digest).await {
            tracing::warn!(repo.name = %repository, blob.digest = %digest, "a blob was not kept for the push that asked for it: {why}");
        }
    }
    let reply = |status| {
        Reply::new(status)
            .header(CONTENT_DIGEST, blob.digest.as_str())
            .header(ETAG, &etag)
            .header(ACCEPT_RANGES, "bytes")
            .header_if(OCI_NAMESPACE, call.namespace())
    };
    if call.has(&etag) {
        return Ok(reply(StatusCode::NOT_MODIFIED).empty());
    }
    let (status, first, length) = match range(call, &etag, blob.size) {
        RangeRequest::Whole => (StatusCode::OK, 0, blob.size),
        RangeRequest::Part(range) => (StatusCode::PARTIAL_CONTENT, range.start, range.len()),
        RangeRequest::Unsatisfiable => return Err(Fault::range_not_satisfiable(blob.size)),
    };
    let part = (status == StatusCode::PARTIAL_CONTENT).then(|| {
        let ByteRange { start, end } = ByteRange { start: first, end: first + length - 1 };
        format!("bytes {start}-{end}/{}", blob.size)
    });
    let reply = reply(status)
        .header(CONTENT_TYPE, "application/octet-stream")
        .header(CONTENT_LENGTH, length.to_string())
        .header_if(CONTENT_RANGE, part);
    if call.parts.method == Method::HEAD || length == 0 {
        return Ok(reply.empty());
    }
    let more = call.parts.extensions.get::<Connection>().map(|connection| connection.more.clone()).unwrap_or_default();
    Ok(reply.body(Body::new(Download::new(blob.file, first, length, more))))
}

/// `Range` counts for a GET only, and not if the client's part is of something else (RFC 9110, 13.1.5).
fn range(call: &Call, etag: &str, size: u64) -> RangeRequest {
    let other = call.header(IF_RANGE).is_some_and(|validator| validator != etag);
    if call.parts.method == Method::HEAD || other {
        return RangeRequest::Whole;
    }
    RangeRequest::parse(call.header(RANGE), size)
}
