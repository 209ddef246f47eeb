//! Which request of S3's a request is.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, Method};
use percent_encoding::percent_decode_str;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Put,
    Get,
    Head,
    Delete,
    /// Removes many objects at once.
    DeleteMany,
    Copy,
    List,
    CreateUpload,
    UploadPart,
    CopyPart,
    CompleteUpload,
    AbortUpload,
    ListUploads,
    ListParts,
    HeadBucket,
    Versioning,
    Lifecycle,
    AssumeRole,
    Unknown,
}

/// A request whose addresses were decoded.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) operation: Operation,
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) query: BTreeMap<String, String>,
    pub(super) head: Parts,
    pub(super) body: Bytes,
}

impl Call {
    pub(super) fn new(head: Parts) -> Self {
        let path = percent_decode_str(head.uri.path())
            .decode_utf8_lossy()
            .into_owned();
        let path = path.strip_prefix('/').unwrap_or_default();
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let pairs = form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes());
        let mut call = Self {
            operation: Operation::Unknown,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            query: pairs.into_owned().collect(),
            head,
            body: Bytes::new(),
        };
        call.operation = if call.bucket.is_empty() {
            call.service_operation()
        } else if call.key.is_empty() {
            call.bucket_operation()
        } else {
            call.object_operation()
        };
        call
    }

    fn service_operation(&self) -> Operation {
        match self.head.method {
            Method::POST => Operation::AssumeRole,
            _ => Operation::Unknown,
        }
    }

    fn bucket_operation(&self) -> Operation {
        match self.head.method {
            Method::HEAD => Operation::HeadBucket,
            Method::POST if self.has("delete") => Operation::DeleteMany,
            Method::GET if self.has("uploads") => Operation::ListUploads,
            Method::GET if self.has("versioning") => Operation::Versioning,
            Method::GET if self.has("lifecycle") => Operation::Lifecycle,
            Method::GET if self.query("list-type") == Some("2") => Operation::List,
            _ => Operation::Unknown,
        }
    }

    fn object_operation(&self) -> Operation {
        let upload = self.has("uploadId");
        let copy = self.header("x-amz-copy-source").is_some();
        match self.head.method {
            Method::PUT if upload && copy => Operation::CopyPart,
            Method::PUT if upload => Operation::UploadPart,
            Method::PUT if copy => Operation::Copy,
            Method::PUT => Operation::Put,
            Method::GET if upload => Operation::ListParts,
            Method::GET => Operation::Get,
            Method::HEAD => Operation::Head,
            Method::DELETE if upload => Operation::AbortUpload,
            Method::DELETE => Operation::Delete,
            Method::POST if self.has("uploads") => Operation::CreateUpload,
            Method::POST if upload => Operation::CompleteUpload,
            _ => Operation::Unknown,
        }
    }

    /// The key, or the prefix of keys that a list asks for.
    pub(super) fn object(&self) -> &str {
        match self.operation {
            Operation::List | Operation::ListUploads => self.query("prefix").unwrap_or_default(),
            _ => &self.key,
        }
    }

    /// The path and the query as sent.
    pub(super) fn target(&self) -> String {
        let target = self.head.uri.path_and_query();
        target.map(ToString::to_string).unwrap_or_default()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.query.contains_key(name)
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    pub(super) fn header(&self, name: impl TryInto<HeaderName>) -> Option<&str> {
        self.head.headers.get(name.try_into().ok()?)?.to_str().ok()
    }

    /// The bucket and the key that a copy reads.
    pub(super) fn source(&self) -> Option<(String, String)> {
        let source = percent_decode_str(self.header("x-amz-copy-source")?)
            .decode_utf8()
            .ok()?;
        let (bucket, key) = source.trim_start_matches('/').split_once('/')?;
        Some((bucket.to_owned(), key.to_owned()))
    }
}
