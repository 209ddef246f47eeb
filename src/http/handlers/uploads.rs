//! `/v2/<name>/blobs/uploads/` (distribution-spec, Pushing blobs, Mounting a blob from another repository).

use super::{CHUNK_MIN_LENGTH, CONTENT_DIGEST, Call, Reply, UPLOAD_UUID, broken_off};
use crate::access::{Create, Permit};
use crate::http::caller::source;
use crate::http::fault::Fault;
use crate::http::upload_range::{stands_at, uploaded};
use crate::oci::{Algorithm, ContentRange, Digest, RepositoryName};
use crate::registry::{self, Pusher, Upload, UploadId};
use axum::body::Body;
use axum::response::Response;
use futures_util::{StreamExt, TryStreamExt};
use http::header::{CONTENT_RANGE, LOCATION, RANGE};
use http::{Method, StatusCode};
use http_body::Body as _;

/// Starts an upload, stores a blob from a single request, or mounts an existing one.
pub(in crate::http) async fn begin(
    call: &Call,
    repository: &RepositoryName,
    body: Body,
) -> Result<Response, Fault> {
    let permit = call.permit(repository)?;
    if let Some(digest) = mount(call, &permit).await? {
        return Ok(created(repository, &digest));
    }
    let registry = &call.app.registry;
    let digest: Option<Digest> = call.query.named("digest")?.map(str::parse).transpose()?;
    if let Some(digest) = digest {
        let range = whole(call)?;
        let body = stream(call, body).await?;
        let digest = registry
            .put_blob(&pusher(call, permit), range, &digest, body)
            .await?;
        return Ok(created(repository, &digest));
    }
    let algorithm: Option<Algorithm> = call.query.get("digest-algorithm").map(str::parse).transpose()?;
    let upload = registry
        .begin_upload(&permit, algorithm, &counted_as(call))
        .await?;
    let least = registry.least_chunk().map(|bytes| bytes.to_string());
    Ok(progress(StatusCode::ACCEPTED, repository, &upload)
        .header_if(CHUNK_MIN_LENGTH, least)
        .empty())
}

/// The owner to whom this upload is charged by the limit on open uploads. All anonymous callers at one
/// address are one owner, and so are all clients of a proxy that names none.
fn counted_as(call: &Call) -> String {
    match source(&call.parts) {
        _ if !call.identity.is_anonymous() => call.identity.principal().to_string(),
        Some(source) => format!("anonymous at {source:?}"),
        None => "anonymous behind a proxy".to_owned(),
    }
}

/// Reports an upload, appends to it, finishes it, or cancels it.
pub(in crate::http) async fn answer(
    call: &Call,
    repository: &RepositoryName,
    id: &str,
    body: Body,
) -> Result<Response, Fault> {
    let permit: Permit<Create> = call.permit(repository)?;
    let id: UploadId = id.parse().map_err(|_| Fault::upload_unknown())?;
    let registry = &call.app.registry;
    let here =
        |error: registry::Error| Fault::from(error).header_on_range(LOCATION, &location(repository, &id));
    match call.parts.method {
        Method::PATCH => {
            let range = content_range(call)?;
            let body = stream(call, body).await?;
            let upload = registry
                .append(&permit, &id, range, call.content_length(), body)
                .await
                .map_err(here)?;
            Ok(progress(StatusCode::ACCEPTED, repository, &upload).empty())
        }
        Method::PUT => {
            let digest: Digest = call
                .query
                .named("digest")?
                .ok_or_else(Fault::missing_digest)?
                .parse()?;
            let range = content_range(call)?;
            let body = stream(call, body).await?;
            let digest = registry
                .finish(&pusher(call, permit), &id, range, &digest, body)
                .await
                .map_err(here)?;
            Ok(created(repository, &digest))
        }
        Method::DELETE => {
            registry.cancel(&permit, &id).await?;
            Ok(Reply::new(StatusCode::NO_CONTENT).empty())
        }
        _ => {
            let upload = registry.upload_status(&permit, &id).await?;
            Ok(standing(
                StatusCode::NO_CONTENT,
                repository,
                &upload,
                stands_at(upload.offset),
            )
            .empty())
        }
    }
}

fn pusher(call: &Call, permit: Permit<Create>) -> Pusher {
    let readable = call.permit(permit.repository()).ok();
    Pusher { permit, readable }
}

/// The requested blob, if it could be mounted. A source repository that the caller may not read is treated as
/// one without this blob.
async fn mount(call: &Call, permit: &Permit<Create>) -> Result<Option<Digest>, Fault> {
    let from = call.query.named("from")?;
    let Some(digest) = call
        .query
        .named("mount")?
        .and_then(|digest| digest.parse::<Digest>().ok())
    else {
        return Ok(None);
    };
    let registry = &call.app.registry;
    let mounted = match from {
        None => {
            registry
                .mount(permit, None, Some(&call.reader()), &digest)
                .await?
        }
        Some(from) => match from.parse().ok().and_then(|from| call.reader().permit(&from)) {
            Some(from) => registry.mount(permit, Some(&from), None, &digest).await?,
            None => false,
        },
    };
    Ok(mounted.then_some(digest))
}

fn content_range(call: &Call) -> Result<Option<ContentRange>, Fault> {
    let header = call.parts.headers.get(CONTENT_RANGE);
    Ok(header
        .map(|value| value.to_str().unwrap_or_default().parse())
        .transpose()?)
}

/// The range of a blob that comes in a single request, taken from its length.
fn whole(call: &Call) -> Result<Option<ContentRange>, Fault> {
    if let Some(range) = content_range(call)? {
        return Ok(Some(range));
    }
    let length = call.content_length();
    Ok(length.filter(|length| *length > 0).map(|length| ContentRange {
        start: 0,
        end: length - 1,
    }))
}

/// The body, once there is memory for its start. An empty body needs none.
async fn stream(call: &Call, body: Body) -> Result<registry::Body, Fault> {
    let memory = call.memory();
    let first = if body.is_end_stream() {
        None
    } else {
        Some(memory.reserve(1).await?)
    };
    let frames = body.into_data_stream().map_err(broken_off).boxed();
    Ok(registry::Body::new(frames, memory, first).of_length(call.content_length()))
}

fn progress(status: StatusCode, repository: &RepositoryName, upload: &Upload) -> Reply {
    standing(status, repository, upload, uploaded(upload.offset))
}

fn standing(status: StatusCode, repository: &RepositoryName, upload: &Upload, range: String) -> Reply {
    Reply::new(status)
        .header(LOCATION, location(repository, &upload.id))
        .header(RANGE, range)
        .header(UPLOAD_UUID, upload.id.as_str())
}

fn created(repository: &RepositoryName, digest: &Digest) -> Response {
    Reply::new(StatusCode::CREATED)
        .header(LOCATION, format!("/v2/{repository}/blobs/{digest}"))
        .header(CONTENT_DIGEST, digest.as_str())
        .empty()
}

fn location(repository: &RepositoryName, id: &UploadId) -> String {
    format!("/v2/{repository}/blobs/uploads/{id}")
}
