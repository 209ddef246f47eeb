//! The requests for whole objects.

use super::super::bucket::{Bucket, Manner};
use super::super::conditions::{check, same};
use super::super::object::Object;
use super::super::operation::Call;
use super::super::refusal::Refusal;
use super::super::xml;
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MATCH, IF_NONE_MATCH, LAST_MODIFIED, RANGE,
};
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use std::ops::Range;

pub(super) fn put(bucket: &mut Bucket, call: &Call, manner: Manner<'_>) -> Result<Response<Bytes>, Refusal> {
    if manner.checks {
        check(bucket.objects.get(&call.key), call)?;
    }
    let object = Object::new(call.body.clone(), manner.now);
    let response = tagged(&object.tag);
    bucket.objects.insert(call.key.clone(), object);
    Ok(response)
}

pub(super) fn copy(bucket: &mut Bucket, call: &Call, manner: Manner<'_>) -> Result<Response<Bytes>, Refusal> {
    if manner.checks {
        check(bucket.objects.get(&call.key), call)?;
    }
    let (_, key) = call.source().ok_or(Refusal::INVALID_ARGUMENT)?;
    let source = bucket.objects.get(&key).ok_or(Refusal::NO_SUCH_KEY)?;
    let object = Object {
        written: manner.now,
        ..source.clone()
    };
    let response = xml::copied("CopyObjectResult", &object.tag, manner.now);
    bucket.objects.insert(call.key.clone(), object);
    Ok(response)
}

pub(super) fn get(bucket: &Bucket, call: &Call) -> Result<Response<Bytes>, Refusal> {
    let object = bucket.objects.get(&call.key).ok_or(Refusal::NO_SUCH_KEY)?;
    if call.header(IF_MATCH).is_some_and(|tag| !same(tag, &object.tag)) {
        return Err(Refusal::PRECONDITION);
    }
    let mut response = tagged(&object.tag);
    let headers = response.headers_mut();
    headers.insert(LAST_MODIFIED, xml::http_date(object.written));
    headers.insert(ACCEPT_RANGES, "bytes".parse().unwrap());
    if call
        .header(IF_NONE_MATCH)
        .is_some_and(|tag| same(tag, &object.tag))
    {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    *response.body_mut() = object.body.clone();
    if let Some(text) = call.header(RANGE) {
        let length = object.body.len();
        let range = range(text, length)?;
        let described = format!("bytes {}-{}/{length}", range.start, range.end - 1);
        *response.body_mut() = object.body.slice(range);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        response
            .headers_mut()
            .insert(CONTENT_RANGE, described.parse().unwrap());
    }
    // The server leaves it out of the answer to a HEAD if the object is empty.
    let length = response.body().len();
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    Ok(response)
}

/// The bytes that `Range` or `x-amz-copy-source-range` names.
pub(super) fn range(text: &str, length: usize) -> Result<Range<usize>, Refusal> {
    let (first, last) = text
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
        .ok_or(Refusal::INVALID_ARGUMENT)?;
    let number = |text: &str| text.parse().map_err(|_| Refusal::INVALID_ARGUMENT);
    let range = match (first, last) {
        ("", count) => length.saturating_sub(number(count)?)..length,
        (first, "") => number(first)?..length,
        (first, last) => number(first)?..length.min(number(last)?.saturating_add(1)),
    };
    if range.is_empty() {
        return Err(Refusal::INVALID_RANGE);
    }
    Ok(range)
}

pub(super) fn delete(
    bucket: &mut Bucket,
    call: &Call,
    manner: Manner<'_>,
) -> Result<Response<Bytes>, Refusal> {
    if manner.checks && manner.rules.conditional_delete {
        check(bucket.objects.get(&call.key), call)?;
    }
    bucket.objects.remove(&call.key);
    Ok(empty(StatusCode::NO_CONTENT))
}

#[derive(Deserialize)]
struct Delete {
    #[serde(default, rename = "Object")]
    objects: Vec<Key>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Key {
    key: String,
}

#[derive(Serialize)]
struct DeleteResult {
    #[serde(rename = "Deleted")]
    deleted: Vec<Key>,
}

pub(super) fn delete_many(bucket: &mut Bucket, call: &Call) -> Result<Response<Bytes>, Refusal> {
    let Delete { objects } = xml::read(&call.body)?;
    if objects.is_empty() || objects.len() > 1000 {
        return Err(Refusal::MALFORMED_XML);
    }
    for object in &objects {
        bucket.objects.remove(&object.key);
    }
    Ok(xml::response("DeleteResult", &DeleteResult { deleted: objects }))
}

pub(super) fn tagged(tag: &str) -> Response<Bytes> {
    let mut response = empty(StatusCode::OK);
    response.headers_mut().insert(ETAG, tag.parse().unwrap());
    response
}

pub(super) fn empty(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}
