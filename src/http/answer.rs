//! What goes wrong, in the specification's words. The only file that knows which status and which code an
//! error gets; what the client reads and what the log reads are separate texts.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes>

use super::authority::InvalidHost;
use super::path::{InvalidEncoding, InvalidPath};
use super::turns::Crowded;
use crate::access::{BeyondScope, Denied, DeniedBy};
use crate::budget::Exhausted;
use crate::exchange::{GrantError, NotIssued, NotRedeemed};
use crate::identity::{self, Busy, Refused};
use crate::limits::{FORM_BYTES, FORMS_OF_ADDRESS, HEADER_BYTES, MANIFEST_BYTES, MESSAGE_BYTES};
use crate::oci::{
    Digest, ErrorCode, InvalidContentRange, InvalidDigest, InvalidName, InvalidReference, InvalidTag,
};
use crate::registry;
use crate::storage;
use axum::body::Body;
use axum::response::Response;
use http::header::{ALLOW, CONTENT_TYPE, ETAG, RANGE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use std::any::Any;
use std::borrow::Cow;

/// What clients that cannot be judged, or not be served, now are told to wait.
const RETRY_SECONDS: &str = "5";

/// The codes of RFC 6750, 3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChallengeError {
    /// It is bad: clients shall not present it again.
    InvalidToken,
    /// It is good, and another token of the same caller could do this.
    InsufficientScope,
}

/// An answer that is an error.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) status: StatusCode,
    /// `None`: the specification has no code for what is our own fault.
    code: Option<ErrorCode>,
    message: Cow<'static, str>,
    /// One error is reported for each; one without detail if there are none. With what it says instead of
    /// `message`.
    details: Vec<(Option<String>, Value)>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What the log says beyond the client's text.
    pub(super) log: Option<String>,
    /// What the challenge of a 401 says of the credential that was presented.
    pub(super) challenge: Option<ChallengeError>,
    /// The same in the words of RFC 6749 5.2, for clients that ask for tokens.
    oauth: Option<&'static str>,
}

