//! What an identity rests on, and for how long it is known without another look: as long as its time lasts and every source that was
//! asked is in the state in which it answered. The configuration is not among them: another one brings another
//! [`Authenticator`](super::Authenticator).

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

/// Everybody who was asked, each in the state from before it was asked: one that changes meanwhile makes what was found useless. Who
/// accepted is asked again once the time is over for which it did; who refused is not, although time alone may change its mind.
#[derive(Default)]
pub(super) struct Grounds(Vec<(Arc<dyn Vouching>, Option<Generation>)>);

impl Grounds {
    /// To be called before `source` is asked.
    pub(super) fn rest_on(&mut self, source: &Arc<impl Vouching + 'static>, now: Timestamp) {
        self.0.push((source.clone(), source.generation(now)));
    }

    /// Whether everybody is in that state still. Nothing is known of what rests on nobody.
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

    /// The identity, if it still counts.
    pub(super) fn identity(&self, now: Timestamp) -> Option<Identity> {
        let counts = self.since <= now && now < self.identity.valid_until && self.grounds.hold(now);
        counts.then(|| self.identity.clone())
    }

    /// About how many bytes it takes. Claims are held twice: as they are, and as they were signed.
    pub(super) fn weight(&self) -> usize {
        let identity = &self.identity;
        let claims = identity.claims().iter().map(|(name, value)| PART + name.len() + size(value)).sum::<usize>();
        let names = identity.groups.iter().map(|group| PART + group.len()).sum::<usize>() + identity.username.len();
        let scopes = identity.scope.iter().chain(&identity.cap).map(|scope| scope.weight(PART)).sum::<usize>();
        OVERHEAD + 2 * claims + names + scopes
    }
}

/// About how many bytes a claim takes.
fn size(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    match value {
        Value::String(text) => text.len(),
        Value::Array(all) => all.iter().map(|one| PART + size(one)).sum(),
        Value::Object(all) => all.iter().map(|(name, one)| PART + name.len() + size(one)).sum(),
        _ => 0,
    }
}

/// What each part of something weighs beside its text: a pointer, two lengths, its place in a tree or a list.
const PART: usize = 64;

/// What an identity weighs beside its claims, about.
const OVERHEAD: usize = 1024;
