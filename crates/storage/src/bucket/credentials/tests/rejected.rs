//! Keys that the store does not accept any more. One stand-in is STS and S3 at once.

use super::settings;
use crate::bucket::objects::{Condition, Objects};
use crate::bucket::settings::Credentials;
use crate::bucket::web_identity::{TokenFetcher, TokenSource, WebIdentity};
use crate::bucket::wire::Requests;
use bytes::Bytes;
use http::header::{AUTHORIZATION, DATE, ETAG};
use http::{Method, Response};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use wharfinger_base::secret::Secret;
use wharfinger_testkit::{Asked, Site};

/// Which keys STS gives, and the first of them that the bucket accepts.
#[derive(Default)]
struct Service {
    given: AtomicUsize,
    accepted_from: AtomicUsize,
    requests: Mutex<Vec<Method>>,
}

const SESSION_TOKEN: &str = "session-token-of-the-test";

impl Service {
    fn answer(&self, asked: &Asked) -> Response<Bytes> {
        if asked.head.method == Method::POST {
            let number = self.given.fetch_add(1, Ordering::SeqCst) + 1;
            return keys(number);
        }
        self.requests.lock().unwrap().push(asked.head.method.clone());
        let signed = asked.head.headers.get(AUTHORIZATION).unwrap().to_str().unwrap();
        let from = self.accepted_from.load(Ordering::SeqCst);
        let accepted = (from..from + 10).any(|number| signed.contains(&format!("ASIA{number}/")));
        if !accepted {
            return rejected();
        }
        let answer = Response::builder().header(ETAG, "\"tag\"");
        let body =
            "<ListBucketResult><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>";
        answer.body(body.into()).unwrap()
    }

    fn requests(&self) -> Vec<Method> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

fn keys(number: usize) -> Response<Bytes> {
    let body = format!(
        "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
         <AccessKeyId>ASIA{number}</AccessKeyId><SecretAccessKey>x</SecretAccessKey>\
         <SessionToken>{SESSION_TOKEN}</SessionToken><Expiration>2026-11-28T13:00:00Z</Expiration>\
         </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    );
    let answer = Response::builder().header(DATE, "Sat, 28 Nov 2026 12:00:00 GMT");
    answer.body(body.into()).unwrap()
}

/// As Amazon does, with the session token in the body.
fn rejected() -> Response<Bytes> {
    let body = format!(
        "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message>\
         <Token-0>{SESSION_TOKEN}</Token-0></Error>"
    );
    Response::builder().status(403).body(body.into()).unwrap()
}

/// Starts both, and makes one request with the first keys.
async fn start() -> (Site, Arc<Service>, Objects) {
    let site = Site::plain().await;
    let service = Arc::new(Service::default());
    let answering = service.clone();
    site.answer_all(move |asked| answering.answer(asked));
    let fetcher = TokenFetcher::new("the test", || Box::pin(async { Ok(Secret::new("token")) }));
    let mut settings = settings(Credentials::WebIdentity(WebIdentity {
        role: "role".to_owned(),
        session_name: None,
        sts_endpoint: Some(site.base.clone()),
        token: TokenSource::Fetched(fetcher),
    }));
    settings.endpoint = Some(site.base.clone());
    settings.path_style = true;
    settings.tls.plain = true;
    let objects = Objects::new(&settings, &Requests::default()).unwrap();
    objects.list("", "", 1).await.unwrap();
    service.requests();
    (site, service, objects)
}

#[tokio::test]
async fn a_read_is_repeated_once_with_new_keys() {
    let (_site, service, objects) = start().await;
    service.accepted_from.store(2, Ordering::SeqCst);
    objects.list("", "", 1).await.unwrap();
    assert_eq!(service.requests(), [Method::GET, Method::GET]);
    assert_eq!(service.given.load(Ordering::SeqCst), 2);
    // The new keys are rejected too.
    service.accepted_from.store(100, Ordering::SeqCst);
    let why = objects.list("", "", 1).await.unwrap_err().to_string();
    assert_eq!(service.requests(), [Method::GET]);
    assert_eq!(service.given.load(Ordering::SeqCst), 2);
    assert!(why.contains("ExpiredToken"), "{why}");
    assert!(!why.contains(SESSION_TOKEN), "{why}");
}

#[tokio::test]
async fn a_conditional_write_is_not_repeated_but_the_next_has_new_keys() {
    let (_site, service, objects) = start().await;
    service.accepted_from.store(2, Ordering::SeqCst);
    let why = objects
        .put("key", Bytes::new(), Condition::Absent)
        .await
        .unwrap_err();
    assert!(
        matches!(why, object_store::Error::PermissionDenied { .. }),
        "{why}"
    );
    assert!(!why.to_string().contains(SESSION_TOKEN), "{why}");
    assert_eq!(service.requests(), [Method::PUT]);
    objects.put("key", Bytes::new(), Condition::Absent).await.unwrap();
    assert_eq!(service.requests(), [Method::PUT]);
    assert_eq!(service.given.load(Ordering::SeqCst), 2);
}