impl Fault {
    fn new(
        status: StatusCode,
        code: impl Into<Option<ErrorCode>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            details: Vec::new(),
            headers: Vec::new(),
            log: None,
            challenge: None,
            oauth: None,
        }
    }

    pub(super) fn oauth(self, error: &'static str) -> Self {
        Self {
            oauth: Some(error),
            ..self
        }
    }

    /// The same for a client's own credential: one that cannot be checked now is not a bad one.
    pub(super) fn bad_client(self) -> Self {
        if self.status == StatusCode::UNAUTHORIZED {
            self.oauth("invalid_client")
        } else {
            self
        }
    }

    /// Said in their words too.
    pub(super) fn for_token_clients(self) -> Self {
        let error = self.oauth.unwrap_or(match self.status {
            StatusCode::UNAUTHORIZED => "invalid_grant",
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => "temporarily_unavailable",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request",
        });
        self.oauth(error)
    }

    fn detail(mut self, detail: Value) -> Self {
        self.details.push((None, detail));
        self
    }

    /// An error of its own for each digest, and one that counts the rest.
    fn missing(mut self, digests: &[Digest]) -> Self {
        let named = digests.iter().take(registry::NAMED_DIGESTS);
        self.details.extend(named.map(|digest| {
            let message =
                format!("the manifest needs {digest}, which this repository does not hold: push it first");
            (Some(message), json!({"digest": digest.as_str()}))
        }));
        if let more @ 1.. = digests.len().saturating_sub(registry::NAMED_DIGESTS) {
            self.details.push((
                Some(format!("and {more} more are missing")),
                json!({"more": more}),
            ));
        }
        self
    }

    fn log(mut self, text: impl ToString) -> Self {
        self.log = Some(text.to_string());
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// A header of a 416, which tells where to go on.
    pub(super) fn header_on_range(self, name: HeaderName, value: &str) -> Self {
        if self.status == StatusCode::RANGE_NOT_SATISFIABLE {
            self.header(name, value)
        } else {
            self
        }
    }

    /// Nobody in particular asks for what somebody may have.
    pub(super) fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            ErrorCode::Unauthorized,
            "authentication is required",
        )
    }

    /// The token is good, and was asked for something else.
    fn insufficient_scope() -> Self {
        let message =
            "the token's scope does not name this: ask for another token with the scope of the challenge";
        Self {
            challenge: Some(ChallengeError::InsufficientScope),
            ..Self::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message)
        }
    }

    pub(super) fn no_metrics() -> Self {
        let message = "policy does not allow you to read the metrics";
        Self::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message)
            .log("accessControl.metrics.users does not name this identity")
    }

    /// A handler ended with a panic, which is a bug.
    pub(super) fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        let message = "the registry failed, which is a bug: its log has the reason";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, None, message)
            .log(format_args!("a panic: {}", text.unwrap_or("without a text")))
    }

    pub(super) fn method_not_allowed(allowed: &'static str) -> Self {
        let message = format!("the method is not supported here: use {allowed}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported, message).header(ALLOW, allowed)
    }

    /// An open registry on loopback, asked under a name that may be anyone's.
    pub(super) fn not_a_name_of_loopback() -> Self {
        let message = "this registry has no login and answers to names of loopback alone, as localhost and 127.0.0.1: use one of them";
        let log = "the Host is no name of loopback: if it should be one of this registry, start with --open and name it in http.externalURL";
        Self::new(StatusCode::MISDIRECTED_REQUEST, ErrorCode::Denied, message).log(log)
    }

    pub(super) fn open_behind_a_proxy() -> Self {
        let message = "this registry has no login, and does not answer what a proxy hands on";
        Self::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message).log(
            "the request has a header that proxies write: configure a login, or start with --open to let everybody behind the proxy in",
        )
    }

    pub(super) fn open_to_another_site() -> Self {
        let message = "this registry has no login, and does not answer pages of other sites";
        let log = "a browser sent it for another site: if its page may use this registry, name its origin in http.allowOrigin";
        Self::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message).log(log)
    }

    pub(super) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            ErrorCode::Unsupported,
            InvalidPath::Unknown.to_string(),
        )
    }

    pub(super) fn other_service(ours: &str) -> Self {
        let message = format!(
            "tokens are issued for the service {ours} only: leave `service` out, or take it from the challenge"
        );
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::Unsupported, message)
    }

    /// RFC 8693 2.2.2.
    pub(super) fn invalid_target() -> Self {
        let message = "audience and resource must name this registry: its service, or its address";
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::Unsupported, message).oauth("invalid_target")
    }

    pub(super) fn form_too_large() -> Self {
        let message = format!("the form has more than {FORM_BYTES} bytes");
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::Unsupported, message)
    }

    pub(super) fn bad_page_size() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::Unsupported,
            "`n` is how many entries to list: a number, 0 or more",
        )
    }

    pub(super) fn missing_digest() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::DigestInvalid,
            "close an upload with ?digest=<digest of the whole content>",
        )
    }

    pub(super) fn header_too_large() -> Self {
        let message = format!("the request's header has more than {HEADER_BYTES} bytes");
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            ErrorCode::Unsupported,
            message,
        )
    }

    pub(super) fn manifest_too_large() -> Self {
        registry::Error::TooLarge.into()
    }

    /// A caller who has not logged in, and whose address has too many requests in flight.
    pub(super) fn crowded(why: Crowded) -> Self {
        let message = "too many requests of your address are being answered for callers who have not logged in: log in, or try again later";
        Self::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests, message)
            .header(RETRY_AFTER, RETRY_SECONDS)
            .log(format!(
                "callers at this address who have not logged in have as many requests in flight as \
                 http.unidentified.requestsPerAddress allows, or send {FORMS_OF_ADDRESS} forms, and {why}"
            ))
    }

    /// The request's body ended before its end.
    pub(super) fn broken_off(why: registry::BodyError) -> Self {
        registry::Error::from(why).into()
    }

    pub(super) fn upload_unknown() -> Self {
        registry::Error::UploadUnknown.into()
    }

    pub(super) fn bad_encoding(encoding: InvalidEncoding) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::NameInvalid,
            encoding.to_string(),
        )
    }

    /// RFC 9112, 6.1.
    pub(super) fn transfer_coding() -> Self {
        let message = "the only Transfer-Encoding that is understood is `chunked`: send the body as it is";
        Self::new(StatusCode::NOT_IMPLEMENTED, ErrorCode::Unsupported, message)
    }

    pub(super) fn bad_name(name: InvalidName) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::NameInvalid, name.to_string())
    }

    pub(super) fn bad_tag(tag: InvalidTag) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::ManifestInvalid,
            tag.to_string(),
        )
    }

    pub(super) fn tag_in_path_and_query() -> Self {
        let message = "?tag= goes with a digest in the path, not with a tag";
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::ManifestInvalid, message)
    }

    pub(super) fn too_many_tags(most: usize) -> Self {
        let message = format!("a manifest can be pushed with at most {most} tags at once");
        Self::new(StatusCode::URI_TOO_LONG, ErrorCode::ManifestInvalid, message)
    }

    pub(super) fn range_not_satisfiable(size: u64) -> Self {
        Self::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            ErrorCode::SizeInvalid,
            "the range is outside the blob",
        )
        .detail(json!({"size": size}))
        .header(http::header::CONTENT_RANGE, &format!("bytes */{size}"))
    }

    /// A bad path. `writes` tells a push of a malformed reference (400) from asking for what cannot be there
    /// (404).
    pub(super) fn path(invalid: InvalidPath, writes: bool) -> Self {
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

    /// The same for someone who has not said who they are: 401 instead of 403, since a credential might help.
    #[must_use]
    pub(super) fn for_anonymous(mut self, with_token: bool) -> Self {
        if self.status == StatusCode::FORBIDDEN {
            let Self {
                status,
                code,
                message,
                ..
            } = Self::unauthenticated();
            (self.status, self.code, self.message) = (status, code, message);
            // Clients present an anonymous token again and again unless they are told that it does not
            // suffice.
            self.challenge = with_token.then_some(ChallengeError::InsufficientScope);
        }
        self
    }

    /// The same with the request's id where the log has more to say, since most clients show their users the
    /// message and no header.
    #[must_use]
    pub(super) fn with_request_id(mut self, id: &str) -> Self {
        let refused = self.challenge.is_some()
            || matches!(self.status, StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS);
        if refused || self.status.is_server_error() {
            self.message = format!("{} (request {id})", self.message).into();
        }
        self
    }

    pub(super) fn response(self) -> Response {
        let code = self.code.map_or("UNKNOWN", ErrorCode::as_str);
        let whole = short(&self.message);
        let error = |(message, detail): &(Option<String>, Value)| {
            let message = message.as_deref().map_or(whole.clone(), short);
            json!({"code": code, "message": message, "detail": detail})
        };
        let errors: Vec<Value> = if self.details.is_empty() {
            vec![error(&(None, json!({})))]
        } else {
            self.details.iter().map(error).collect()
        };
        let body = match self.oauth {
            None => json!({ "errors": errors }),
            Some(error) => json!({ "errors": errors, "error": error, "error_description": whole }),
        };
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers);
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// As much of a message as a client reads. Some repeat what the client sent.
fn short(message: &str) -> Cow<'_, str> {
    if message.len() <= MESSAGE_BYTES {
        return Cow::Borrowed(message);
    }
    let (kept, rest) = message.split_at(message.floor_char_boundary(MESSAGE_BYTES));
    Cow::Owned(format!("{kept}… ({} more bytes)", rest.len()))
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

impl From<Denied> for Fault {
    fn from(denied: Denied) -> Self {
        if denied.by == DeniedBy::Scope {
            return Self::insufficient_scope().log(&denied);
        }
        let Denied {
            action, repository, ..
        } = &denied;
        let message = format!("policy does not allow you to {} in {repository}", action.as_str());
        Self::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message)
            .detail(json!({"repository": repository.as_str(), "action": action.as_str()}))
            .log(&denied)
    }
}

