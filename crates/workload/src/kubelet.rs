//! The kubelet's image credential provider API, `credentialprovider.kubelet.k8s.io/v1`: a request on standard
//! input, a response on standard output. If the request has a service account's token (KEP-4412) and the
//! token is for the image's registry, it is returned as the password. Without one the node's own token is
//! fetched. The kubelet logs standard error only if the plugin fails, so withholding a token is an error. The
//! pull then continues without a token.
//!
//! <https://kubernetes.io/docs/reference/config-api/kubelet-credentialprovider.v1/>

use super::handed::USERNAME;
use super::source_error::SourceError;
use super::token::Token;
use super::{Asker, Found, InvalidHost, RegistryHost, Withheld, Workload};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use wharfinger_base::clock::Timestamp;
use wharfinger_base::object;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("expected a {KIND}Request in JSON on standard input: {0}")]
    Request(String),
    #[error(
        "expected apiVersion {VERSION} and kind {KIND}Request, found {version} and {kind}: set apiVersion {VERSION} for this provider in the kubelet's CredentialProviderConfig"
    )]
    Version { version: String, kind: String },
    #[error("image {image:?}: {why}")]
    Image { image: String, why: InvalidHost },
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Withheld(Vec<Withheld>),
}

/// Answers one request.
pub async fn answer(request: &str, workload: &Workload, now: Timestamp) -> Result<Value, Error> {
    let request: Request = object::read(request.as_bytes()).map_err(Error::Request)?;
    if request.api_version != VERSION || request.kind != format!("{KIND}Request") {
        return Err(Error::Version {
            version: request.api_version,
            kind: request.kind,
        });
    }
    let host = RegistryHost::of_image(&request.image).map_err(|why| Error::Image {
        image: request.image.clone(),
        why,
    })?;
    if !request.service_account_token.is_empty() {
        let token = Token::read(&request.service_account_token, POD_TOKEN)?;
        workload
            .may_have(&host, &token, POD_TOKEN)
            .map_err(|why| Error::Withheld(vec![why]))?;
        let token = token.fresh(POD_TOKEN, now)?;
        let keep = token.expires.map(|expires| expires.since(now));
        return Ok(response(&host, Some((USERNAME, token.secret.expose())), keep));
    }
    // `matchImages` in the kubelet's configuration names the registry.
    match workload.token(&host, Asker::Configured).await? {
        Found::Token(handed) => Ok(response(
            &host,
            Some((&handed.username, handed.secret.expose())),
            handed.fresh_for,
        )),
        Found::Nothing(withheld) if withheld.is_empty() => Ok(response(&host, None, None)),
        Found::Nothing(withheld) => Err(Error::Withheld(withheld)),
    }
}

/// The token is the same for every image of the registry, so the kubelet caches it by registry. If the
/// kubelet sent a token, it also caches by that token, if its configuration says `cacheType: Token`.
fn response(host: &RegistryHost, credential: Option<(&str, &str)>, keep: Option<Duration>) -> Value {
    let auth = match credential {
        Some((username, password)) => json!({host.authority(): {"username": username, "password": password}}),
        None => json!({}),
    };
    json!({
        "kind": format!("{KIND}Response"),
        "apiVersion": VERSION,
        "cacheKeyType": "Registry",
        "cacheDuration": format!("{}s", kept(keep).as_secs()),
        "auth": auth,
    })
}

/// Returns how long the kubelet may cache a token so that a pull that begins with it can still authenticate.
/// A token without an expiry is not cached.
fn kept(fresh_for: Option<Duration>) -> Duration {
    fresh_for.map_or(Duration::ZERO, |fresh| fresh.saturating_sub(SPARE))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    image: String,
    #[serde(default)]
    service_account_token: String,
}

const VERSION: &str = "credentialprovider.kubelet.k8s.io/v1";
const KIND: &str = "CredentialProvider";
/// The name in the kubelet's API.
const POD_TOKEN: &str = "the request's serviceAccountToken";
/// The time between the end of the cache and the token's expiry.
const SPARE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_cached_until_its_very_end() {
        for (fresh_for, expected) in [(None, 0), (Some(30), 0), (Some(60), 0), (Some(300), 240)] {
            assert_eq!(
                kept(fresh_for.map(Duration::from_secs)).as_secs(),
                expected,
                "{fresh_for:?}"
            );
        }
    }
}
