//! Tokens for several audiences (JWT-SVID 3.2). Each of the other audiences could replay such a token here.
//! They are accepted unless the issuer or trust domain sets `singleAudience`. They are counted, and logged
//! once for each subject.

use super::refusal::shown;
use super::{CredentialType, Identity};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// The subjects that were logged.
#[derive(Debug, Default)]
pub(super) struct SeveralAudiences {
    logged: Mutex<HashSet<String>>,
}

impl SeveralAudiences {
    pub(super) fn note(&self, identity: &Identity) {
        let of_a_token = matches!(
            identity.credential(),
            CredentialType::Oidc | CredentialType::JwtSvid
        ) && identity.session().is_none();
        let audiences = identity
            .claims()
            .get("aud")
            .and_then(Value::as_array)
            .filter(|all| of_a_token && all.len() > 1);
        let Some(audiences) = audiences else { return };
        metrics::counter!("wharfinger_tokens_several_audiences_total", "credential" => identity.credential().as_str()).increment(1);
        let subject = identity.principal().to_string();
        let audiences = Value::Array(audiences.clone()).to_string();
        if self.is_new(&subject) {
            tracing::info!(
                credential.type = identity.credential().as_str(),
                credential.subject = shown(&subject),
                audiences = shown(&audiences),
                "accepted a token for several audiences, each of which could replay it here: have tokens issued for this registry alone, \
                 and set singleAudience to reject others"
            );
        }
    }

    /// Clears the set when it is full, since an issuer may make up any number of subjects.
    fn is_new(&self, subject: &str) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.contains(subject) {
            return false;
        }
        if logged.len() >= MOST {
            logged.clear();
        }
        logged.insert(subject.to_owned())
    }
}

const MOST: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn j_12_each_subject_is_logged_once_and_the_list_is_bounded() {
        let audiences = SeveralAudiences::default();
        assert!(audiences.is_new("a") && audiences.is_new("b"));
        assert!(!audiences.is_new("a") && !audiences.is_new("b"));
        for index in 0..2 * MOST {
            audiences.is_new(&index.to_string());
            assert!(audiences.logged.lock().unwrap().len() <= MOST);
        }
        assert!(audiences.is_new("a"), "forgotten");
    }
}
