//! Tests of every way to be accepted or rejected by the authenticator.

mod certificate_costs;
mod certificates;
mod deny;
mod entries;
mod headers;
mod mapping;
mod namesakes;
mod namespace;
mod token_cache;
mod tokens;

use super::*;
use crate::clock::Timestamp;
use crate::trust::jwks::{self, KeySet, UseRule};
use crate::trust::jwt::testing::{Signer, key_set};
use crate::trust::jwt::{Algorithm, OidcRules, SvidRules, TokenServerRules};
use crate::trust::{Authorities, Slot, bundle};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_secs(1_795_500_000);
const EXPIRES: i64 = 1_795_500_300;

/// Signs for the issuer `https://a.example`.
static A: LazyLock<Signer> = LazyLock::new(|| Signer::new(Algorithm::ES256, "a"));
/// Signs for `https://any.example`, whose entry skips the comparison of `iss`.
static ANY: LazyLock<Signer> = LazyLock::new(|| Signer::new(Algorithm::ES256, "any"));
/// Signs for the trust domain `prod.example`.
static PROD: LazyLock<Signer> = LazyLock::new(|| Signer::new(Algorithm::ES256, "prod"));

fn oidc_keys(signer: &Signer) -> Arc<Authorities<KeySet>> {
    held(
        jwks::parse(&key_set(&[signer.jwk()]), UseRule::Oidc)
            .unwrap()
            .value,
    )
}

fn held<T>(keys: T) -> Arc<Authorities<T>> {
    let slot = Slot::new("test");
    slot.publish(keys, NOW, Timestamp::MAX);
    Arc::new(Authorities::new(vec![slot]))
}

/// Returns authorities that never answered.
fn silent<T>() -> Arc<Authorities<T>> {
    Arc::new(Authorities::new(vec![Slot::new("silent")]))
}

fn issuer(name: &str, keys: &Arc<Authorities<KeySet>>) -> Issuer {
    let rules = OidcRules {
        hosts: Vec::new(),
        issuer: name.into(),
        skip_issuer: false,
        audiences: vec!["zot".into()],
        algorithms: None,
        clock_skew: Duration::from_secs(30),
        max_lifetime: None,
        single_audience: false,
    };
    Issuer {
        name: None,
        rules,
        keys: keys.clone(),
        mapping: Mapping::default(),
    }
}

fn skipping(name: &str, keys: &Arc<Authorities<KeySet>>) -> Issuer {
    let mut issuer = issuer(name, keys);
    issuer.rules.skip_issuer = true;
    issuer
}

fn domain(name: &str) -> Domain {
    let rules = SvidRules {
        hosts: Vec::new(),
        trust_domain: name.parse().unwrap(),
        audiences: vec!["zot".into()],
        clock_skew: Duration::from_secs(30),
        single_audience: false,
    };
    Domain {
        rules,
        jwt: None,
        x509: None,
        mapping: Mapping::default(),
    }
}

fn domain_with_keys(name: &str, signer: &Signer) -> Domain {
    let keys = jwks::parse(
        &key_set(&[signer.jwk_with("use", "jwt-svid")]),
        UseRule::SpiffeBundle,
    )
    .unwrap()
    .value;
    Domain {
        jwt: Some(held(keys)),
        ..domain(name)
    }
}

/// A token server for the service `zot`.
fn token_server(signer: &Signer) -> TokenServer {
    let rules = TokenServerRules {
        issuer: None,
        service: "zot".into(),
        clock_skew: Duration::ZERO,
    };
    TokenServer {
        rules,
        keys: oidc_keys(signer),
    }
}

fn id_token(signer: &Signer, issuer: &str, subject: &str) -> String {
    signer.token(&json!({"iss": issuer, "sub": subject, "aud": "zot", "exp": EXPIRES}))
}

fn jwt_svid(signer: &Signer, id: &str) -> String {
    signer.token(&json!({"sub": id, "aud": ["zot"], "exp": EXPIRES}))
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn basic(user_and_password: &str) -> String {
    format!("Basic {}", STANDARD.encode(user_and_password))
}

async fn ask(authenticator: &Authenticator, headers: &[&str]) -> Result<Identity, Failure> {
    let authorization = headers.iter().map(|value| value.as_bytes()).collect();
    authenticator
        .authenticate(
            &Presented {
                authorization,
                peer: None,
                ambient: true,
                address: None,
            },
            NOW,
        )
        .await
}

/// Presents a client certificate and no header.
async fn meet_at(authenticator: &Authenticator, peer: &Peer, now: Timestamp) -> Result<Identity, Failure> {
    authenticator
        .authenticate(
            &Presented {
                authorization: vec![],
                peer: Some(peer),
                ambient: true,
                address: None,
            },
            now,
        )
        .await
}

/// Returns the identity of the token.
async fn identify(authenticator: &Authenticator, token: &str) -> Identity {
    ask(authenticator, &[&bearer(token)]).await.unwrap()
}

/// Returns why the token is rejected.
async fn refuse(authenticator: &Authenticator, token: &str) -> Refused {
    reason(ask(authenticator, &[&bearer(token)]).await)
}

fn reason(outcome: Result<Identity, Failure>) -> Refused {
    match outcome {
        Err(Failure::Refused(refusal)) => refusal.reason,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

fn mapping(settings: &MappingSettings) -> Mapping {
    Mapping::compile(settings).unwrap()
}

/// Returns a mapping that rejects a credential unless `expression` is true.
fn validating(expression: &str, message: &str) -> Mapping {
    mapping(&MappingSettings {
        validations: vec![(expression.into(), message.into())],
        ..MappingSettings::default()
    })
}

fn naming(username: &str) -> Mapping {
    mapping(&MappingSettings {
        username: Some(username.into()),
        ..MappingSettings::default()
    })
}
