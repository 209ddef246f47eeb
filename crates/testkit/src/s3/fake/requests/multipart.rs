//! Objects that are uploaded in parts.

use super::super::bucket::{Bucket, Manner, Upload};
use super::super::conditions::{check, same};
use super::super::object::{Object, fingerprint};
use super::super::operation::Call;
use super::super::refusal::Refusal;
use super::super::xml;
use super::objects::{empty, range, tagged};
use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wharfinger_base::clock::Timestamp;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Initiated<'a> {
    bucket: &'a str,
    key: &'a str,
    upload_id: &'a str,
}

pub(super) fn create(bucket: &mut Bucket, call: &Call, now: Timestamp) -> Result<Response<Bytes>, Refusal> {
    bucket.uploads_begun += 1;
    let number = bucket.uploads_begun;
    // Real ids need escapes in a URL too.
    let id = format!("{number:05}+/{}=", fingerprint(&number.to_be_bytes()));
    let upload = Upload {
        key: call.key.clone(),
        begun: now,
        parts: BTreeMap::new(),
    };
    let initiated = Initiated {
        bucket: &call.bucket,
        key: &call.key,
        upload_id: &id,
    };
    let response = xml::response("InitiateMultipartUploadResult", &initiated);
    bucket.uploads.insert(id, upload);
    Ok(response)
}

pub(super) fn put_part(
    bucket: &mut Bucket,
    call: &Call,
    body: Bytes,
    now: Timestamp,
) -> Result<Response<Bytes>, Refusal> {
    let number = Refusal::number(call, "partNumber")?.ok_or(Refusal::INVALID_ARGUMENT)?;
    if !(1..=10_000).contains(&number) {
        return Err(Refusal::INVALID_ARGUMENT);
    }
    let part = Object::new(body, now);
    let response = tagged(&part.tag);
    let upload = open(bucket, call)?;
    upload.parts.insert(number, part);
    Ok(response)
}

pub(super) fn copy_part(
    bucket: &mut Bucket,
    call: &Call,
    now: Timestamp,
) -> Result<Response<Bytes>, Refusal> {
    let (_, key) = call.source().ok_or(Refusal::INVALID_ARGUMENT)?;
    let source = bucket.objects.get(&key).ok_or(Refusal::NO_SUCH_KEY)?;
    let body = match call.header("x-amz-copy-source-range") {
        Some(text) => source.body.slice(range(text, source.body.len())?),
        None => source.body.clone(),
    };
    let tag = Object::new(body.clone(), now).tag;
    put_part(bucket, call, body, now)?;
    Ok(xml::copied("CopyPartResult", &tag, now))
}

/// The upload that the call names.
fn open<'a>(bucket: &'a mut Bucket, call: &Call) -> Result<&'a mut Upload, Refusal> {
    let upload = bucket.uploads.get_mut(id(call));
    upload
        .filter(|upload| upload.key == call.key)
        .ok_or(Refusal::NO_SUCH_UPLOAD)
}

fn id(call: &Call) -> &str {
    call.query("uploadId").unwrap_or_default()
}

#[derive(Deserialize)]
struct Complete {
    #[serde(default, rename = "Part")]
    parts: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(rename = "PartNumber")]
    number: usize,
    #[serde(rename = "ETag")]
    tag: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Completed<'a> {
    bucket: &'a str,
    key: &'a str,
    #[serde(rename = "ETag")]
    tag: &'a str,
}

pub(super) fn complete(
    bucket: &mut Bucket,
    call: &Call,
    manner: Manner<'_>,
) -> Result<Response<Bytes>, Refusal> {
    let Complete { parts: named } = xml::read(&call.body)?;
    let existing = bucket.objects.get(&call.key).cloned();
    let upload = open(bucket, call)?;
    if manner.checks {
        check(existing.as_ref(), call)?;
    }
    let object = assemble(upload, &named, manner)?;
    let completed = Completed {
        bucket: &call.bucket,
        key: &call.key,
        tag: &object.tag,
    };
    let response = xml::response("CompleteMultipartUploadResult", &completed);
    bucket.uploads.remove(id(call));
    bucket.objects.insert(call.key.clone(), object);
    Ok(response)
}

