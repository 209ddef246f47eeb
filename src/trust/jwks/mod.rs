//! JWK Sets (RFC 7517) and the keys in them that can verify a token's signature. The document must be
//! well-formed; its elements are judged one by one, and one that cannot be used is skipped and reported while
//! the rest counts. Where a standard says to ignore an element, it is reported as ignored, since nobody has
//! to change anything.
//!
//! For SPIFFE bundles also
//! <https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Trust_Domain_and_Bundle.md#4-spiffe-bundle-format>.

mod key;

pub use super::skipped::Skipped;
pub(in crate::trust) use key::Key;

use super::algorithm::Algorithm;
use super::json::{self, InvalidJson};
use super::keys::{KeyKind, KeyStatus, Keys};
use super::skipped::promote;
use crate::clock::Timestamp;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a key's `use` must say to count, and whether it must have a `kid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UseRule {
    /// An OIDC issuer's key set: absent or `sig`. `kid` is optional.
    Oidc,
    /// A SPIFFE bundle: exactly `jwt-svid`, with a `kid`. Elements for `x509-svid` and `wit-svid` are passed
    /// over in silence.
    SpiffeBundle,
    /// The Workload API, whose key sets are plain ones (RFC 7517) and need no `use`: absent, `sig` or
    /// `jwt-svid`, with a `kid`.
    WorkloadApi,
    /// Whatever it says. `kid` is optional.
    Ignored,
}

/// Reads a JWK Set. A well-formed one may well yield an empty [`KeySet`].
pub fn parse(bytes: &[u8], rule: UseRule) -> Result<Parsed<KeySet>, InvalidJwks> {
    let document = json::object(bytes)?;
    match document.get("keys") {
        Some(Value::Array(elements)) => Ok(from_elements(elements, rule)),
        found => Err(InvalidJwks::Keys {
            found: json::kind(found),
        }),
    }
}

/// Reads the elements of `keys`, for a document that was read already.
pub(in crate::trust) fn from_elements(elements: &[Value], rule: UseRule) -> Parsed<KeySet> {
    let mut keys = Vec::new();
    let mut skipped = Vec::new();
    let mut ids = Vec::new();
    for (index, element) in elements.iter().enumerate() {
        match Key::parse(element, rule) {
            Ok(Some(key)) => keys.push(key),
            Ok(None) => {}
            Err(why) => {
                skipped.push(Skipped {
                    element: name(index, element),
                    why: why.to_string(),
                    ignored: why.is_ignored(),
                });
                ids.push(shown_id(element).map(Into::into));
            }
        }
    }
    if keys.is_empty() && rule != UseRule::SpiffeBundle {
        promote(&mut skipped);
    }
    let unusable = ids.into_iter().zip(&skipped).map(|(id, found)| Published {
        id,
        why: found.why.as_str().into(),
        ignored: found.ignored,
    });
    let unusable: Vec<_> = unusable.collect();
    Parsed {
        value: KeySet {
            keys: keys.into(),
            unusable: unusable.into(),
            ..KeySet::default()
        },
        skipped,
    }
}

/// Something was read; these elements of it were not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed<T> {
    pub value: T,
    pub skipped: Vec<Skipped>,
}

/// Public keys that may verify tokens. Immutable and cheap to clone.
#[derive(Clone, Default, PartialEq)]
pub struct KeySet {
    keys: Arc<[Key]>,
    /// Elements that cannot be used. For the reason that a token gets which needs one of them.
    unusable: Arc<[Published]>,
    /// Keys of former sets that this one lacks.
    withdrawn: Arc<[Withdrawn]>,
}

/// An element that cannot be used.
#[derive(Clone, PartialEq)]
struct Published {
    id: Option<Arc<str>>,
    why: Arc<str>,
    ignored: bool,
}

/// A key that verifies for a while although the latest set lacks it.
#[derive(Clone, PartialEq)]
struct Withdrawn {
    key: Key,
    since: Timestamp,
    until: Timestamp,
}

