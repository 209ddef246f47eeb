//! When a cached identity must be verified again: when it expires, or when a key source that was used has
//! changed since. A new configuration is not tracked here, because it makes a new
//! [`Authenticator`](super::Authenticator).

use super::{Failure, Identity, Refusal, Refused};
use crate::clock::Timestamp;
use crate::trust::{Authorities, Generation};
use std::sync::Arc;
use std::time::Duration;

/// A source of keys or passwords that identities depend on.
pub(super) trait Vouching: Send + Sync {
    /// Returns the generation in use now, or `None` if the source has nothing usable.
    fn generation(&self, now: Timestamp) -> Option<Generation>;
}

impl<T: Send + Sync> Vouching for Authorities<T> {
    fn generation(&self, now: Timestamp) -> Option<Generation> {
        self.generation(now)
    }
}

/// The sources that a result depends on, each with its generation from before it was used. If a source
/// changes during verification, the result is not reused. A result also ends at `until`, when a date may
/// change it.
pub(super) struct Grounds {
    asked: Vec<(Arc<dyn Vouching>, Option<Generation>)>,
    until: Timestamp,
}

impl Grounds {
    /// Records a source. Call this before the source is used.
    pub(super) fn rest_on(&mut self, source: &Arc<impl Vouching + 'static>, now: Timestamp) {
        self.asked.push((source.clone(), source.generation(now)));
    }

    /// The result is not valid from `date` on.
    pub(super) fn last_until(&mut self, date: Timestamp) {
        self.until = self.until.min(date);
    }

    /// Whether every source still has that generation and `until` has not passed.
    fn hold(&self, now: Timestamp) -> bool {
        now < self.until
            && self
                .asked
                .iter()
                .all(|(source, then)| source.generation(now) == *then)
    }

    /// Whether there is at least one source, and each had usable keys. Only then may an identity be cached.
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

/// A cached identity.
pub(super) struct Known {
    identity: Identity,
    grounds: Grounds,
    /// Not valid before this time: the clock may have been set back.
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

    /// Returns the identity if it is still valid.
    pub(super) fn identity(&self, now: Timestamp) -> Option<Identity> {
        let valid = self.since <= now && now < self.identity.valid_until;
        let valid = valid && self.grounds.support_an_identity() && self.grounds.hold(now);
        valid.then(|| self.identity.clone())
    }

    /// Returns about how many bytes the identity takes. Claims are held twice: parsed, and as they were
    /// signed.
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

/// A cached failure of a certificate. A rejection that depends on no source lasts as long as the
/// configuration.
pub(super) struct KnownFailure {
    failure: Failure,
    grounds: Grounds,
    /// Not valid before this time: the clock may have been set back.
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

    /// Returns the failure if another verification would give the same result.
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

/// How long to cache that a certificate could not be verified because there were no keys. The reason in the
/// log may be this old.
const UNDECIDABLE: Duration = Duration::from_secs(10);

/// Returns about how many bytes a claim takes.
fn size(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    match value {
        Value::String(text) => text.len(),
        Value::Array(all) => all.iter().map(|one| PART + size(one)).sum(),
        Value::Object(all) => all.iter().map(|(name, one)| PART + name.len() + size(one)).sum(),
        _ => 0,
    }
}

/// The overhead of each value beside its text: a pointer, two lengths and its place in a tree or a list.
const PART: usize = 64;

/// About how many bytes an identity takes beside its claims.
const OVERHEAD: usize = 1024;