impl From<BeyondScope> for Fault {
    fn from(beyond: BeyondScope) -> Self {
        Self::insufficient_scope().log(beyond)
    }
}

impl From<registry::Error> for Fault {
    fn from(error: registry::Error) -> Self {
        use registry::Error::*;
        let (status, code) = match &error {
            BlobUnknown => (StatusCode::NOT_FOUND, ErrorCode::BlobUnknown),
            UploadUnknown => (StatusCode::NOT_FOUND, ErrorCode::BlobUploadUnknown),
            UploadBusy | RangeMismatch { .. } => {
                (StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::BlobUploadInvalid)
            }
            TooManyUploads { .. } => (StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests),
            SizeMismatch => (StatusCode::BAD_REQUEST, ErrorCode::SizeInvalid),
            DigestMismatch { .. } => (StatusCode::BAD_REQUEST, ErrorCode::DigestInvalid),
            ManifestUnknown => (StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown),
            RepositoryUnknown => (StatusCode::NOT_FOUND, ErrorCode::NameUnknown),
            InvalidManifest(_) => (StatusCode::BAD_REQUEST, ErrorCode::ManifestInvalid),
            MissingReferences(_) => (StatusCode::NOT_FOUND, ErrorCode::ManifestBlobUnknown),
            TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::SizeInvalid),
            TagExists | TagMissing => (StatusCode::FORBIDDEN, ErrorCode::Denied),
            ConditionFailed { .. } => (StatusCode::PRECONDITION_FAILED, ErrorCode::Denied),
            Referenced | Undecided { .. } | Listed { .. } | MayBeListed { .. } => {
                (StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Denied)
            }
            // As in zot.
            SeveralTags => (StatusCode::CONFLICT, ErrorCode::ManifestInvalid),
            Interrupted => (StatusCode::BAD_REQUEST, ErrorCode::BlobUploadInvalid),
            BlobDamaged(_) | Unreadable { .. } => {
                return Self::new(StatusCode::INTERNAL_SERVER_ERROR, None, error.to_string()).log(&error);
            }
            Internal => return Self::new(StatusCode::INTERNAL_SERVER_ERROR, None, error.to_string()),
            Stalled => (StatusCode::REQUEST_TIMEOUT, ErrorCode::BlobUploadInvalid),
            Storage(failure) => return storage_failed(failure),
        };
        let fault = Self::new(status, code, error.to_string());
        match error {
            RangeMismatch { offset } => fault
                .header(RANGE, &stands_at(offset))
                .detail(json!({"offset": offset})),
            TooManyUploads { most } => fault.header(RETRY_AFTER, RETRY_SECONDS).log(format_args!(
                "the caller has {most} uploads open, as http.openUploads allows"
            )),
            DigestMismatch { expected, found } => {
                fault.detail(json!({"expected": expected.as_str(), "found": found.as_str()}))
            }
            MissingReferences(digests) => fault.missing(&digests),
            ConditionFailed { found: Some(found) } => fault
                .header(ETAG, &format!("\"{found}\""))
                .detail(json!({"found": found.as_str()})),
            TooLarge => fault.detail(json!({"limit": MANIFEST_BYTES})),
            Referenced => fault.header(ALLOW, "GET, HEAD"),
            Undecided { manifest } => fault
                .header(ALLOW, "GET, HEAD")
                .detail(json!({"manifest": manifest.as_str()})),
            Listed { index } | MayBeListed { index } => fault
                .header(ALLOW, "GET, HEAD, PUT")
                .detail(json!({"index": index.as_str()})),
            _ => fault,
        }
    }
}

