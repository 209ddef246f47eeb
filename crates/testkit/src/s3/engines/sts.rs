//! The STS of SeaweedFS, with the issuer of the tokens that it accepts.

use crate::{Signer, now};
use serde_json::{Value, json};

pub(super) struct Sts {
    signer: Signer,
    /// Each with its name and its policy.
    roles: Vec<(String, Value)>,
}

const ISSUER: &str = "https://issuer.test";
const AUDIENCE: &str = "sts.test";
const ISSUER_NAME: &str = "workloads";

impl Sts {
    pub(super) fn new(roles: &[(&str, Value)]) -> Self {
        Self {
            signer: Signer::new("sts-1"),
            roles: roles
                .iter()
                .map(|(name, policy)| ((*name).to_owned(), policy.clone()))
                .collect(),
        }
    }

    pub(super) fn token(&self) -> String {
        let claims = json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "registry", "exp": now() + 86_400});
        self.signer.token(&claims)
    }

    /// The issuer's keys.
    pub(super) fn keys(&self) -> Value {
        json!({"keys": [self.signer.jwk()]})
    }

    /// The file for `-iam.config`.
    pub(super) fn settings(&self, keys_url: &str) -> Value {
        let roles = self.roles.iter().map(|(name, _)| {
            let trust = json!({
                "Effect": "Allow", "Principal": {"Federated": ISSUER_NAME},
                "Action": ["sts:AssumeRoleWithWebIdentity"],
            });
            json!({
                "roleName": name,
                "roleArn": format!("arn:aws:iam::role/{name}"),
                "trustPolicy": {"Version": "2012-10-17", "Statement": [trust]},
                "attachedPolicies": [name],
            })
        });
        let policies = self
            .roles
            .iter()
            .map(|(name, policy)| json!({"name": name, "document": policy}));
        json!({
            "sts": {
                "tokenDuration": "1h", "maxSessionLength": "12h", "issuer": "sts",
                "signingKey": "dGhlIGtleSB0aGF0IHNpZ25zIHRva2VucyBvZiBzZXNzaW9ucw==",
            },
            "providers": [{
                "name": ISSUER_NAME, "type": "oidc", "enabled": true,
                "config": {"issuer": ISSUER, "clientId": AUDIENCE, "jwksUri": keys_url},
            }],
            "policy": {"defaultEffect": "Deny"},
            "roles": roles.collect::<Vec<_>>(),
            "policies": policies.collect::<Vec<_>>(),
        })
    }
}
