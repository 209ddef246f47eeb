//! Who may ask. Signatures are not checked; keys, session tokens and the expiry of presigned URLs are.

use super::operation::{Call, Operation};
use super::refusal::Refusal;
use std::collections::HashMap;
use std::time::Duration;
use wharfinger_base::clock::Timestamp;

/// Access keys and what they are good for.
#[derive(Default)]
pub(super) struct Access(HashMap<String, Grant>);

pub(super) struct Grant {
    /// For keys of STS.
    pub(super) session: Option<String>,
    pub(super) expires: Timestamp,
}

impl Access {
    pub(super) fn grant(&mut self, key: &str, grant: Grant) {
        self.0.insert(key.to_owned(), grant);
    }

    /// Returns whether there was such a key.
    pub(super) fn revoke(&mut self, key: &str) -> bool {
        self.0.remove(key).is_some()
    }

    pub(super) fn expire(&mut self, key: &str, at: Timestamp) {
        self.0.get_mut(key).expect("a known access key").expires = at;
    }

    pub(super) fn check(&self, call: &Call, now: Timestamp) -> Result<(), Refusal> {
        // The token is in the form.
        if call.operation == Operation::AssumeRole {
            return Ok(());
        }
        let presigned = call.query("X-Amz-Credential");
        let credential = match presigned {
            Some(credential) => credential,
            None => authorization(call, "Credential").ok_or(Refusal::ACCESS_DENIED)?,
        };
        let key = credential.split('/').next().unwrap_or_default();
        let grant = self.0.get(key).ok_or(Refusal::INVALID_ACCESS_KEY)?;
        let session = call
            .query("X-Amz-Security-Token")
            .or_else(|| call.header("x-amz-security-token"));
        if session != grant.session.as_deref() {
            return Err(Refusal::INVALID_ACCESS_KEY);
        }
        if now >= grant.expires {
            return Err(Refusal::EXPIRED_TOKEN);
        }
        if presigned.is_some() {
            check_presigned(call, now)?;
        }
        let signed = call
            .query("X-Amz-SignedHeaders")
            .or_else(|| authorization(call, "SignedHeaders"));
        // A signature does not match if a header that it covers is missing.
        let mut signed = signed
            .unwrap_or_default()
            .split(';')
            .filter(|name| !name.is_empty());
        if signed.any(|name| name != "host" && call.header(name).is_none()) {
            return Err(Refusal::SIGNATURE);
        }
        Ok(())
    }
}

/// A field of `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`.
fn authorization<'a>(call: &'a Call, field: &str) -> Option<&'a str> {
    let (_, fields) = call.header("authorization")?.split_once(' ')?;
    fields
        .split(',')
        .find_map(|pair| pair.trim().strip_prefix(field)?.strip_prefix('='))
}

fn check_presigned(call: &Call, now: Timestamp) -> Result<(), Refusal> {
    let seconds = Refusal::number(call, "X-Amz-Expires")?.ok_or(Refusal::ACCESS_DENIED)?;
    let lives = Duration::from_secs(u64::try_from(seconds).map_err(|_| Refusal::INVALID_ARGUMENT)?);
    let signed = call.query("X-Amz-Date").and_then(basic_date);
    let signed = signed.ok_or(Refusal::ACCESS_DENIED)?;
    if lives > Duration::from_hours(7 * 24) || now >= signed.plus(lives) {
        return Err(Refusal::ACCESS_DENIED);
    }
    Ok(())
}

/// Reads `20261128T182424Z`.
fn basic_date(text: &str) -> Option<Timestamp> {
    let [y, m, d, h, min, s] = [0..4, 4..6, 6..8, 9..11, 11..13, 13..15].map(|range| text.get(range));
    let text = format!("{}-{}-{}T{}:{}:{}Z", y?, m?, d?, h?, min?, s?);
    text.parse().ok()
}
