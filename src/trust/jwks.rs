//! Key sets: JWK Sets (RFC 7517) read element by element. A key that cannot be used is skipped with its reason and the rest counts;
//! a document that is not well-formed is an error and never replaces a good one.

use super::json;
use super::jwt::Algorithm;
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// How the `use` of a key is read; it depends on where the key set came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UseRule {
    /// An OIDC issuer's: absent or `sig`.
    Oidc,
    /// A SPIFFE bundle's: exactly `jwt-svid` (J-18).
    SpiffeBundle,
    /// The Workload API's, which sends none: absent or `jwt-svid`.
    WorkloadApi,
    /// A plain file that the operator vouches for.
    Ignored,
}

/// An element of a key set or bundle that does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// As in `keys[2] (kid abc)`.
    pub element: String,
    pub why: String,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.element, self.why)
    }
}

/// What could be used of a document, and what not.
#[derive(Clone, Debug)]
pub struct Parsed<T> {
    pub value: T,
    pub skipped: Vec<Skipped>,
}

/// Public keys that may verify tokens. Immutable and cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Arc<Vec<Key>>);

/// One key, parsed once for every algorithm that it can serve.
#[derive(Clone)]
pub(in crate::trust) struct Key {
    id: Option<String>,
    by_algorithm: Arc<Vec<(Algorithm, ParsedPublicKey)>>,
    demands_issuer: Option<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJwks {
    #[error("not a JWK set: {0}")]
    Json(String),
    #[error("not a JWK set: `keys` must be there and be a list")]
    NoKeys,
}

/// Reads a JWK set.
pub fn parse(document: &[u8], rule: UseRule) -> Result<Parsed<KeySet>, InvalidJwks> {
    from_object(&json::object(document).map_err(InvalidJwks::Json)?, rule)
}

pub(in crate::trust) fn from_object(document: &Map<String, Value>, rule: UseRule) -> Result<Parsed<KeySet>, InvalidJwks> {
    let elements = document.get("keys").and_then(Value::as_array).ok_or(InvalidJwks::NoKeys)?;
    let (mut keys, mut skipped) = (Vec::new(), Vec::new());
    for (i, element) in elements.iter().enumerate() {
        // In a bundle the X.509 authorities stand beside the JWT keys: none of our business, and no fault.
        if rule == UseRule::SpiffeBundle && element.get("use").is_some_and(|u| u == "x509-svid" || u == "wit-svid") {
            continue;
        }
        match key(element, rule) {
            Ok(key) => keys.push(key),
            Err(why) => {
                let id = element.get("kid").and_then(Value::as_str).map_or_else(String::new, |id| format!(" (kid {id})"));
                skipped.push(Skipped { element: format!("keys[{i}]{id}"), why });
            }
        }
    }
    Ok(Parsed { value: KeySet(Arc::new(keys)), skipped })
}

impl KeySet {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|key| key.id.as_deref())
    }

    /// The same keys, each of which then demands this `iss` of a token.
    #[must_use]
    pub fn demanding_issuer(self, issuer: &str) -> Self {
        let issuer: Arc<str> = issuer.into();
        let demanding = |key: &Key| Key { demands_issuer: Some(issuer.clone()), ..key.clone() };
        Self(Arc::new(self.0.iter().map(demanding).collect()))
    }

    /// The keys of this id; without an id, all of them.
    pub(in crate::trust) fn candidates<'a>(&'a self, id: Option<&'a str>) -> impl Iterator<Item = &'a Key> {
        self.0.iter().filter(move |key| id.is_none_or(|id| key.id.as_deref() == Some(id)))
    }
}

impl Key {
    pub(in crate::trust) fn for_algorithm(&self, algorithm: Algorithm) -> Option<&ParsedPublicKey> {
        self.by_algorithm.iter().find(|(known, _)| *known == algorithm).map(|(_, key)| key)
    }

    pub(in crate::trust) fn demands_issuer(&self) -> Option<&str> {
        self.demands_issuer.as_deref()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<_> = self.by_algorithm.iter().map(|(algorithm, _)| algorithm).collect();
        write!(f, "{:?} {algorithms:?}", self.id)
    }
}

