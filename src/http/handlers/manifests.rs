//! `/v2/<name>/manifests/<reference>` (distribution-spec, Pulling manifests, Pushing Manifests, Deleting
//! Manifests).

use super::{CONTENT_DIGEST, Call, OCI_NAMESPACE, OCI_SUBJECT, OCI_TAG, Reply, broken_off};
use crate::access::Create;
use crate::budget::Held;
use crate::http::fault::Fault;
use crate::limits::MANIFEST_BYTES;
use crate::oci::{Digest, Reference, RepositoryName, Tag};
use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, LOCATION};
use http::{Method, StatusCode};
use http_body_util::BodyExt;

/// The most tags that one push may set.
const TAGS: usize = 32;

pub(in crate::http) async fn answer(
    call: &Call,
    repository: &RepositoryName,
    reference: &Reference,
    body: Body,
) -> Result<Response, Fault> {
    match call.parts.method {
        Method::PUT => push(call, repository, reference, body).await,
        Method::DELETE => {
            call.app
                .registry
                .delete_manifest_if(call.condition(), &call.permit(repository)?, reference)
                .await?;
            Ok(Reply::new(StatusCode::ACCEPTED).empty())
        }
        _ => pull(call, repository, reference).await,
    }
}

async fn pull(call: &Call, repository: &RepositoryName, reference: &Reference) -> Result<Response, Fault> {
    let registry = &call.app.registry;
    let permit = call.permit(repository)?;
    let head = call.parts.method == Method::HEAD;
    let manifest = match call.permit::<Create>(repository) {
        Ok(create) if head => registry.keep_manifest(&permit, &create, reference).await?,
        _ if head => registry.manifest(&permit, reference).await?,
        _ => registry.pull_manifest(&permit, reference).await?,
    };
    if !head {
        registry.note_pull(&permit, &manifest.digest);
    }
    let etag = format!("\"{}\"", manifest.digest);
    let reply = |status| {
        Reply::new(status)
            .header(CONTENT_DIGEST, manifest.digest.as_str())
            .header(ETAG, &etag)
            .header_if(OCI_NAMESPACE, call.namespace())
    };
    if call.has(&manifest.digest)? {
        return Ok(reply(StatusCode::NOT_MODIFIED).empty());
    }
    let reply = reply(StatusCode::OK)
        .header(CONTENT_TYPE, &manifest.media_type)
        .header(CONTENT_LENGTH, manifest.bytes.len().to_string());
    if head {
        return Ok(reply.empty());
    }
    let same = &Reference::Digest(manifest.digest.clone());
    let again = move || async move {
        Ok((
            call.app
                .registry
                .pull_manifest(&call.permit(repository)?, same)
                .await?
                .bytes,
            (),
        ))
    };
    let (bytes, ()) = call.in_memory((manifest.bytes, ()), again).await?;
    Ok(reply.body(bytes))
}

async fn push(
    call: &Call,
    repository: &RepositoryName,
    reference: &Reference,
    body: Body,
) -> Result<Response, Fault> {
    let permit = call.write_permit(repository)?;
    let tags = tags(call, reference)?;
    let (bytes, _held) = collect(call, body).await?;
    let registry = &call.app.registry;
    if let Reference::Digest(digest) = reference {
        registry.check_tags(&permit, &tags, digest).await?; // one rejected tag rejects the push
    }
    let pushed = registry
        .put_manifest_if(
            &call.condition(),
            &permit,
            reference,
            call.header(CONTENT_TYPE),
            bytes,
        )
        .await?;
    let mut reply = Reply::new(StatusCode::CREATED)
        .header(LOCATION, format!("/v2/{repository}/manifests/{}", pushed.digest))
        .header(CONTENT_DIGEST, pushed.digest.as_str())
        .header(ETAG, format!("\"{}\"", pushed.digest))
        .header_if(
            OCI_SUBJECT,
            pushed.subject.as_ref().map(|subject| subject.as_str()),
        )
        .warning(missing(&pushed.missing));
    for tag in &tags {
        registry.put_tag(&permit, tag, &pushed.digest).await?;
        reply = reply.header(OCI_TAG, tag.as_str());
    }
    Ok(reply.empty())
}

/// The warning for a client whose manifest was accepted although content that it refers to is missing.
fn missing(digests: &[Digest]) -> Option<String> {
    const NAMED: usize = 10;
    let names: Vec<&str> = digests.iter().take(NAMED).map(Digest::as_str).collect();
    let more = if digests.len() > NAMED { ", and more" } else { "" };
    let count = digests.len();
    (count > 0).then(|| {
        format!(
            "accepted, but {count} of the blobs and manifests that it refers to are missing: {}{more}",
            names.join(", ")
        )
    })
}

/// `?tag=`, which may come several times.
fn tags(call: &Call, reference: &Reference) -> Result<Vec<Tag>, Fault> {
    let tags: Vec<Tag> = call
        .query
        .all("tag")
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map_err(Fault::bad_tag)?;
    match reference {
        Reference::Tag(_) if !tags.is_empty() => Err(Fault::tag_in_path_and_query()),
        _ if tags.len() > TAGS => Err(Fault::too_many_tags(TAGS)),
        _ => Ok(tags),
    }
}

/// How much of a body that is too long is read. A client that is still sending then gets to see why the
/// registry rejects it.
const DRAINED: usize = 4 * MANIFEST_BYTES;

/// Reads the whole body, if a manifest may be that long, and returns it with its memory. All the memory is
/// reserved before the first read: half-read bodies that wait for memory would wait for each other.
async fn collect(call: &Call, mut body: Body) -> Result<(Bytes, Held), Fault> {
    let announced = call.content_length();
    if announced.is_some_and(|length| length > DRAINED as u64) {
        return Err(Fault::manifest_too_large());
    }
    let most = announced.map_or(MANIFEST_BYTES, |length| {
        usize::try_from(length)
            .unwrap_or(MANIFEST_BYTES)
            .min(MANIFEST_BYTES)
    });
    let mut held = call.memory().reserve(most).await?;
    let mut bytes = BytesMut::with_capacity(announced.map_or(0, |_| most));
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame
            .map_err(|why| Fault::broken_off(broken_off(why)))?
            .into_data()
        else {
            continue;
        };
        length += chunk.len();
        if length > DRAINED {
            break;
        }
        if length > MANIFEST_BYTES {
            bytes = BytesMut::new();
        } else {
            bytes.extend_from_slice(&chunk);
        }
    }
    if length > MANIFEST_BYTES {
        return Err(Fault::manifest_too_large());
    }
    held.keep(bytes.len());
    Ok((bytes.freeze(), held))
}
