//! Helpers for the tests of sources.

pub(in crate::trust) mod site;

use serde_json::{Value, json};
use std::time::Duration;

/// Waits until `condition` holds, and fails the test if it does not within ten seconds.
pub(in crate::trust) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    eventually_after(what, || {}, condition).await;
}

/// As [`eventually`], with an action before each check, such as advancing the clock.
pub(in crate::trust) async fn eventually_after(what: &str, before: impl Fn(), condition: impl Fn() -> bool) {
    for _ in 0..2_000 {
        before();
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within 10 s: {what}");
}

/// Returns a JWK set with one P-256 key under each of these IDs, without `use`.
pub(in crate::trust) fn jwk_set(key_ids: &[&str]) -> Vec<u8> {
    let key = |kid: &&str| {
        serde_json::json!({
            "kty": "EC", "crv": "P-256", "kid": kid,
            "x": "ngLYQnlfF6GsojUwqtcEE3WgTNG2RUlsGhK73RNEl5k", "y": "tKbiDSUSsQ3F1P7wteeHNXIcU-cx6CgSbroeQrQHTLM",
        })
    };
    serde_json::json!({ "keys": key_ids.iter().map(key).collect::<Vec<_>>() })
        .to_string()
        .into_bytes()
}

/// Returns a JWK set with one unusable key.
pub(in crate::trust) const UNUSABLE: &[u8] = br#"{"keys":[{"kty":"unheard-of","kid":"k"}]}"#;

/// Returns a SPIFFE bundle.
pub(in crate::trust) fn bundle(sequence: u64, elements: &[Value]) -> Vec<u8> {
    json!({"spiffe_sequence": sequence, "spiffe_refresh_hint": 300, "keys": elements})
        .to_string()
        .into_bytes()
}
