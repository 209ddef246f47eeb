//! ListObjectsV2.

use super::super::bucket::{Bucket, Manner};
use super::super::object::{Object, Objects};
use super::super::operation::Call;
use super::super::refusal::Refusal;
use super::super::rules::Listing;
use super::super::xml;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Response;
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Page<'a> {
    prefix: &'a str,
    key_count: usize,
    max_keys: usize,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_continuation_token: Option<String>,
    contents: Vec<Entry<'a>>,
    common_prefixes: Vec<Common<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    key: &'a str,
    last_modified: String,
    #[serde(rename = "ETag")]
    tag: &'a str,
    size: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Common<'a> {
    prefix: &'a str,
}

/// Where the next page continues.
struct Token {
    /// The snapshot that was taken at the first page.
    snapshot: usize,
    /// The last key or common prefix of this page.
    last: String,
}

pub(super) fn list(bucket: &mut Bucket, call: &Call, manner: Manner<'_>) -> Result<Response<Bytes>, Refusal> {
    let token = call.query("continuation-token").map(Token::parse).transpose()?;
    let asked = Refusal::number(call, "max-keys")?.unwrap_or(1000);
    let most = asked.min(manner.rules.page);
    let old = token.as_ref().filter(|_| manner.old_pages);
    let old = old.and_then(|token| bucket.snapshots.of(token.snapshot));
    let objects = match manner.rules.listing {
        Listing::Behind => &bucket.before,
        _ => &bucket.objects,
    };
    let objects = old.as_deref().unwrap_or(objects);
    let mut page = page(objects, call, manner, (token.as_ref(), most));
    page.max_keys = asked;
    if page.is_truncated {
        let last_key = page.contents.last().map(|entry| entry.key);
        let last_prefix = page.common_prefixes.last().map(|common| common.prefix);
        let last = last_key.max(last_prefix).unwrap_or_default().to_owned();
        let snapshot = match &token {
            Some(token) => token.snapshot,
            None => bucket.snapshots.take(&bucket.objects),
        };
        page.next_continuation_token = Some(Token { snapshot, last }.text());
    }
    if manner.rules.listing == Listing::Unordered {
        page.contents.reverse();
    }
    Ok(xml::response("ListBucketResult", &page))
}

fn page<'a>(
    objects: &'a Objects,
    call: &'a Call,
    manner: Manner<'_>,
    (token, most): (Option<&Token>, usize),
) -> Page<'a> {
    let prefix = call.query("prefix").unwrap_or_default();
    let delimiter = call.query("delimiter").filter(|delimiter| !delimiter.is_empty());
    let start_after = call
        .query("start-after")
        .filter(|_| manner.rules.listing != Listing::FromTheStart);
    let mut page = Page {
        prefix,
        key_count: 0,
        max_keys: most,
        is_truncated: false,
        next_continuation_token: None,
        contents: Vec::new(),
        common_prefixes: Vec::new(),
    };
    for (key, object) in objects.range(prefix.to_owned()..) {
        let Some(rest) = key.strip_prefix(prefix) else {
            break;
        };
        let rolled = delimiter
            .and_then(|delimiter| Some(rest.find(delimiter)? + delimiter.len()))
            .map(|end| &key[..prefix.len() + end]);
        let name = rolled.unwrap_or(key);
        let passed = token.is_some_and(|token| name <= token.last.as_str())
            || token.is_none() && start_after.is_some_and(|after| key.as_str() <= after)
            || page
                .common_prefixes
                .last()
                .is_some_and(|common| common.prefix == name);
        if passed {
            continue;
        }
        if page.key_count == most {
            page.is_truncated = most > 0;
            break;
        }
        page.key_count += 1;
        match rolled {
            Some(prefix) => page.common_prefixes.push(Common { prefix }),
            None => page.contents.push(entry(key, object)),
        }
    }
    page
}

fn entry<'a>(key: &'a str, object: &'a Object) -> Entry<'a> {
    Entry {
        key,
        last_modified: object.written.to_string(),
        tag: &object.tag,
        size: object.body.len(),
    }
}

impl Token {
    fn parse(text: &str) -> Result<Self, Refusal> {
        let bytes = STANDARD.decode(text).map_err(|_| Refusal::INVALID_ARGUMENT)?;
        let text = String::from_utf8(bytes).map_err(|_| Refusal::INVALID_ARGUMENT)?;
        let (snapshot, last) = text.split_once(' ').ok_or(Refusal::INVALID_ARGUMENT)?;
        Ok(Self {
            snapshot: snapshot.parse().map_err(|_| Refusal::INVALID_ARGUMENT)?,
            last: last.to_owned(),
        })
    }

    fn text(&self) -> String {
        STANDARD.encode(format!("{} {}", self.snapshot, self.last))
    }
}
