//! The errors of S3: a status and a code, in a body of XML.

use super::operation::{Call, Operation};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub code: &'static str,
    /// The value of `Retry-After`, in seconds.
    pub retry_after: Option<u16>,
}

impl Refusal {
    pub const NO_SUCH_KEY: Self = Self::new(404, "NoSuchKey");
    pub const NO_SUCH_BUCKET: Self = Self::new(404, "NoSuchBucket");
    pub const NO_SUCH_UPLOAD: Self = Self::new(404, "NoSuchUpload");
    pub const NO_LIFECYCLE: Self = Self::new(404, "NoSuchLifecycleConfiguration");
    pub const PRECONDITION: Self = Self::new(412, "PreconditionFailed");
    /// Two conditional writes met. It says nothing about the object.
    pub const CONFLICT: Self = Self::new(409, "ConditionalRequestConflict");
    pub const INVALID_RANGE: Self = Self::new(416, "InvalidRange");
    pub const INVALID_ARGUMENT: Self = Self::new(400, "InvalidArgument");
    pub const INVALID_PART: Self = Self::new(400, "InvalidPart");
    pub const INVALID_PART_ORDER: Self = Self::new(400, "InvalidPartOrder");
    pub const ENTITY_TOO_SMALL: Self = Self::new(400, "EntityTooSmall");
    pub const MALFORMED_XML: Self = Self::new(400, "MalformedXML");
    pub const NOT_IMPLEMENTED: Self = Self::new(501, "NotImplemented");
    pub const ACCESS_DENIED: Self = Self::new(403, "AccessDenied");
    pub const INVALID_ACCESS_KEY: Self = Self::new(403, "InvalidAccessKeyId");
    pub const SIGNATURE: Self = Self::new(403, "SignatureDoesNotMatch");
    pub const EXPIRED_TOKEN: Self = Self::new(400, "ExpiredToken");
    /// STS: the token is not one of the issuer, or not for this audience.
    pub const INVALID_IDENTITY_TOKEN: Self = Self::new(400, "InvalidIdentityToken");
    pub const INVALID_ACTION: Self = Self::new(400, "InvalidAction");
    pub const VALIDATION: Self = Self::new(400, "ValidationError");
    pub const INTERNAL: Self = Self::new(500, "InternalError");
    /// S3 answers 200 before it joins parts or copies, and may find then that it cannot.
    pub const INTERNAL_AFTER_200: Self = Self::new(200, "InternalError");
    pub const UNAVAILABLE: Self = Self::new(503, "ServiceUnavailable");
    pub const SLOW_DOWN: Self = Self {
        status: 503,
        code: "SlowDown",
        retry_after: Some(1),
    };

    /// A number in a request's query.
    pub(super) fn number(call: &Call, name: &str) -> Result<Option<usize>, Self> {
        let value = call.query(name).map(str::parse).transpose();
        value.map_err(|_| Self::INVALID_ARGUMENT)
    }

    const fn new(status: u16, code: &'static str) -> Self {
        Self {
            status,
            code,
            retry_after: None,
        }
    }

    pub(super) fn response_to(self, operation: Operation) -> Response<Bytes> {
        let code = self.code;
        let mut body =
            format!("<Error><Code>{code}</Code><Message>{code} by the test's store</Message></Error>");
        if operation == Operation::AssumeRole {
            body = format!("<ErrorResponse>{body}</ErrorResponse>");
        }
        let mut response = Response::new(body.into());
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap();
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
