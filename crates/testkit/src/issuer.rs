//! An OIDC issuer inside the test, with discovery and keys over HTTPS on loopback.

use super::{AUDIENCE, Ca, Signer, Site};
use serde_json::{Value, json};

/// It serves until it is dropped.
pub struct TestIssuer {
    pub url: String,
    pub signer: Signer,
    site: Site,
}

const DOCUMENT: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/keys";

impl TestIssuer {
    /// Starts with a server certificate of `ca`.
    pub async fn start(ca: &Ca) -> Self {
        let site = Site::tls(&ca.der_server()).await;
        // Programs resolve no other name.
        let url = format!("https://{}", site.address);
        let document = json!({"issuer": url, "jwks_uri": format!("{url}{KEYS}")});
        site.answer(DOCUMENT, 200, document.to_string());
        let signer = Signer::new("oidc-1");
        let issuer = Self { url, signer, site };
        issuer.publish(&[&issuer.signer]);
        issuer
    }

    /// How often the discovery document and the keys were fetched.
    pub fn fetches(&self) -> usize {
        self.site.count(DOCUMENT) + self.site.count(KEYS)
    }

    /// Publishes these keys from now on.
    pub fn publish(&self, signers: &[&Signer]) {
        let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
        self.site.answer(KEYS, 200, json!({ "keys": keys }).to_string());
    }

    /// While `unreachable`, connections end without an answer.
    pub fn set_unreachable(&self, unreachable: bool) {
        self.site.set_unreachable(unreachable);
    }

    pub fn token(&self, subject: &str) -> String {
        self.token_for(AUDIENCE, subject)
    }

    pub fn token_for(&self, audience: &str, subject: &str) -> String {
        self.signer.token(&self.claims(audience, subject))
    }

    pub fn claims(&self, audience: &str, subject: &str) -> Value {
        json!({"iss": self.url, "sub": subject, "aud": audience})
    }

    /// The username without a mapping.
    pub fn username(&self, subject: &str) -> String {
        format!("{}/{subject}", self.url)
    }

    /// The issuer's entry under `http.auth.bearer.oidc`.
    pub fn entry(&self, ca: &Ca) -> Value {
        json!({"issuer": self.url, "audiences": [AUDIENCE], "certificateAuthority": ca.pem})
    }
}
