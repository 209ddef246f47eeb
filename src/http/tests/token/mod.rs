//! The token endpoint: the tokens of each grant, the errors of wrong ones, and the rule that one of the
//! registry's tokens never grants more than its credential would grant now.

mod clocks;
mod grants;
mod svids;
mod worth;

use super::*;
use crate::identity::Domain;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const PULL: &str = "repository:team/a:pull";

impl Site {
    async fn token_for(&self, query: &str, authorization: &str) -> Answer {
        let request = ask(Method::GET, &format!("/v2/token?{query}"));
        let request = if authorization.is_empty() {
            request
        } else {
            request.header("authorization", authorization)
        };
        self.send(request, Body::empty()).await
    }

    /// One of the registry's tokens for the subject `builder`.
    async fn minted(&self, scope: &str) -> String {
        access(
            &self
                .token_for(
                    &format!("scope={scope}"),
                    &format!("Bearer {}", self.token("builder")),
                )
                .await,
        )
    }

    async fn post(&self, form: &[(&str, &str)]) -> Answer {
        let body: String = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let request = ask(Method::POST, "/v2/token")
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        self.send(request, body).await
    }

    async fn with_token(&self, method: Method, path: &str, token: &str) -> Answer {
        self.send(bearer(ask(method, path), token), Body::empty()).await
    }

    /// Replaces the state of the configuration.
    fn change(&self, change: impl FnOnce(&mut Live)) {
        let mut live = (*self.app.live.load_full()).clone();
        change(&mut live);
        self.app.live.store(Arc::new(live));
    }

    fn issuer(&self, mapping: Mapping) -> Issuer {
        let rules = OidcRules {
            hosts: Vec::new(),
            issuer: ISSUER.into(),
            skip_issuer: false,
            audiences: vec!["registry".into()],
            algorithms: None,
            clock_skew: Duration::from_secs(30),
            max_lifetime: None,
            single_audience: false,
        };
        Issuer {
            name: None,
            rules,
            keys: Arc::new(Authorities::new(vec![self.keys.clone()])),
            mapping,
        }
    }

    fn authenticate_with(&self, issuers: Vec<Issuer>, domains: Vec<Domain>, terms: &Terms) {
        let authenticator = Authenticator::new(issuers, domains, vec![])
            .with_minted(self.app.tokens.verification(terms))
            .with_token_cache();
        self.change(|live| (live.authenticator, live.terms) = (Arc::new(authenticator), terms.clone()));
    }

    fn terms(&self, session_lifetime: u64) -> Terms {
        Terms {
            service: "r.example".into(),
            session_lifetime: Duration::from_secs(session_lifetime),
        }
    }
}

fn access(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.json()["token"], answer.json()["access_token"]);
    answer.json()["token"].as_str().unwrap().to_owned()
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

/// The status, the code of the token protocol, and OAuth's code.
fn outcome(answer: &Answer) -> (u16, String, String) {
    let (status, code) = answer.error();
    (
        status,
        code,
        answer.json()["error"].as_str().unwrap_or_default().to_owned(),
    )
}

/// A repository that only `builder` may use.
const TAGS: &str = "/v2/team/a/tags/list";
const UPLOADS: &str = "/v2/team/a/blobs/uploads/";
