//! Tests of valid and invalid tokens, by profile. `j_01` is a rule for SVIDs and `t_7_3` a rule for tokens in
//! `docs/design/rules`.

mod key_choice;
mod oidc;
mod spire;
mod svid;
mod svid_envelope;

use super::testing::{Signer, key_set};
use super::*;
use crate::clock::Timestamp;
use crate::trust::jwks::{self, KeySet, UseRule};
use crate::trust::{Authorities, Slot};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const EXP: i64 = 1_800_000_300;

fn keys(elements: &[Value], rule: UseRule) -> KeySet {
    let parsed = jwks::parse(&key_set(elements), rule).unwrap();
    assert_eq!(parsed.skipped, []);
    parsed.value
}

fn authorities(keys: KeySet) -> Authorities<KeySet> {
    let slot = Slot::new("test");
    slot.publish(keys, NOW, Timestamp::MAX);
    Authorities::new(vec![slot])
}

/// Returns `base` with the members of `changes`. `null` removes a member.
fn with(mut base: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(base.as_object_mut().unwrap().remove(name)),
            value => base[name] = value.clone(),
        }
    }
    base
}

fn rejected(outcome: Result<Map<String, Value>, Failure>) -> Rejected {
    match outcome {
        Err(Failure::Rejected(why)) => why,
        other => panic!("expected a rejection, found {other:?}"),
    }
}

/// The key that signs tokens if the key does not matter.
fn signer() -> &'static Signer {
    static SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::new(Algorithm::ES256, "one"));
    &SIGNER
}
