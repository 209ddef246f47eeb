//! The HTTP client below `object_store`. It sees every answer, so it tells the store's time, and reports
//! requests to an observer.

use super::clock::StoreClock;
use super::permissions::needed;
use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, Method, StatusCode};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Learns of every request to the store, for metrics.
pub trait Observer: Send + Sync + fmt::Debug {
    /// `took` is the time until the answer began.
    fn request(&self, operation: &'static str, outcome: &'static str, took: Duration);
}

/// Ignores all requests.
impl Observer for () {
    fn request(&self, _: &'static str, _: &'static str, _: Duration) {}
}

/// How requests are made.
#[derive(Clone, Debug)]
pub struct Requests {
    pub observer: Arc<dyn Observer>,
    /// How long a connection may take.
    pub connect: Duration,
    /// How long the store may be silent before and during an answer.
    pub answer: Duration,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            observer: Arc::new(()),
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(30),
        }
    }
}

/// Makes clients that note the `Date` of every answer.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    pub(super) clock: Arc<StoreClock>,
    pub(super) observer: Arc<dyn Observer>,
}

/// The store answered with an error that has no meaning in the protocol: any but 3xx, 401, 403, 404, 409, 412
/// and 416.
#[derive(Debug, thiserror::Error)]
#[error("it answered {status}{details}")]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    /// The code and the message of the answer, if it has them.
    details: String,
    /// How long the store asks its clients to wait.
    pub(super) wait: Option<Duration>,
}

#[cfg(test)]
impl Answered {
    pub(super) fn test(status: u16) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap(),
            details: String::new(),
            wait: None,
        }
    }
}

impl HttpConnector for Wire {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Noted {
            inner,
            wire: self.clone(),
        }))
    }
}

#[derive(Debug)]
struct Noted {
    inner: HttpClient,
    wire: Wire,
}

#[async_trait::async_trait]
impl HttpService for Noted {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let operation = operation(request.method(), request.uri().query().unwrap_or_default());
        let copies = request.headers().contains_key(COPY_SOURCE);
        let begun = Instant::now();
        let answer = self.inner.execute(request).await;
        self.wire
            .observer
            .request(operation, outcome(&answer), begun.elapsed());
        let answer = answer?;
        if let Some(date) = text(answer.headers(), &DATE) {
            self.wire.clock.saw(date);
        }
        let completes = operation == COMPLETE && answer.status().is_success();
        let is_rejected = answer.status().is_client_error();
        if has_meaning(answer.status()) && !completes && !is_rejected {
            return Ok(answer);
        }
        let (parts, body) = answer.into_parts();
        let body = body.bytes().await;
        if completes {
            let body = body?;
            let text = String::from_utf8_lossy(&body);
            if text.contains("<Error>") {
                return Err(answered(StatusCode::INTERNAL_SERVER_ERROR, &parts.headers, &text));
            }
            return Ok(HttpResponse::from_parts(parts, body.into()));
        }
        let body = body.unwrap_or_default();
        if has_meaning(parts.status) {
            // The rest of the body may hold a session token or what was signed.
            let details = details(&String::from_utf8_lossy(&body));
            let needed = needed(parts.status, &details, operation, copies);
            return Ok(HttpResponse::from_parts(
                parts,
                format!("{details}{needed}").into(),
            ));
        }
        Err(answered(
            parts.status,
            &parts.headers,
            &String::from_utf8_lossy(&body),
        ))
    }
}

fn answered(status: StatusCode, headers: &HeaderMap, body: &str) -> HttpError {
    let answered = Answered {
        status,
        details: details(body),
        wait: text(headers, &RETRY_AFTER)
            .and_then(|seconds| seconds.parse().ok())
            .map(Duration::from_secs),
    };
    HttpError::new(HttpErrorKind::Unknown, answered)
}

/// The completion of a multipart upload takes time. So S3 answers 200 before it is done, and a failure is in the
/// body.
const COMPLETE: &str = "complete_upload";

const COPY_SOURCE: &str = "x-amz-copy-source";

fn text<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn has_meaning(status: StatusCode) -> bool {
    status.is_success()
        || status.is_redirection()
        || matches!(status.as_u16(), 401 | 403 | 404 | 409 | 412 | 416)
}

/// ` (SlowDown: Please reduce your request rate.)`
fn details(body: &str) -> String {
    let element = |name: &str| {
        let (_, from) = body.split_once(&format!("<{name}>"))?;
        let (text, _) = from.split_once(&format!("</{name}>"))?;
        Some(text.chars().take(200).collect::<String>())
    };
    match (element("Code"), element("Message")) {
        (Some(code), Some(message)) => format!(" ({code}: {message})"),
        (Some(code), None) => format!(" ({code})"),
        (None, _) => String::new(),
    }
}

fn operation(method: &Method, query: &str) -> &'static str {
    match *method {
        Method::GET if query.contains("list-type=") => "list",
        Method::GET if query.contains("uploads") => "list_uploads",
        Method::GET if query.starts_with("versioning") => "get_versioning",
        Method::GET if query.starts_with("lifecycle") => "get_lifecycle",
        Method::GET => "get",
        Method::HEAD => "head",
        Method::PUT if query.contains("partNumber=") => "put_part",
        Method::PUT => "put",
        Method::DELETE if query.contains("uploadId=") => "abort_upload",
        Method::DELETE => "delete",
        Method::POST if query.contains("uploadId=") => COMPLETE,
        Method::POST if query.contains("uploads") => "begin_upload",
        _ => "other",
    }
}

fn outcome(answer: &Result<HttpResponse, HttpError>) -> &'static str {
    match answer {
        Ok(answer) => match answer.status().as_u16() {
            200..300 => "ok",
            304 => "not_modified",
            401 | 403 => "denied",
            404 => "not_found",
            409 | 412 => "refused",
            429 | 503 => "slow_down",
            _ => "error",
        },
        Err(why) => match why.kind() {
            HttpErrorKind::Timeout => "timeout",
            HttpErrorKind::Connect => "unreachable",
            _ => "broken",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_by_its_code_and_message() {
        let body =
            "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>";
        assert_eq!(details(body), " (SlowDown: Reduce your rate.)");
        assert_eq!(
            details("<Error><Code>InternalError</Code></Error>"),
            " (InternalError)"
        );
        assert_eq!(details("<html>Bad gateway</html>"), "");
    }

    #[test]
    fn requests_are_named_for_what_they_do() {
        for (method, query, name) in [
            (Method::GET, "", "get"),
            (Method::GET, "list-type=2&prefix=d", "list"),
            (Method::PUT, "x-id=PutObject", "put"),
            (Method::PUT, "partNumber=1&uploadId=x", "put_part"),
            (Method::POST, "uploads", "begin_upload"),
            (Method::POST, "uploadId=x", "complete_upload"),
            (Method::DELETE, "uploadId=x", "abort_upload"),
            (Method::DELETE, "", "delete"),
        ] {
            assert_eq!(operation(&method, query), name);
        }
    }
}