fn assemble(upload: &Upload, named: &[Named], manner: Manner<'_>) -> Result<Object, Refusal> {
    let last = named.last().ok_or(Refusal::MALFORMED_XML)?.number;
    if !named.is_sorted_by(|one, next| one.number < next.number) {
        return Err(Refusal::INVALID_PART_ORDER);
    }
    let mut body = BytesMut::new();
    let mut tags = String::new();
    for Named { number, tag } in named {
        let part = upload.parts.get(number).ok_or(Refusal::INVALID_PART)?;
        if !same(tag, &part.tag) {
            return Err(Refusal::INVALID_PART);
        }
        if *number != last && part.body.len() < manner.rules.minimum_part {
            return Err(Refusal::ENTITY_TOO_SMALL);
        }
        body.extend_from_slice(&part.body);
        tags.push_str(&part.tag);
    }
    Ok(Object {
        body: body.freeze(),
        tag: format!("\"{}-{}\"", fingerprint(tags.as_bytes()), named.len()),
        written: manner.now,
    })
}

pub(super) fn abort(bucket: &mut Bucket, call: &Call) -> Result<Response<Bytes>, Refusal> {
    open(bucket, call)?;
    bucket.uploads.remove(id(call));
    Ok(empty(StatusCode::NO_CONTENT))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Uploads<'a> {
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_key_marker: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_upload_id_marker: Option<&'a str>,
    upload: Vec<Listed<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed<'a> {
    key: &'a str,
    upload_id: &'a str,
    initiated: String,
}

/// Sorted by key, then by id.
pub(super) fn list(bucket: &Bucket, call: &Call) -> Result<Response<Bytes>, Refusal> {
    let prefix = call.query("prefix").unwrap_or_default();
    let most = Refusal::number(call, "max-uploads")?.unwrap_or(1000).min(1000);
    let key_marker = call.query("key-marker").unwrap_or_default();
    let id_marker = call.query("upload-id-marker");
    let mut found: Vec<(&str, &str, Timestamp)> = bucket
        .uploads
        .iter()
        .map(|(id, upload)| (upload.key.as_str(), id.as_str(), upload.begun))
        .filter(|(key, id, _)| {
            let later = id_marker.is_some_and(|marker| *key == key_marker && *id > marker);
            key.starts_with(prefix) && (*key > key_marker || later)
        })
        .collect();
    found.sort_unstable();
    let is_truncated = found.len() > most;
    found.truncate(most);
    let last = found.last().filter(|_| is_truncated);
    let uploads = Uploads {
        is_truncated,
        next_key_marker: last.map(|(key, ..)| *key),
        next_upload_id_marker: last.map(|(_, id, _)| *id),
        upload: found
            .iter()
            .map(|(key, upload_id, begun)| Listed {
                key,
                upload_id,
                initiated: begun.to_string(),
            })
            .collect(),
    };
    Ok(xml::response("ListMultipartUploadsResult", &uploads))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Parts<'a> {
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_part_number_marker: Option<usize>,
    part: Vec<Part<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Part<'a> {
    part_number: usize,
    #[serde(rename = "ETag")]
    tag: &'a str,
    size: usize,
    last_modified: String,
}

pub(super) fn list_parts(bucket: &mut Bucket, call: &Call) -> Result<Response<Bytes>, Refusal> {
    let most = Refusal::number(call, "max-parts")?.unwrap_or(1000).min(1000);
    let after = Refusal::number(call, "part-number-marker")?.unwrap_or(0);
    let upload = open(bucket, call)?;
    let mut part: Vec<Part<'_>> = upload
        .parts
        .range(after + 1..)
        .take(most + 1)
        .map(|(number, part)| Part {
            part_number: *number,
            tag: &part.tag,
            size: part.body.len(),
            last_modified: part.written.to_string(),
        })
        .collect();
    let is_truncated = part.len() > most;
    part.truncate(most);
    let parts = Parts {
        is_truncated,
        next_part_number_marker: part.last().filter(|_| is_truncated).map(|part| part.part_number),
        part,
    };
    Ok(xml::response("ListPartsResult", &parts))
}
