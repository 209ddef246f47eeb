//! JWK Sets (RFC 7517) and their keys. The document must be well-formed. Its elements are read one by one: an
//! unusable one is skipped and reported, and the others are used. If a standard says to ignore an element, it
//! is reported as ignored, because nothing needs to be fixed.
//!
//! For SPIFFE bundles see also
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

/// Which values of `use` are accepted, and whether a key must have a `kid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UseRule {
    /// An OIDC issuer's key set: `use` is absent or `sig`. `kid` is optional.
    Oidc,
    /// A SPIFFE bundle: `use` is `jwt-svid`, and `kid` is required. Elements for `x509-svid` and `wit-svid`
    /// are ignored without a report.
    SpiffeBundle,
    /// The Workload API, which sends plain JWK Sets (RFC 7517): `use` is absent, `sig` or `jwt-svid`, and
    /// `kid` is required.
    WorkloadApi,
    /// Any `use`. `kid` is optional.
    Ignored,
}

/// Reads a JWK Set. A well-formed one may yield an empty [`KeySet`].
pub fn parse(bytes: &[u8], rule: UseRule) -> Result<Parsed<KeySet>, InvalidJwks> {
    let document = json::object(bytes)?;
    match document.get("keys") {
        Some(Value::Array(elements)) => Ok(from_elements(elements, rule)),
        found => Err(InvalidJwks::Keys {
            found: json::kind(found),
        }),
    }
}

/// Reads the elements of `keys` of a document that was already parsed.
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

/// The usable part of a document, and the elements that were skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed<T> {
    pub value: T,
    pub skipped: Vec<Skipped>,
}

/// Public keys that verify tokens. Immutable and cheap to clone.
#[derive(Clone, Default, PartialEq)]
pub struct KeySet {
    keys: Arc<[Key]>,
    /// Elements that cannot be used. They explain the rejection of a token that needs one of them.
    unusable: Arc<[Published]>,
    /// Keys of earlier sets that this set no longer has.
    withdrawn: Arc<[Withdrawn]>,
}

/// An element that cannot be used.
#[derive(Clone, PartialEq)]
struct Published {
    id: Option<Arc<str>>,
    why: Arc<str>,
    ignored: bool,
}

/// A key that verifies for a while although the latest set no longer has it.
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

    /// Limits the keys to tokens of this issuer: the keys of an OIDC issuer must not verify tokens with
    /// another `iss`.
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

    /// Returns why the published key with this `kid` cannot be used.
    pub(in crate::trust) fn why_unusable(&self, key_id: &str) -> Option<&str> {
        self.unusable
            .iter()
            .find(|one| one.id.as_deref() == Some(key_id))
            .map(|one| &*one.why)
    }

    /// Returns the faults of published keys that must be fixed before they can be used.
    pub(in crate::trust) fn faults(&self) -> impl Iterator<Item = String> {
        self.unusable
            .iter()
            .filter(|one| !one.ignored)
            .map(|Published { id, why, .. }| match id {
                Some(id) => format!("the key {id:?}: {why}"),
                None => format!("a key without `kid`: {why}"),
            })
    }

    /// Adds the keys that only `former` has. They verify for `grace` from `now` on. An empty set withdraws
    /// all keys at once.
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

    /// Returns the keys that this set no longer has and that still verify, each with its end.
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
    /// The key is not used if the clock was set back.
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

/// The document is not a JWK Set. It must never replace a valid one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJwks {
    #[error("not a JWK Set: {0}")]
    Json(#[from] InvalidJson),
    #[error("not a JWK Set: expected a list as `keys`, found {found}")]
    Keys { found: &'static str },
}

/// Returns the name of an element for messages. The `kid` comes from the publisher, so it is escaped and
/// shortened.
pub(in crate::trust) fn name(index: usize, element: &Value) -> String {
    match shown_id(element) {
        Some(id) => format!(
            "keys[{index}] (kid {})",
            id.escape_debug().take(SHOWN_CHARACTERS).collect::<String>()
        ),
        None => format!("keys[{index}]"),
    }
}

/// Returns the `kid`, even if it is wrongly a number.
fn shown_id(element: &Value) -> Option<Cow<'_, str>> {
    match element.get("kid") {
        Some(Value::String(id)) => Some(id.into()),
        Some(Value::Number(id)) => Some(id.to_string().into()),
        _ => None,
    }
}

const SHOWN_CHARACTERS: usize = 80;
/// The most withdrawn keys to keep, so that an issuer that changes its set with every answer cannot make the
/// list grow.
const MOST_WITHDRAWN: usize = 64;

#[cfg(test)]
mod tests;
