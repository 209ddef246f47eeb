//! What the sources' tests share.

use std::time::Duration;

/// Waits until `condition` holds, and fails the test if it does not within ten seconds.
pub(super) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within 10 s: {what}");
}

/// A JWK set of one P-256 key under each of these IDs, without `use`.
pub(in crate::trust) fn jwk_set(key_ids: &[&str]) -> Vec<u8> {
    let key = |kid: &&str| {
        serde_json::json!({
            "kty": "EC", "crv": "P-256", "kid": kid,
            "x": "ngLYQnlfF6GsojUwqtcEE3WgTNG2RUlsGhK73RNEl5k", "y": "tKbiDSUSsQ3F1P7wteeHNXIcU-cx6CgSbroeQrQHTLM",
        })
    };
    serde_json::json!({ "keys": key_ids.iter().map(key).collect::<Vec<_>>() }).to_string().into_bytes()
}

/// A JWK set of one key that nobody can use.
pub(super) const UNUSABLE: &[u8] = br#"{"keys":[{"kty":"unheard-of","kid":"k"}]}"#;

pub(super) struct Ca {
    pub(super) params: rcgen::CertificateParams,
    pub(super) key: rcgen::KeyPair,
    pub(super) pem: String,
    pub(super) der: Vec<u8>,
}

/// A new certificate authority.
pub(super) fn ca(name: &str) -> Ca {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    params.not_after = rcgen::date_time_ymd(2100, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    Ca { pem: certificate.pem(), der: certificate.der().to_vec(), params, key }
}
