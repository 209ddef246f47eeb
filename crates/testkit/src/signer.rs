//! Signs tokens with ES256, valid ones and bad ones.

use super::now;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub struct Signer {
    pair: EcdsaKeyPair,
    id: String,
}

impl Signer {
    pub fn new(id: &str) -> Self {
        Self {
            pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            id: id.to_owned(),
        }
    }

    /// The public key.
    pub fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "kid": self.id, "x": encode(x), "y": encode(y)})
    }

    /// The uncompressed point of the public key.
    pub fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// A valid token for five minutes. These claims replace the usual ones.
    pub fn token(&self, claims: &Value) -> String {
        let mut all = json!({"iat": now(), "exp": now() + 300});
        all.as_object_mut()
            .unwrap()
            .extend(claims.as_object().unwrap().clone());
        self.token_of(
            &json!({"alg": "ES256", "kid": self.id, "typ": "JWT"}),
            &all.to_string(),
        )
    }

    /// A valid signature over any header and payload.
    pub fn token_of(&self, header: &Value, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", encode(signature))
    }
}

/// Base64url without padding.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
