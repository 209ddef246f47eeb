//! Requests that are wrong for any caller.

use super::Fault;
use crate::http::authority::InvalidHost;
use crate::http::path::{InvalidEncoding, InvalidPath};
use crate::limits::HEADER_BYTES;
use crate::oci::{ErrorCode, InvalidContentRange, InvalidDigest, InvalidName, InvalidReference, InvalidTag};
use http::StatusCode;
use http::header::ALLOW;
use std::any::Any;

impl Fault {
    /// A handler ended with a panic, which is a bug.
    pub(in crate::http) fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        let message = "the registry failed. This is a bug, and the registry's log has the reason";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, None, message)
            .log(format_args!("a panic: {}", text.unwrap_or("without a text")))
    }

    pub(in crate::http) fn method_not_allowed(allowed: &'static str) -> Self {
        let message = format!("the method is not supported here: use {allowed}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported, message).header(ALLOW, allowed)
    }

    pub(in crate::http) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            ErrorCode::Unsupported,
            InvalidPath::Unknown.to_string(),
        )
    }

    /// A bad path. With `writes`, a malformed reference is a bad push (400); without, it names nothing that
    /// could exist (404).
    pub(in crate::http) fn path(invalid: InvalidPath, writes: bool) -> Self {
        match invalid {
            InvalidPath::Unknown => Self::not_found(),
            InvalidPath::Encoding(encoding) => Self::bad_encoding(encoding),
            InvalidPath::Name(name) => Self::bad_name(name),
            InvalidPath::Reference(InvalidReference::Tag(tag)) if writes => Self::bad_tag(tag),
            InvalidPath::Reference(InvalidReference::Tag(tag)) => {
                Self::new(StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown, tag.to_string())
            }
            InvalidPath::Reference(InvalidReference::Digest(digest)) | InvalidPath::Digest(digest) => {
                digest.into()
            }
        }
    }

    pub(in crate::http) fn bad_encoding(encoding: InvalidEncoding) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::NameInvalid,
            encoding.to_string(),
        )
    }

    pub(in crate::http) fn bad_name(name: InvalidName) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::NameInvalid, name.to_string())
    }

    pub(in crate::http) fn bad_tag(tag: InvalidTag) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::ManifestInvalid,
            tag.to_string(),
        )
    }

    pub(in crate::http) fn bad_page_size() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::Unsupported,
            "`n` must be a number, 0 or more: it is how many entries to list",
        )
    }

    pub(in crate::http) fn header_too_large() -> Self {
        let message = format!("the request's header has more than {HEADER_BYTES} bytes");
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            ErrorCode::Unsupported,
            message,
        )
    }

    /// RFC 9112, 6.1.
    pub(in crate::http) fn transfer_coding() -> Self {
        let message = "the only supported Transfer-Encoding is `chunked`: send the body without any other";
        Self::new(StatusCode::NOT_IMPLEMENTED, ErrorCode::Unsupported, message)
    }
}

impl From<InvalidHost> for Fault {
    fn from(invalid: InvalidHost) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::Unsupported,
            invalid.to_string(),
        )
    }
}

impl From<InvalidDigest> for Fault {
    fn from(invalid: InvalidDigest) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::DigestInvalid,
            invalid.to_string(),
        )
    }
}

impl From<InvalidContentRange> for Fault {
    fn from(invalid: InvalidContentRange) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::BlobUploadInvalid,
            invalid.to_string(),
        )
    }
}