/// `Range` behind a request that was done, of an upload that now has so many bytes. `0-0` also if it has
/// none: docker refuses an end before the begin.
pub(super) fn uploaded(offset: u64) -> String {
    format!("0-{}", offset.saturating_sub(1))
}

/// `Range` for a client that asks where to go on. `0-0` would say that one byte is there, and regctl would go
/// on with the second one again and again. The specification has no word for none: `0--1` is read as such by
/// regctl, docker and the conformance suite, and is what zot said until 2026.
pub(super) fn stands_at(offset: u64) -> String {
    if offset == 0 {
        "0--1".to_owned()
    } else {
        uploaded(offset)
    }
}

fn storage_failed(failure: &storage::Failure) -> Fault {
    let (status, message) = match failure {
        storage::Failure::Conflict => (
            StatusCode::SERVICE_UNAVAILABLE,
            "others are changing the same: try again",
        ),
        storage::Failure::Busy => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the registry's storage is busy: try again",
        ),
        storage::Failure::Full => (
            StatusCode::INSUFFICIENT_STORAGE,
            "the registry's storage is full: nothing was stored",
        ),
        lacks if lacks.lacks_descriptors() => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the registry has no file descriptors left now: try again",
        ),
        storage::Failure::LogHeld => (
            StatusCode::INSUFFICIENT_STORAGE,
            "nothing was stored: another program reads the registry's records.sqlite3 without an end, and the log of changes has become too large",
        ),
        storage::Failure::Missing
        | storage::Failure::Lost { .. }
        | storage::Failure::NotWritable { .. }
        | storage::Failure::Io(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "the registry's storage failed: its log has the reason",
        ),
        storage::Failure::Stopped => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the registry's storage takes no changes until it is restarted",
        ),
    };
    let fault = Fault::new(status, None, message).log(failure);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        fault.header(RETRY_AFTER, RETRY_SECONDS)
    } else {
        fault
    }
}

