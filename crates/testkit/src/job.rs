//! The service that a job of GitHub Actions sees: an address on loopback that gives ID tokens to clients with
//! the job's own token.

use super::TestIssuer;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::net::TcpListener;

pub struct Job {
    pub url: String,
    serving: tokio::task::JoinHandle<()>,
}

/// What the job's requests must have.
pub const JOB_TOKEN: &str = "of-this-job";

impl Job {
    pub async fn start(issuer: Arc<TestIssuer>, subject: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token?api-version=2.0", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let issuer = issuer.clone();
                let service = service_fn(move |request| answer(request, issuer.clone(), subject));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { url, serving }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    issuer: Arc<TestIssuer>,
    subject: &str,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let known = request
        .headers()
        .get("authorization")
        .is_some_and(|value| *value == format!("Bearer {JOB_TOKEN}"));
    let query = request.uri().query().unwrap_or_default();
    let audience = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("audience="))
        .unwrap_or_default();
    let audience = &audience.replace("%3A", ":");
    if !known || !query.contains("api-version=2.0") {
        return Ok(Response::builder().status(401).body(Full::default()).unwrap());
    }
    Ok(Response::new(Full::from(
        json!({"value": issuer.token_for(audience, subject)}).to_string(),
    )))
}
