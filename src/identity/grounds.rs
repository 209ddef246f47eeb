//! What an identity rests on, and for how long it is known without another look: an identity that was found is found again as long as
//! its time lasts and every source that was asked is in the state in which it answered. What a configuration says is not among them,
//! since another one brings another [`Authenticator`](super::Authenticator).

use super::Identity;
use crate::clock::Timestamp;
use crate::trust::{Authorities, Generation};
use std::sync::Arc;

/// Who vouches for identities.
pub(super) trait Vouching: Send + Sync {
    /// Names the state that counts now. `None` if none does.
    fn generation(&self, now: Timestamp) -> Option<Generation>;
}

impl<T: Send + Sync> Vouching for Authorities<T> {
    fn generation(&self, now: Timestamp) -> Option<Generation> {
        self.generation(now)
    }
}

/// Everybody who was asked, each in the state from before it was asked: one that changes meanwhile makes what was found useless.
#[derive(Default)]
pub(super) struct Grounds(Vec<(Arc<dyn Vouching>, Option<Generation>)>);

impl Grounds {
    /// To be called before `source` is asked.
    pub(super) fn rest_on(&mut self, source: &Arc<impl Vouching + 'static>, now: Timestamp) {
        self.0.push((source.clone(), source.generation(now)));
    }

    /// Whether everybody would say the same again. Nothing is known of what rests on nobody.
    fn hold(&self, now: Timestamp) -> bool {
        !self.0.is_empty() && self.0.iter().all(|(source, then)| then.is_some() && source.generation(now) == *then)
    }
}

/// An identity that was found lately.
pub(super) struct Known {
    identity: Identity,
    grounds: Grounds,
    /// Before it nothing is known: the clock was set back.
    since: Timestamp,
}

impl Known {
    pub(super) const fn new(identity: Identity, grounds: Grounds, now: Timestamp) -> Self {
        Self { identity, grounds, since: now }
    }

    /// The identity, if it would be found again.
    pub(super) fn identity(&self, now: Timestamp) -> Option<Identity> {
        let counts = self.since <= now && now < self.identity.valid_until && self.grounds.hold(now);
        counts.then(|| self.identity.clone())
    }

    /// About how many bytes it takes.
    pub(super) fn weight(&self) -> usize {
        OVERHEAD + 4 * self.identity.claims().iter().map(|(name, value)| name.len() + size(value)).sum::<usize>()
    }
}

/// About how many bytes a claim takes.
fn size(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    match value {
        Value::String(text) => text.len(),
        Value::Array(all) => all.iter().map(|one| 32 + size(one)).sum(),
        Value::Object(all) => all.iter().map(|(name, one)| 32 + name.len() + size(one)).sum(),
        _ => 32,
    }
}

/// What an identity weighs beside its claims, about.
const OVERHEAD: usize = 1024;