impl From<Exhausted> for Fault {
    fn from(exhausted: Exhausted) -> Self {
        let message =
            "the registry has no memory for this request now, since too many are under way: try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, None, message)
            .log(exhausted)
            .header(RETRY_AFTER, RETRY_SECONDS)
    }
}

impl From<GrantError> for Fault {
    fn from(error: GrantError) -> Self {
        let (status, oauth) = match &error {
            GrantError::UnsupportedGrantType => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
            GrantError::AssertionType => (StatusCode::UNAUTHORIZED, "invalid_client"),
            GrantError::NoGrantType
            | GrantError::Missing { .. }
            | GrantError::Repeated { .. }
            | GrantError::SubjectTokenType
            | GrantError::RequestedTokenType
            | GrantError::ActorToken => (StatusCode::BAD_REQUEST, "invalid_request"),
        };
        let code = if status == StatusCode::UNAUTHORIZED {
            ErrorCode::Unauthorized
        } else {
            ErrorCode::Unsupported
        };
        Self::new(status, code, error.to_string()).oauth(oauth)
    }
}

impl From<NotRedeemed> for Fault {
    fn from(why: NotRedeemed) -> Self {
        match why {
            NotRedeemed::Grant(failure) => failure.into(),
            NotRedeemed::Client(failure) => Self::from(failure).bad_client(),
            NotRedeemed::NoClient
            | NotRedeemed::NoJwtSvid
            | NotRedeemed::SeveralAudiences { .. }
            | NotRedeemed::ClientId => {
                Self::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, why.to_string())
                    .oauth("invalid_client")
            }
        }
    }
}

