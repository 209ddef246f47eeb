//! The service that a job of GitHub Actions sees: an address on loopback that gives ID tokens to clients with
//! the job's own token.

use super::site::Asked;
use super::{Site, TestIssuer};
use bytes::Bytes;
use http::Response;
use serde_json::json;
use std::sync::Arc;

/// It serves until it is dropped.
pub struct Job {
    pub url: String,
    _site: Site,
}

/// What the job's requests must have.
pub const JOB_TOKEN: &str = "of-this-job";

impl Job {
    pub async fn start(issuer: Arc<TestIssuer>, subject: &'static str) -> Self {
        let site = Site::plain().await;
        site.answer_all(move |asked| answer(asked, &issuer, subject));
        let url = site.url("/token?api-version=2.0");
        Self { url, _site: site }
    }
}

fn answer(Asked { head, .. }: &Asked, issuer: &TestIssuer, subject: &str) -> Response<Bytes> {
    let known = head
        .headers
        .get("authorization")
        .is_some_and(|value| *value == format!("Bearer {JOB_TOKEN}"));
    let query = head.uri.query().unwrap_or_default();
    let audience = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("audience="))
        .unwrap_or_default();
    let audience = &audience.replace("%3A", ":");
    if !known || !query.contains("api-version=2.0") {
        return Response::builder().status(401).body(Bytes::new()).unwrap();
    }
    let token = json!({"value": issuer.token_for(audience, subject)});
    Response::new(token.to_string().into())
}
