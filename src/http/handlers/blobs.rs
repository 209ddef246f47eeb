//! `/v2/<name>/blobs/<digest>` (distribution-spec, Pulling blobs, Deleting Blobs; RFC 9110, 14 for ranges).

use super::{CONTENT_DIGEST, Call, Reply};
use crate::http::answer::Fault;
use crate::oci::{ByteRange, Digest, RangeRequest, RepositoryName};
use crate::storage::{BlobFile, Failure};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, RANGE};
use http::{Method, StatusCode};
use std::sync::Arc;

/// How much is read, and held in memory for a download, at once.
const CHUNK: u64 = 256 * 1024;

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
    let reply = |status| Reply::new(status).header(CONTENT_DIGEST, blob.digest.as_str()).header(ETAG, &etag).header(ACCEPT_RANGES, "bytes");
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
    Ok(reply.body(Body::from_stream(bytes(blob.file, first, length))))
}

/// `Range` counts for a GET only, and not if the client's part is of something else (RFC 9110, 13.1.5).
fn range(call: &Call, etag: &str, size: u64) -> RangeRequest {
    let other = call.header(IF_RANGE).is_some_and(|validator| validator != etag);
    if call.parts.method == Method::HEAD || other {
        return RangeRequest::Whole;
    }
    RangeRequest::parse(call.header(RANGE), size)
}

/// Exactly `length` bytes from `first` on, or an error, which cuts the connection.
fn bytes(file: Arc<dyn BlobFile>, first: u64, length: u64) -> impl Stream<Item = Result<Bytes, Failure>> + Send + 'static {
    stream::try_unfold((file, first, length), |(file, at, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let most = usize::try_from(left.min(CHUNK)).unwrap_or(usize::MAX);
        let chunk = file.read(at, most).await.and_then(|chunk| if chunk.is_empty() { Err(Failure::Missing) } else { Ok(chunk) });
        let chunk = chunk.inspect_err(|failure| tracing::error!("a download breaks off after {at} bytes: {failure}"))?;
        let read = chunk.len() as u64;
        Ok(Some((chunk, (file, at + read, left.saturating_sub(read)))))
    })
}
