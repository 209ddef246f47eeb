//! Signs valid and invalid tokens for tests.

use super::Algorithm;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self as lc, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};

/// A key pair, and the algorithm and `kid` that it signs with.
#[derive(Clone)]
pub(crate) struct Signer {
    pair: Pair,
    algorithm: Algorithm,
    id: String,
}

#[derive(Clone)]
enum Pair {
    Rsa(Arc<RsaKeyPair>),
    Ec(Arc<EcdsaKeyPair>),
    Ed(Arc<Ed25519KeyPair>),
}

impl Signer {
    /// Generates a key pair. For RSA all tests share one, since generating it is slow.
    pub(crate) fn new(algorithm: Algorithm, id: &str) -> Self {
        static RSA: LazyLock<Arc<RsaKeyPair>> =
            LazyLock::new(|| Arc::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()));
        let ec = |kind| Pair::Ec(Arc::new(EcdsaKeyPair::generate(kind).unwrap()));
        let pair = match algorithm {
            Algorithm::ES256 => ec(&lc::ECDSA_P256_SHA256_FIXED_SIGNING),
            Algorithm::ES384 => ec(&lc::ECDSA_P384_SHA384_FIXED_SIGNING),
            Algorithm::ES512 => ec(&lc::ECDSA_P521_SHA512_FIXED_SIGNING),
            Algorithm::EdDSA => Pair::Ed(Arc::new(Ed25519KeyPair::generate().unwrap())),
            _ => Pair::Rsa(RSA.clone()),
        };
        Self {
            pair,
            algorithm,
            id: id.into(),
        }
    }

    /// Returns the public key with its `kid` only.
    pub(crate) fn jwk(&self) -> Value {
        match &self.pair {
            Pair::Rsa(pair) => {
                let n = pair.public_key().modulus();
                let e = pair.public_key().exponent();
                let n = n.big_endian_without_leading_zero();
                let e = e.big_endian_without_leading_zero();
                json!({"kty": "RSA", "kid": self.id, "n": encode(n), "e": encode(e)})
            }
            Pair::Ec(pair) => {
                let curve = match self.algorithm {
                    Algorithm::ES256 => "P-256",
                    Algorithm::ES384 => "P-384",
                    _ => "P-521",
                };
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": curve, "kid": self.id, "x": encode(x), "y": encode(y)})
            }
            Pair::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": self.id, "x": encode(pair.public_key())})
            }
        }
    }

    /// Returns the public key with one more member.
    pub(crate) fn jwk_with(&self, member: &str, value: impl Into<Value>) -> Value {
        let mut jwk = self.jwk();
        jwk[member] = value.into();
        jwk
    }

    pub(crate) fn header(&self) -> Value {
        json!({"alg": self.algorithm.as_str(), "kid": self.id, "typ": "JWT"})
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_of(&self.header().to_string(), &claims.to_string())
    }

    /// Signs any header and payload, which need not be JSON.
    pub(crate) fn token_of(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        format!("{signed}.{}", encode(self.sign(signed.as_bytes())))
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let padding: &'static dyn lc::RsaEncoding = match self.algorithm {
                    Algorithm::RS384 => &lc::RSA_PKCS1_SHA384,
                    Algorithm::RS512 => &lc::RSA_PKCS1_SHA512,
                    Algorithm::PS256 => &lc::RSA_PSS_SHA256,
                    Algorithm::PS384 => &lc::RSA_PSS_SHA384,
                    Algorithm::PS512 => &lc::RSA_PSS_SHA512,
                    _ => &lc::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Returns a JWK Set of these keys.
pub(crate) fn key_set(keys: &[Value]) -> Vec<u8> {
    json!({"keys": keys}).to_string().into_bytes()
}
