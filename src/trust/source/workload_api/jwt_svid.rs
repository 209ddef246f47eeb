//! A JWT-SVID of the registry's own, which it presents to another service.

use super::client::{Client, check_address};
use super::wire::{JwtSvid, JwtSvidRequest};
use crate::secret::Secret;
use crate::spiffe_id::SpiffeId;
use crate::trust::source::SourceError;
use tonic::Code;

/// Why there is no JWT-SVID.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NoJwtSvid {
    #[error(transparent)]
    Address(#[from] SourceError),
    #[error("{why}; register this registry's process as a workload there, with {}", wanted(id.as_ref()))]
    NotRegistered { why: String, id: Option<SpiffeId> },
    #[error("{0}")]
    NoAnswer(String),
    #[error("the Workload API at {0} returned no JWT-SVID")]
    Empty(String),
}

fn wanted(id: Option<&SpiffeId>) -> String {
    id.map_or_else(|| "any SPIFFE ID".to_owned(), SpiffeId::to_string)
}

/// Fetches a JWT-SVID for `audience` from the Workload API at `address`. `id` chooses one if the workload has
/// several; otherwise it is the agent's first. The caller sets a time-out.
pub async fn jwt_svid(address: &str, audience: &str, id: Option<&SpiffeId>) -> Result<Secret, NoJwtSvid> {
    check_address(address)?;
    let client = Client::new(address)?;
    let request = JwtSvidRequest {
        audience: vec![audience.to_owned()],
        spiffe_id: id.map(SpiffeId::to_string).unwrap_or_default(),
    };
    let answer = client.jwt_svids(request).await.map_err(|status| {
        let why = client.explain("FetchJWTSVID", &status);
        if status.code() == Code::PermissionDenied {
            NoJwtSvid::NotRegistered { why, id: id.cloned() }
        } else {
            NoJwtSvid::NoAnswer(why)
        }
    })?;
    match answer.svids.into_iter().next() {
        Some(JwtSvid { svid, .. }) => Ok(Secret::new(svid)),
        None => Err(NoJwtSvid::Empty(address.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::jwt::Unverified;
    use std::sync::Arc;
    use wharfinger_testkit::{Agent, TrustDomain};

    #[tokio::test]
    async fn it_is_for_the_audience_and_of_the_chosen_id() {
        let domain = Arc::new(TrustDomain::new("example.org"));
        let agent = Agent::of_workload(domain, "/registry");
        let id: SpiffeId = "spiffe://example.org/registry".parse().unwrap();
        for chosen in [None, Some(&id)] {
            let svid = jwt_svid(&agent.address, "sts.example.org", chosen).await.unwrap();
            assert!(Unverified::parse(svid.expose()).is_ok());
        }
        let other: SpiffeId = "spiffe://example.org/other".parse().unwrap();
        let why = jwt_svid(&agent.address, "sts.example.org", Some(&other))
            .await
            .unwrap_err();
        let text = why.to_string();
        assert!(matches!(why, NoJwtSvid::NotRegistered { .. }), "{text}");
        for part in [
            "PermissionDenied",
            "register this registry's process",
            "spiffe://example.org/other",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[tokio::test]
    async fn an_agent_that_is_not_there_is_named_with_what_to_check() {
        let why = jwt_svid("unix:///nowhere/agent.sock", "sts", None)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            why.contains("/nowhere/agent.sock") && why.contains("is the agent running"),
            "{why}"
        );
        let why = jwt_svid("agent.sock", "sts", None).await.unwrap_err();
        assert!(matches!(why, NoJwtSvid::Address(_)), "{why}");
    }
}
