//! A trust domain or an issuer that publishes, rotates and withdraws keys for a test. It records what it
//! published when.

use crate::clock::Timestamp;
use crate::trust::jwt::Algorithm;
use crate::trust::jwt::testing::Signer;
use crate::trust::source::testing::bundle;
use crate::trust::source::testing::site::svid;
use pki_types::CertificateDer;
use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use serde_json::{Value, json};
use std::rc::Rc;
use wharfinger_testkit::{Ca, DerPair};

/// A JWT key, an X.509 authority, and the credentials that they issued.
pub(super) struct Keys {
    pub(super) number: usize,
    pub(super) signer: Signer,
    pub(super) authority: Ca,
    pub(super) leaf: CertificateDer<'static>,
    pub(super) server: DerPair,
}

pub(super) struct Publisher {
    pub(super) name: &'static str,
    /// All keys, including withdrawn ones.
    pub(super) all: Vec<Rc<Keys>>,
    /// The indexes of the published keys, with the time of publication.
    timeline: Vec<(Timestamp, Vec<usize>)>,
    pub(super) sequence: u64,
}

impl Publisher {
    pub(super) fn new(name: &'static str, now: Timestamp) -> Self {
        let mut publisher = Self {
            name,
            all: Vec::new(),
            timeline: vec![(Timestamp::from_secs(0), Vec::new())],
            sequence: 0,
        };
        publisher.rotate(now);
        publisher
    }

    /// Adds a key and keeps the newest two.
    pub(super) fn rotate(&mut self, now: Timestamp) {
        let number = self.all.len();
        let authority = Ca::root(&format!("{} {number}", self.name));
        let workload = svid(&authority, &self.id("/workload"), &[ClientAuth]);
        self.all.push(Rc::new(Keys {
            number,
            signer: Signer::new(Algorithm::ES256, &format!("{} {number}", self.name)),
            leaf: workload.certificate,
            server: svid(&authority, &self.id("/spire/server"), &[ServerAuth]),
            authority,
        }));
        let kept = self
            .published()
            .iter()
            .rev()
            .take(2)
            .rev()
            .copied()
            .chain([number])
            .collect();
        self.publish(now, kept);
    }

    /// Keeps only the newest key, as after a compromise.
    pub(super) fn withdraw_old(&mut self, now: Timestamp) {
        let newest = self.published().last().copied();
        self.publish(now, newest.into_iter().collect());
    }

    /// Withdraws all keys.
    pub(super) fn withdraw_all(&mut self, now: Timestamp) {
        self.publish(now, Vec::new());
    }

    pub(super) fn published(&self) -> &[usize] {
        &self.timeline.last().unwrap().1
    }

    /// Returns what was published at that time.
    pub(super) fn published_at(&self, then: Timestamp) -> &[usize] {
        &self
            .timeline
            .iter()
            .rev()
            .find(|(since, _)| *since <= then)
            .unwrap()
            .1
    }

    pub(super) fn id(&self, path: &str) -> String {
        format!("spiffe://{}{path}", self.name)
    }

    /// Returns the document in SPIFFE's format.
    pub(super) fn bundle(&self) -> Vec<u8> {
        let elements: Vec<Value> = self
            .current()
            .flat_map(|keys| [keys.authority.element(), keys.signer.jwk_with("use", "jwt-svid")])
            .collect();
        bundle(self.sequence, &elements)
    }

    /// Returns a JWK set that includes an element of an unknown type.
    pub(super) fn jwks(&self) -> Vec<u8> {
        let mut keys: Vec<Value> = self.current().map(|keys| keys.signer.jwk()).collect();
        if !keys.is_empty() {
            keys.insert(0, json!({"kty": "AKP", "kid": "future", "pub": "AA"}));
        }
        json!({ "keys": keys }).to_string().into_bytes()
    }

    /// Returns concatenated DER.
    pub(super) fn der(&self) -> Vec<u8> {
        self.current()
            .flat_map(|keys| keys.authority.der.to_vec())
            .collect()
    }

    pub(super) fn newest(&self) -> &Keys {
        self.all.last().unwrap()
    }

    fn current(&self) -> impl Iterator<Item = &Rc<Keys>> {
        self.published().iter().map(|number| &self.all[*number])
    }

    fn publish(&mut self, now: Timestamp, numbers: Vec<usize>) {
        self.sequence += 1;
        self.timeline.push((now, numbers));
    }
}
