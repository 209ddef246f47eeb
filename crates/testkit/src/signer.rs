//! Signs tokens, valid ones and bad ones.

use super::now;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self as lc, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::fmt::Display;
use std::sync::{Arc, LazyLock};

/// A key pair, and the algorithm and `kid` that it signs with.
#[derive(Clone)]
pub struct Signer {
    pair: Pair,
    algorithm: String,
    id: String,
}

#[derive(Clone)]
enum Pair {
    Rsa(Arc<RsaKeyPair>),
    Ec(Arc<EcdsaKeyPair>),
    Ed(Arc<Ed25519KeyPair>),
}

impl Signer {
    /// Signs with ES256.
    pub fn new(id: &str) -> Self {
        Self::of("ES256", id)
    }

    /// Signs with the algorithm of this name. For RSA all tests share one key, since generating it is slow.
    pub fn of(algorithm: &str, id: &str) -> Self {
        static RSA: LazyLock<Arc<RsaKeyPair>> =
            LazyLock::new(|| Arc::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()));
        let ec = |kind| Pair::Ec(Arc::new(EcdsaKeyPair::generate(kind).unwrap()));
        let pair = match algorithm {
            "ES256" => ec(&lc::ECDSA_P256_SHA256_FIXED_SIGNING),
            "ES384" => ec(&lc::ECDSA_P384_SHA384_FIXED_SIGNING),
            "ES512" => ec(&lc::ECDSA_P521_SHA512_FIXED_SIGNING),
            "EdDSA" => Pair::Ed(Arc::new(Ed25519KeyPair::generate().unwrap())),
            _ => Pair::Rsa(RSA.clone()),
        };
        Self {
            pair,
            algorithm: algorithm.to_owned(),
            id: id.to_owned(),
        }
    }

    /// The public key with its `kid` only.
    pub fn jwk(&self) -> Value {
        match &self.pair {
            Pair::Rsa(pair) => {
                let n = pair.public_key().modulus();
                let e = pair.public_key().exponent();
                let n = n.big_endian_without_leading_zero();
                let e = e.big_endian_without_leading_zero();
                json!({"kty": "RSA", "kid": self.id, "n": encode(n), "e": encode(e)})
            }
            Pair::Ec(pair) => {
                let curve = match self.algorithm.as_str() {
                    "ES256" => "P-256",
                    "ES384" => "P-384",
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

    /// The public key with one more member.
    pub fn jwk_with(&self, member: &str, value: impl Into<Value>) -> Value {
        let mut jwk = self.jwk();
        jwk[member] = value.into();
        jwk
    }

    /// The public key in bytes: the uncompressed point if the algorithm is ES256.
    pub fn public_key(&self) -> &[u8] {
        match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_ref(),
            Pair::Ec(pair) => pair.public_key().as_ref(),
            Pair::Ed(pair) => pair.public_key().as_ref(),
        }
    }

    /// The header of a valid token.
    pub fn header(&self) -> Value {
        json!({"alg": self.algorithm, "kid": self.id, "typ": "JWT"})
    }

    /// A valid token for five minutes. These claims replace the usual ones.
    pub fn token(&self, claims: &Value) -> String {
        let mut all = json!({"iat": now(), "exp": now() + 300});
        all.as_object_mut()
            .unwrap()
            .extend(claims.as_object().unwrap().clone());
        self.token_of(self.header(), all)
    }

    /// A valid signature over any header and payload, which need not be JSON.
    pub fn token_of(&self, header: impl Display, claims: impl Display) -> String {
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        format!("{signed}.{}", encode(self.sign(signed.as_bytes())))
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let padding: &'static dyn lc::RsaEncoding = match self.algorithm.as_str() {
                    "RS384" => &lc::RSA_PKCS1_SHA384,
                    "RS512" => &lc::RSA_PKCS1_SHA512,
                    "PS256" => &lc::RSA_PSS_SHA256,
                    "PS384" => &lc::RSA_PSS_SHA384,
                    "PS512" => &lc::RSA_PSS_SHA512,
                    _ => &lc::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }
}

/// Base64url without padding.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
