//! Chooses the keys that may have signed a token and checks the signature (RFC 7515 5.2).

use super::rejected::Rejected;
use super::unverified::Unverified;
use crate::limits::TOKEN_SIGNATURE_CHECKS;
use crate::trust::jwks::{Key, KeySet};
use aws_lc_rs::signature::ParsedPublicKey;
use std::sync::{Arc, Mutex, PoisonError};

/// Tries the keys with the token's `kid`; without a `kid`, a few of the keys that fit. Returns the
/// fingerprint of the signing key. A key in `tried` is not tried again.
pub(in crate::trust) fn check(
    token: &Unverified,
    keys: &KeySet,
    tried: &Tried,
) -> Result<Arc<str>, Rejected> {
    let named: Vec<_> = keys
        .keys()
        .iter()
        .filter(|key| token.key_id.is_none() || key.id() == token.key_id())
        .collect();
    if let (Some(key_id), true) = (&token.key_id, named.is_empty()) {
        if let Some(why) = keys.why_unusable(key_id) {
            return Err(Rejected::UnusableKey {
                key_id: key_id.clone(),
                why: why.into(),
            });
        }
        let known: Vec<String> = keys.key_ids().map(Into::into).collect();
        return Err(Rejected::UnknownKey {
            key_id: key_id.clone(),
            nameless: keys.len() - known.len(),
            known,
        });
    }
    let mut demanded = None;
    let mut fitting: Vec<(&Key, &ParsedPublicKey)> = Vec::new();
    for key in named {
        let Some(verifier) = key.verifier(token.algorithm) else {
            continue;
        };
        match key.demanded_issuer() {
            Some(issuer) if token.issuer() != Some(issuer) => demanded = Some(issuer),
            _ => fitting.push((key, verifier)),
        }
    }
    if fitting.is_empty() {
        return Err(match (demanded, &token.key_id) {
            (Some(issuer), _) => Rejected::KeyOfAnotherIssuer {
                demanded: issuer.into(),
                found: token.issuer().map(Into::into),
            },
            (None, Some(key_id)) => Rejected::AlgorithmDoesNotFitKey {
                algorithm: token.algorithm,
                key_id: key_id.clone(),
            },
            (None, None) => Rejected::NoFittingKey {
                algorithm: token.algorithm,
                faults: keys.faults().collect(),
            },
        });
    }
    let mut bound = KEYS_TRIED;
    for (key, verifier) in fitting.iter().take(KEYS_TRIED) {
        match tried.signed(token, key.fingerprint(), verifier) {
            Some(true) => return Ok(key.fingerprint().clone()),
            Some(false) => {}
            None => bound = TOKEN_SIGNATURE_CHECKS,
        }
    }
    match fitting.len() {
        more if more > KEYS_TRIED || bound > KEYS_TRIED => Err(Rejected::KeyIdNeeded {
            fitting: more,
            tried: bound,
        }),
        _ => Err(Rejected::Signature),
    }
}

/// The fingerprints of keys that did not sign a token. A token has one such list, even if its keys are
/// fetched several times.
#[derive(Debug, Default)]
pub(in crate::trust) struct Tried(Mutex<Vec<Arc<str>>>);

impl Tried {
    /// Whether the key signed the token. Returns `None` if the token has used up its signature checks.
    fn signed(&self, token: &Unverified, fingerprint: &Arc<str>, verifier: &ParsedPublicKey) -> Option<bool> {
        let mut tried = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tried.contains(fingerprint) {
            return Some(false);
        }
        if tried.len() >= TOKEN_SIGNATURE_CHECKS {
            return None;
        }
        #[cfg(test)]
        CHECKS.set(CHECKS.get() + 1);
        let signed = verifier
            .verify_sig(token.signed.as_bytes(), &token.signature)
            .is_ok();
        if !signed {
            tried.push(fingerprint.clone());
        }
        Some(signed)
    }
}

/// Whether newer keys may change the result. A bad signature by the key that the `kid` names is final:
/// otherwise each such token would cause a fetch.
pub(super) fn newer_keys_may_help(token: &Unverified, why: &Rejected) -> bool {
    match why {
        Rejected::UnknownKey { .. } | Rejected::UnusableKey { .. } | Rejected::NoFittingKey { .. } => true,
        Rejected::Signature => token.key_id.is_none(),
        _ => false,
    }
}

/// How many keys of one set are tried.
const KEYS_TRIED: usize = 4;

#[cfg(test)]
thread_local! {
    /// How many signatures this thread has checked.
    pub(in crate::trust) static CHECKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}