impl From<NotIssued> for Fault {
    fn from(why: NotIssued) -> Self {
        let bad_request =
            |why: NotIssued| Self::new(StatusCode::BAD_REQUEST, ErrorCode::Unsupported, why.to_string());
        match why {
            NotIssued::Anonymous => Self::unauthenticated(),
            NotIssued::Expired => Self {
                challenge: Some(ChallengeError::InvalidToken),
                ..Self::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, why.to_string())
            },
            NotIssued::NotExchanged => bad_request(why).oauth("invalid_grant"),
            NotIssued::TooLarge { .. } => bad_request(why),
            NotIssued::TooManyScopes => bad_request(why).oauth("invalid_scope"),
            NotIssued::Keys(why) => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                None,
                "no token can be signed: the registry's log has the reason",
            )
            .log(why),
        }
    }
}

impl From<identity::Failure> for Fault {
    fn from(failure: identity::Failure) -> Self {
        match failure {
            identity::Failure::Refused(refusal) => Self {
                challenge: Some(ChallengeError::InvalidToken),
                ..Self::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, refused(&refusal.reason)).log(&refusal.reason)
            },
            identity::Failure::Undecidable { why, .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                None,
                "the credential cannot be checked now: the key that could verify it is not known yet; try again",
            )
            .log(why)
            .header(RETRY_AFTER, RETRY_SECONDS),
            identity::Failure::Busy { why: why @ Busy::Everyone, .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, None, "too many passwords are being checked: try again")
                    .log(why)
                    .header(RETRY_AFTER, RETRY_SECONDS)
            }
            identity::Failure::Busy { why: why @ Busy::Source { retry }, .. } => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                ErrorCode::TooManyRequests,
                "too many passwords from this address are being checked or were wrong: try again later",
            )
            .log(why)
            .header(RETRY_AFTER, &retry.as_secs().to_string()),
        }
    }
}

/// What a client may know of why its credential is bad. What was expected and what was found stays in the
/// log, except for faults that the client's certificate has by itself, whatever this registry trusts.
fn refused(reason: &Refused) -> Cow<'static, str> {
    match reason {
        Refused::Chain(why) if why.is_of_the_certificate_alone() => why.to_string().into(),
        reason => summary(reason).into(),
    }
}

const fn summary(reason: &Refused) -> &'static str {
    match reason {
        Refused::SeveralAuthorizationHeaders => "the request has several Authorization headers: send one",
        Refused::Scheme => {
            "the Authorization header is neither Bearer nor Basic with a token as its password"
        }
        Refused::MalformedBasic => "the Authorization header is not base64 of user:password",
        Refused::NotAToken => "the password is no token: present an OIDC ID token or a JWT-SVID",
        Refused::Password => "the name or the password is wrong",
        Refused::PasswordNotComparable => {
            "the password is longer than 72 bytes or has a NUL byte: it can be nobody's"
        }
        Refused::PasswordWithdrawn => "the password has changed: log in again",
        Refused::Revoked { .. } => "the credential is revoked",
        Refused::Jwt(_) => {
            "the token is not accepted: is it meant for this registry, and has it not expired?"
        }
        Refused::UnknownIssuer => "the token's issuer is not accepted here",
        Refused::UnknownTrustDomain => "the SPIFFE ID's trust domain is not accepted here",
        Refused::KindNotAccepted => "credentials of this kind are not accepted from there",
        Refused::Chain(_) => {
            "the client certificate is not accepted: is it issued by an authority of this registry, and has it not expired?"
        }
        Refused::Validation { .. } => {
            "the credential does not fulfil the conditions that are set for its issuer"
        }
        Refused::Mapping { .. }
        | Refused::EmptyUsername
        | Refused::UsernameTooLong { .. }
        | Refused::UsernameIsSpiffeId
        | Refused::UsernameIsAnIssuers { .. }
        | Refused::NoCommonName
        | Refused::NoAttribute
        | Refused::TooManyGroups { .. }
        | Refused::GroupTooLong { .. } => "the credential's claims do not yield an identity",
    }
}
