//! An ID token from GitHub Actions: a request to the address that a job with `permissions: id-token: write`
//! finds in its environment.
//!
//! <https://docs.github.com/en/actions/reference/security/oidc#methods-for-requesting-the-oidc-token>

use super::surroundings::{GITHUB_TOKEN as TOKEN, GITHUB_URL as URL, Surroundings};
use reqwest::Url;
use reqwest::redirect::Policy;
use serde::Deserialize;
use std::time::Duration;
use wharfinger_base::object;
use wharfinger_base::tls_failure::explain;

/// Messages never contain the request's token or URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{URL} and {TOKEN} are not both set: give the job `permissions: id-token: write`")]
    NotPermitted,
    #[error("{URL} is not an http:// or https:// URL")]
    Url,
    #[error("its server cannot be reached: {0}")]
    Unreachable(String),
    #[error("its server answered {0}")]
    Status(u16),
    #[error("its server's answer has no `value`")]
    NoValue,
}

#[derive(Deserialize)]
struct Answer {
    value: String,
}

pub(super) async fn id_token(
    around: &Surroundings,
    audience: &str,
    patience: Duration,
) -> Result<String, Error> {
    let (Some(url), Some(token)) = (around.variable(URL), around.variable(TOKEN)) else {
        return Err(Error::NotPermitted);
    };
    let mut url = Url::parse(url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or(Error::Url)?;
    url.query_pairs_mut().append_pair("audience", audience);
    // The URL is removed from the error, in case it contains something private.
    let failed = |why: reqwest::Error| Error::Unreachable(explain(&why.without_url()).to_string());
    let mut client = reqwest::Client::builder()
        .redirect(Policy::none())
        .timeout(patience);
    if url.scheme() == "http" {
        client = client.tls_certs_only([]);
    }
    let answer = client
        .build()
        .map_err(failed)?
        .get(url)
        .bearer_auth(token)
        .send()
        .await
        .map_err(failed)?;
    if !answer.status().is_success() {
        return Err(Error::Status(answer.status().as_u16()));
    }
    let body = answer.bytes().await.map_err(failed)?;
    object::read(&body)
        .map(|Answer { value }| value)
        .map_err(|_| Error::NoValue)
}