impl KeySet {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().filter_map(Key::id)
    }

    /// The same keys, for tokens of this issuer only: what an OIDC issuer publishes vouches for nobody else's
    /// `iss`.
    #[must_use]
    pub fn demanding_issuer(self, issuer: &str) -> Self {
        let issuer: Arc<str> = issuer.into();
        Self {
            keys: self
                .keys
                .iter()
                .map(|key| key.demanding(issuer.clone()))
                .collect(),
            ..self
        }
    }

    /// Why the published key of this `kid` cannot be used.
    pub(in crate::trust) fn why_unusable(&self, key_id: &str) -> Option<&str> {
        self.unusable
            .iter()
            .find(|one| one.id.as_deref() == Some(key_id))
            .map(|one| &*one.why)
    }

    /// What is wrong with the published keys that must be mended before they can be used.
    pub(in crate::trust) fn faults(&self) -> impl Iterator<Item = String> {
        self.unusable
            .iter()
            .filter(|one| !one.ignored)
            .map(|Published { id, why, .. }| match id {
                Some(id) => format!("the key {id:?}: {why}"),
                None => format!("a key without `kid`: {why}"),
            })
    }

    /// This set, and for `grace` from `now` on also the keys of `former` that it lacks. An empty set
    /// withdraws them all at once.
    pub(in crate::trust) fn beside_former(self, former: &Self, now: Timestamp, grace: Duration) -> Self {
        if self.is_empty() || grace.is_zero() {
            return self;
        }
        let newly = former.keys.iter().map(|key| Withdrawn {
            key: key.clone(),
            since: now,
            until: now.plus(grace),
        });
        let earlier = former.withdrawn.iter().filter(|one| one.counts_at(now)).cloned();
        let lacks = |one: &Withdrawn| !self.keys.contains(&one.key);
        let withdrawn = newly.chain(earlier).filter(lacks).take(MOST_WITHDRAWN).collect();
        Self { withdrawn, ..self }
    }

    /// The keys that this set lacks and that still verify, each with when it stops to.
    pub(in crate::trust) fn withdrawn_at(&self, now: Timestamp) -> impl Iterator<Item = (&Key, Timestamp)> {
        self.withdrawn
            .iter()
            .filter(move |one| one.counts_at(now))
            .map(|one| (&one.key, one.until))
    }

    pub(in crate::trust) fn keys(&self) -> &[Key] {
        &self.keys
    }
}

impl FromIterator<Key> for KeySet {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        Self {
            keys: keys.into_iter().collect(),
            ..Self::default()
        }
    }
}

impl Withdrawn {
    /// A clock that was set back makes it count no longer.
    fn counts_at(&self, now: Timestamp) -> bool {
        self.since <= now && now < self.until
    }
}

impl Keys for KeySet {
    fn describe(&self) -> Vec<KeyStatus> {
        let describe = |(key, withdrawn_until): (&Key, Option<Timestamp>)| KeyStatus {
            kind: KeyKind::Jwt,
            id: key.id().map(str::to_owned),
            algorithms: key.algorithms().map(Algorithm::as_str).collect(),
            not_after: None,
            withdrawn_until,
        };
        let withdrawn = self.withdrawn.iter().map(|one| (&one.key, Some(one.until)));
        self.keys
            .iter()
            .map(|key| (key, None))
            .chain(withdrawn)
            .map(describe)
            .collect()
    }

    fn prints(&self) -> Vec<(&str, String)> {
        let name = |key: &Key| {
            key.id().map_or_else(
                || "the JWT key without an ID".to_owned(),
                |id| format!("the JWT key {id}"),
            )
        };
        let all = self.keys.iter().chain(self.withdrawn.iter().map(|one| &one.key));
        all.map(|key| (&**key.fingerprint(), name(key))).collect()
    }

    fn without(&self, gone: &dyn Fn(&str) -> bool) -> Self {
        Self {
            keys: self
                .keys
                .iter()
                .filter(|key| !gone(key.fingerprint()))
                .cloned()
                .collect(),
            withdrawn: self
                .withdrawn
                .iter()
                .filter(|one| !gone(one.key.fingerprint()))
                .cloned()
                .collect(),
            unusable: self.unusable.clone(),
        }
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter()).finish()
    }
}

/// The document is no JWK Set. It must never replace a good one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJwks {
    #[error("not a JWK Set: {0}")]
    Json(#[from] InvalidJson),
    #[error("not a JWK Set: expected a list as `keys`, found {found}")]
    Keys { found: &'static str },
}

/// Names an element for whoever must mend it. A `kid` is a stranger's text: made printable, and short.
pub(in crate::trust) fn name(index: usize, element: &Value) -> String {
    match shown_id(element) {
        Some(id) => format!(
            "keys[{index}] (kid {})",
            id.escape_debug().take(SHOWN_CHARACTERS).collect::<String>()
        ),
        None => format!("keys[{index}]"),
    }
}

/// The `kid`, also where it is a number, as a token may name it by mistake.
fn shown_id(element: &Value) -> Option<Cow<'_, str>> {
    match element.get("kid") {
        Some(Value::String(id)) => Some(id.into()),
        Some(Value::Number(id)) => Some(id.to_string().into()),
        _ => None,
    }
}

const SHOWN_CHARACTERS: usize = 80;
/// How many withdrawn keys are kept: an issuer with a new set for every answer must not make the list grow.
const MOST_WITHDRAWN: usize = 64;

#[cfg(test)]
mod tests;
