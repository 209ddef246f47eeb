//! What an identity rests on, and for how long it is known without another look: as long as its time lasts
//! and every source that was asked is in the state in which it answered. The configuration is not among them:
//! another one brings another [`Authenticator`](super::Authenticator).

use super::{Failure, Identity, Refusal, Refused};
use crate::clock::Timestamp;
use crate::trust::{Authorities, Generation};
use std::sync::Arc;
use std::time::Duration;

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

/// Everybody who was asked, each in the state from before it was asked: one that changes meanwhile makes what
/// was found useless. Who accepted is asked again once the time is over for which it did, who refused once a
/// date may change its mind.
pub(super) struct Grounds {
    asked: Vec<(Arc<dyn Vouching>, Option<Generation>)>,
    until: Timestamp,
}

impl Grounds {
    /// To be called before `source` is asked.
    pub(super) fn rest_on(&mut self, source: &Arc<impl Vouching + 'static>, now: Timestamp) {
        self.asked.push((source.clone(), source.generation(now)));
    }

    /// Does not hold from `date` on.
    pub(super) fn last_until(&mut self, date: Timestamp) {
        self.until = self.until.min(date);
    }

    /// Whether everybody is in that state still, and no date has come that may change what they said.
    fn hold(&self, now: Timestamp) -> bool {
        now < self.until
            && self
                .asked
                .iter()
                .all(|(source, then)| source.generation(now) == *then)
    }

    /// Whether everybody who was asked had an answer. An identity rests on somebody.
    fn support_an_identity(&self) -> bool {
        !self.asked.is_empty() && self.asked.iter().all(|(_, then)| then.is_some())
    }
}

impl Default for Grounds {
    fn default() -> Self {
        Self {
            asked: Vec::new(),
            until: Timestamp::MAX,
        }
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
        Self {
            identity,
            grounds,
            since: now,
        }
    }

    /// The identity, if it still counts.
    pub(super) fn identity(&self, now: Timestamp) -> Option<Identity> {
        let counts = self.since <= now && now < self.identity.valid_until;
        let counts = counts && self.grounds.support_an_identity() && self.grounds.hold(now);
        counts.then(|| self.identity.clone())
    }

    /// About how many bytes it takes. Claims are held twice: as they are, and as they were signed.
    pub(super) fn weight(&self) -> usize {
        let identity = &self.identity;
        let claims = identity
            .claims()
            .iter()
            .map(|(name, value)| PART + name.len() + size(value))
            .sum::<usize>();
        let names = identity
            .groups
            .iter()
            .map(|group| PART + group.len())
            .sum::<usize>()
            + identity.username.len();
        let scopes = identity
            .scope
            .iter()
            .chain(&identity.cap)
            .map(|scope| scope.weight(PART))
            .sum::<usize>();
        OVERHEAD + 2 * claims + names + scopes
    }
}

/// Why a certificate identified nobody. A refusal that no source was asked about lasts as long as the
/// configuration.
pub(super) struct KnownFailure {
    failure: Failure,
    grounds: Grounds,
    /// Before it nothing is known: the clock was set back.
    since: Timestamp,
}

impl KnownFailure {
    pub(super) fn new(failure: Failure, mut grounds: Grounds, now: Timestamp) -> Self {
        if !matches!(failure, Failure::Refused(_)) {
            grounds.last_until(now.plus(UNDECIDABLE));
        }
        Self {
            failure,
            grounds,
            since: now,
        }
    }

    /// The failure, if asking again would end in the same.
    pub(super) fn failure(&self, now: Timestamp) -> Option<Failure> {
        let holds = self.since <= now && self.grounds.hold(now);
        holds.then(|| match self.failure.clone() {
            Failure::Refused(Refusal {
                reason: Refused::Chain(why),
                evidence,
            }) => evidence.refused(Refused::Chain(why.at(Timestamp::from_secs(now.as_secs())))),
            failure => failure,
        })
    }
}

/// For how long a certificate is not judged again that could not be judged for want of keys. The reason in
/// the log gets this old.
const UNDECIDABLE: Duration = Duration::from_secs(10);

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
