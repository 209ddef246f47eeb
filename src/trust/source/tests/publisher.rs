//! A trust domain or an issuer that a test has publish, rotate and withdraw keys, and what it had published
//! when.

use crate::clock::Timestamp;
use crate::trust::jwt::Algorithm;
use crate::trust::jwt::testing::Signer;
use crate::trust::source::testing::site::{Identity, svid};
use crate::trust::source::testing::{Ca, bundle, ca};
use pki_types::CertificateDer;
use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use serde_json::{Value, json};
use std::rc::Rc;

/// A JWT key, an X.509 authority, and what they made.
pub(super) struct Keys {
    pub(super) number: usize,
    pub(super) signer: Signer,
    pub(super) authority: Ca,
    pub(super) leaf: CertificateDer<'static>,
    pub(super) server: Identity,
}

pub(super) struct Publisher {
    pub(super) name: &'static str,
    /// Every one there ever was.
    pub(super) all: Vec<Rc<Keys>>,
    /// The numbers of those that are published, since when.
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

    /// A new one beside the newest two.
    pub(super) fn rotate(&mut self, now: Timestamp) {
        let number = self.all.len();
        let authority = ca(&format!("{} {number}", self.name));
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

    /// The newest one alone, as after a compromise.
    pub(super) fn withdraw_old(&mut self, now: Timestamp) {
        let newest = self.published().last().copied();
        self.publish(now, newest.into_iter().collect());
    }

    /// All of them.
    pub(super) fn withdraw_all(&mut self, now: Timestamp) {
        self.publish(now, Vec::new());
    }

    pub(super) fn published(&self) -> &[usize] {
        &self.timeline.last().unwrap().1
    }

    /// What was published then.
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

    /// The document in SPIFFE's format.
    pub(super) fn bundle(&self) -> Vec<u8> {
        let elements: Vec<Value> = self
            .current()
            .flat_map(|keys| [keys.authority.element(), keys.signer.jwk_with("use", "jwt-svid")])
            .collect();
        bundle(self.sequence, &elements)
    }

    /// As a JWK set with an element of the future among them.
    pub(super) fn jwks(&self) -> Vec<u8> {
        let mut keys: Vec<Value> = self.current().map(|keys| keys.signer.jwk()).collect();
        if !keys.is_empty() {
            keys.insert(0, json!({"kty": "AKP", "kid": "future", "pub": "AA"}));
        }
        json!({ "keys": keys }).to_string().into_bytes()
    }

    /// As concatenated DER.
    pub(super) fn der(&self) -> Vec<u8> {
        self.current()
            .flat_map(|keys| keys.authority.der.clone())
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
