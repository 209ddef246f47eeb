//! What must be accepted after a step, by the last confirmation of each source.

use super::*;
use crate::trust::jwt::{OidcRules, SvidRules, Unverified};
use crate::trust::source::testing::site::svid;
use crate::trust::x509::Leaf;
use pki_types::CertificateDer;
use rcgen::ExtendedKeyUsagePurpose::ClientAuth;

impl World {
    pub(super) async fn judge(&mut self, when: &str) {
        for who in 0..5 {
            self.check_age(who, when);
            for keys in self.publishers[who].all.clone() {
                self.check_token(who, &keys, when).await;
                if who != OIDC {
                    self.check_chain(who, &keys, when);
                }
            }
            self.check_forgeries(who, when).await;
        }
    }

    /// Keys are as fresh as the publisher's health allows, and never become older.
    fn check_age(&mut self, who: usize, when: &str) {
        let now = self.clock.now();
        let as_of = self.status(who).as_of;
        if self.well_since[who].is_some_and(|since| SOON <= now.since(since))
            && !(who <= GUEST && self.faults[OWN] != Fault::None)
        {
            assert!(
                as_of.is_some_and(|as_of| now.since(as_of) <= SOON),
                "{}: {as_of:?} at {now}, {when}",
                NAMES[who]
            );
        }
        if now.since(self.floor[who]) < MAX_STALE {
            assert!(
                as_of.is_some_and(|as_of| self.floor[who] <= as_of),
                "{}: {as_of:?}, was {}, {when}",
                NAMES[who],
                self.floor[who]
            );
        }
        self.floor[who] = as_of.map_or(self.floor[who], |as_of| as_of.max(self.floor[who]));
    }

    /// Whether a key must be accepted now, by the last message of its source.
    fn counts(&self, who: usize, keys: &Keys, status: &Status, denied: bool) -> bool {
        let (Some(as_of), Some(usable_until)) = (status.as_of, status.usable_until) else {
            return false;
        };
        let was_denied = denied && self.denied.iter().any(|(from, to)| *from <= as_of && as_of < *to);
        assert_eq!(usable_until, as_of.plus(MAX_STALE));
        self.clock.now() < usable_until
            && !was_denied
            && self.publishers[who].published_at(as_of).contains(&keys.number)
    }

    async fn check_token(&mut self, who: usize, keys: &Keys, when: &str) {
        let good = self.verify_token(who, &self.token(who, keys)).await;
        let status = self.status(who);
        let expected = self.counts(who, keys, &status, who <= GUEST);
        assert_eq!(
            good,
            expected,
            "token of {} {} at {}, {when}: {status:?}",
            NAMES[who],
            keys.number,
            self.clock.now()
        );
        *(if good {
            &mut self.accepted
        } else {
            &mut self.refused
        }) += 1;
    }

    fn check_chain(&mut self, who: usize, keys: &Keys, when: &str) {
        let good = self.verify_chain(who, &keys.leaf);
        let status = self.registry().sources[who].x509().unwrap().slot.status();
        let expected = self.counts(who, keys, &status, false);
        assert_eq!(
            good,
            expected,
            "chain of {} {} at {}, {when}: {status:?}",
            NAMES[who],
            keys.number,
            self.clock.now()
        );
        *(if good {
            &mut self.accepted
        } else {
            &mut self.refused
        }) += 1;
    }

    /// Another publisher's keys are never accepted, whatever they claim.
    async fn check_forgeries(&self, who: usize, when: &str) {
        let other = &self.publishers[(who + 1) % 5];
        let forged = other.newest().signer.token(&self.claims(who));
        assert!(!self.verify_token(who, &forged).await, "{when}");
        let kid = self.publishers[who].newest().signer.header();
        let forged = other
            .newest()
            .signer
            .token_of(kid.to_string(), self.claims(who).to_string());
        assert!(!self.verify_token(who, &forged).await, "{when}");
        let leaf = svid(
            &other.newest().authority,
            &self.publishers[who].id("/workload"),
            &[ClientAuth],
        );
        assert!(
            who == OIDC || !self.verify_chain(who, &leaf.certificate),
            "{when}"
        );
    }

    fn claims(&self, who: usize) -> serde_json::Value {
        let now = self.clock.now().as_secs();
        if who == OIDC {
            json!({"iss": self.sites[OIDC - WEB].base, "sub": "someone", "aud": "registry", "exp": now + 300})
        } else {
            json!({"sub": self.publishers[who].id("/workload"), "aud": ["registry"], "exp": now + 300})
        }
    }

    pub(super) fn token(&self, who: usize, keys: &Keys) -> String {
        keys.signer.token(&self.claims(who))
    }

    pub(super) async fn verify_token(&self, who: usize, token: &str) -> bool {
        let token = Unverified::parse(token).unwrap();
        let now = self.clock.now();
        let keys = &self.registry().jwt[who];
        let audiences = vec!["registry".to_owned()];
        let clock_skew = Duration::ZERO;
        if who == OIDC {
            let issuer = self.sites[OIDC - WEB].base.clone();
            let rules = OidcRules {
                hosts: Vec::new(),
                issuer,
                skip_issuer: false,
                audiences,
                algorithms: None,
                clock_skew,
                max_lifetime: None,
                single_audience: false,
            };
            jwt::verify_oidc(&token, &[&rules], keys, now).await.is_ok()
        } else {
            let rules = SvidRules {
                hosts: Vec::new(),
                trust_domain: NAMES[who].parse().unwrap(),
                audiences,
                clock_skew,
                single_audience: false,
            };
            jwt::verify_svid(&token, &rules, keys, now).await.is_ok()
        }
    }

    pub(super) fn verify_chain(&self, who: usize, leaf: &CertificateDer<'_>) -> bool {
        let leaf = Leaf::parse(leaf).unwrap();
        let now = self.clock.now();
        let view = self.registry().x509[who].view(now);
        view.is_ok_and(|view| x509::verify_svid(&leaf, &[], &view, now).is_ok())
    }
}