/// The reason is for an operator; it holds no key material.
fn key(element: &Value, rule: UseRule) -> Result<Key, String> {
    let element = element.as_object().ok_or("not an object")?;
    let id = match element.get("kid") {
        None => None,
        Some(Value::String(id)) if !id.is_empty() => Some(id.clone()),
        Some(_) => return Err("`kid` must be text that is not empty".into()),
    };
    check_use(element, rule)?;
    if id.is_none() && rule != UseRule::Oidc && rule != UseRule::Ignored {
        return Err("a key for JWT-SVIDs needs a `kid` (B-8)".into());
    }
    if element.contains_key("d") {
        return Err("holds a private key; publish the public part only".into());
    }
    let may_verify = |operations: &Value| operations.as_array().is_some_and(|all| all.iter().any(|one| one == "verify"));
    if !element.get("key_ops").is_none_or(may_verify) {
        return Err("`key_ops` has no `verify`".into());
    }
    let bound_to = match element.get("alg") {
        None => None,
        Some(name) => {
            Some(name.as_str().and_then(|name| name.parse::<Algorithm>().ok()).ok_or("`alg` is no asymmetric signature algorithm")?)
        }
    };
    let by_algorithm: Vec<_> =
        public_key(element)?.into_iter().filter(|(algorithm, _)| bound_to.is_none_or(|only| only == *algorithm)).collect();
    if by_algorithm.is_empty() {
        return Err("`alg` does not fit the key".into());
    }
    Ok(Key { id, by_algorithm: Arc::new(by_algorithm), demands_issuer: None })
}

fn check_use(element: &Map<String, Value>, rule: UseRule) -> Result<(), String> {
    let used_for = match element.get("use") {
        None => None,
        Some(Value::String(used_for)) => Some(used_for.as_str()),
        Some(_) => return Err("`use` must be text".into()),
    };
    let (fits, wanted) = match rule {
        UseRule::Oidc => (matches!(used_for, None | Some("sig")), "sig, or absent"),
        UseRule::SpiffeBundle => (used_for == Some("jwt-svid"), "jwt-svid"),
        UseRule::WorkloadApi => (matches!(used_for, None | Some("jwt-svid")), "jwt-svid, or absent"),
        UseRule::Ignored => (true, ""),
    };
    if fits { Ok(()) } else { Err(format!("`use` is {}, not {wanted}", used_for.unwrap_or("absent"))) }
}

fn public_key(element: &Map<String, Value>) -> Result<Vec<(Algorithm, ParsedPublicKey)>, String> {
    let text = |name: &str| element.get(name).and_then(Value::as_str).ok_or_else(|| format!("`{name}` is missing"));
    let number = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).map_err(|_| format!("`{name}` is not unpadded base64url"));
    let parse = |algorithm, kind, bytes: &[u8]| match ParsedPublicKey::new(kind, bytes) {
        Ok(key) => Ok(vec![(algorithm, key)]),
        Err(_) => Err("not a valid public key of its curve".to_owned()),
    };
    let point = |size: usize| {
        let (x, y) = (number("x")?, number("y")?);
        if x.len() == size && y.len() == size {
            Ok([&[4][..], &x, &y].concat())
        } else {
            Err(format!("`x` and `y` must have {size} bytes"))
        }
    };
    match (text("kty")?, element.get("crv").and_then(Value::as_str)) {
        ("EC", Some("P-256")) => parse(Algorithm::ES256, &signature::ECDSA_P256_SHA256_FIXED, &point(32)?),
        ("EC", Some("P-384")) => parse(Algorithm::ES384, &signature::ECDSA_P384_SHA384_FIXED, &point(48)?),
        ("EC", Some("P-521")) => parse(Algorithm::ES512, &signature::ECDSA_P521_SHA512_FIXED, &point(66)?),
        ("OKP", Some("Ed25519")) => parse(Algorithm::EdDSA, &signature::ED25519, &number("x")?),
        ("RSA", _) => rsa(&number("n")?, &number("e")?),
        (kind, None) => Err(format!("kty {kind} is not supported")),
        (kind, Some(curve)) => Err(format!("kty {kind} with crv {curve} is not supported")),
    }
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Vec<(Algorithm, ParsedPublicKey)>, String> {
    // Some issuers send a leading zero byte, which the crypto library refuses.
    let (n, e) = (without_leading_zeros(modulus), without_leading_zeros(exponent));
    if !(256..=1024).contains(&n.len()) {
        return Err(format!("an RSA key has 2048 to 8192 bits, not {}", n.len() * 8));
    }
    let parse = |kind: &'static RsaParameters| {
        RsaPublicKeyComponents { n, e }.to_parsed_public_key(kind).map_err(|_| "not a valid RSA key".to_owned())
    };
    RSA.iter().map(|(algorithm, kind)| Ok((*algorithm, parse(kind)?))).collect()
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

