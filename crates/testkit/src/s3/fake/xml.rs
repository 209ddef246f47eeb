//! The bodies of requests and answers, and dates.

use super::refusal::Refusal;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::{Duration, UNIX_EPOCH};
use wharfinger_base::clock::Timestamp;

pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    quick_xml::de::from_reader(body).map_err(|_| Refusal::MALFORMED_XML)
}

/// An answer whose outermost element has this name.
pub(super) fn response<T: Serialize>(name: &str, content: &T) -> Response<Bytes> {
    let text = quick_xml::se::to_string_with_root(name, content).unwrap();
    let mut response = Response::new(text.into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Copied<'a> {
    #[serde(rename = "ETag")]
    tag: &'a str,
    last_modified: String,
}

pub(super) fn copied(name: &str, tag: &str, now: Timestamp) -> Response<Bytes> {
    let last_modified = now.to_string();
    response(name, &Copied { tag, last_modified })
}

/// As in `Sat, 28 Nov 2026 18:24:24 GMT`.
pub(super) fn http_date(time: Timestamp) -> HeaderValue {
    let since = Duration::from_secs(u64::try_from(time.as_secs()).unwrap());
    httpdate::fmt_http_date(UNIX_EPOCH + since).parse().unwrap()
}