const RSA: [(Algorithm, &RsaParameters); 6] = [
    (Algorithm::RS256, &signature::RSA_PKCS1_2048_8192_SHA256),
    (Algorithm::RS384, &signature::RSA_PKCS1_2048_8192_SHA384),
    (Algorithm::RS512, &signature::RSA_PKCS1_2048_8192_SHA512),
    (Algorithm::PS256, &signature::RSA_PSS_2048_8192_SHA256),
    (Algorithm::PS384, &signature::RSA_PSS_2048_8192_SHA384),
    (Algorithm::PS512, &signature::RSA_PSS_2048_8192_SHA512),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const EC: &str = r#"{"kty":"EC","crv":"P-256","kid":"a","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#;

    fn with(changes: Value) -> Value {
        let mut key: Value = serde_json::from_str(EC).unwrap();
        for (name, value) in changes.as_object().unwrap() {
            key[name] = value.clone();
        }
        key
    }

    fn skipped(key: Value, rule: UseRule) -> Option<String> {
        let document = json!({"keys": [key]}).to_string();
        parse(document.as_bytes(), rule).unwrap().skipped.first().map(|skipped| skipped.why.clone())
    }

    #[test]
    fn b_1_the_document_must_be_a_jwk_set() {
        for bad in ["", "[]", "{}", r#"{"keys":null}"#, r#"{"keys":{}}"#, r#"{"keys":[]} x"#, r#"{"keys":[],"keys":[]}"#, "-----BEGIN"] {
            assert!(parse(bad.as_bytes(), UseRule::Oidc).is_err(), "{bad}");
        }
        assert!(parse(br#"{"keys":[],"unknown":1}"#, UseRule::Oidc).unwrap().value.is_empty());
    }

    #[test]
    fn b_4_b_5_j_18_one_odd_key_harms_no_other() {
        let odd = [json!({"kty": "AKP", "kid": "pq"}), json!(5), with(json!({"kid": 1})), with(json!({"crv": "secp256k1"}))];
        let document = json!({"keys": [odd[0], odd[1], with(json!({})), odd[2], odd[3]]}).to_string();
        let parsed = parse(document.as_bytes(), UseRule::Oidc).unwrap();
        assert_eq!(parsed.value.key_ids().collect::<Vec<_>>(), ["a"]);
        assert_eq!(parsed.skipped[0].to_string(), "keys[0] (kid pq): kty AKP is not supported");
        assert_eq!(parsed.skipped.len(), 4);
    }

    #[test]
    fn how_use_is_read_depends_on_the_source() {
        use UseRule::{Ignored, Oidc, SpiffeBundle, WorkloadApi};
        for (used_for, takers) in [
            (None, &[Oidc, WorkloadApi, Ignored][..]),
            (Some("sig"), &[Oidc, Ignored]),
            (Some("jwt-svid"), &[SpiffeBundle, WorkloadApi, Ignored]),
            (Some("JWT-SVID"), &[Ignored]),
            (Some("enc"), &[Ignored]),
        ] {
            let key = used_for.map_or_else(|| with(json!({})), |used_for| with(json!({"use": used_for})));
            for rule in [Oidc, SpiffeBundle, WorkloadApi, Ignored] {
                assert_eq!(skipped(key.clone(), rule).is_none(), takers.contains(&rule), "{used_for:?} {rule:?}");
            }
        }
    }

    #[test]
    fn b_8_a_key_for_svids_needs_an_id() {
        let mut nameless = with(json!({"use": "jwt-svid"}));
        nameless.as_object_mut().unwrap().remove("kid");
        assert!(skipped(nameless.clone(), UseRule::SpiffeBundle).unwrap().contains("kid"));
        nameless.as_object_mut().unwrap().remove("use");
        assert_eq!(skipped(nameless, UseRule::Oidc), None);
    }

    #[test]
    fn b_18_no_private_and_no_symmetric_keys() {
        assert!(skipped(with(json!({"d": "AAAA"})), UseRule::Oidc).unwrap().contains("private"));
        assert!(skipped(json!({"kty": "oct", "k": "AAAA"}), UseRule::Oidc).unwrap().contains("oct"));
    }

    #[test]
    fn j_4_alg_and_key_ops_must_fit() {
        assert_eq!(skipped(with(json!({"alg": "ES256", "key_ops": ["verify"]})), UseRule::Oidc), None);
        for bad in [
            json!({"alg": "RS256"}),
            json!({"alg": "HS256"}),
            json!({"alg": 1}),
            json!({"key_ops": ["encrypt"]}),
            json!({"x": "AA"}),
            json!({"y": "!"}),
        ] {
            assert!(skipped(with(bad.clone()), UseRule::Oidc).is_some(), "{bad}");
        }
    }

    #[test]
    fn rsa_keys_below_2048_bits_are_refused_and_a_leading_zero_is_not() {
        assert!(rsa(&[0xff; 128], &[1, 0, 1]).unwrap_err().contains("1024"));
        let key = signature::RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let modulus = signature::KeyPair::public_key(&key).modulus().big_endian_without_leading_zero().to_vec();
        assert_eq!(rsa(&[&[0][..], &modulus].concat(), &[0, 1, 0, 1]).unwrap().len(), 6);
    }
}
