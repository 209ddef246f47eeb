//! Several named entries of one issuer with different keys, such as Kubernetes clusters that all use the
//! default issuer. The key that verifies a token decides which entry accepts it, whatever `kid` the token
//! has. A key that two entries publish belongs to the first one in the file.

use super::{Authenticator, Issuer};
use crate::clock::Timestamp;
use crate::identity::grounds::Grounds;
use crate::identity::refusal::Reason;
use crate::identity::{Identity, Refused};
use crate::trust::jwt::{self, Unverified};
use futures_util::future::join_all;
use std::fmt;

/// A key that two entries of one issuer publish. Tokens that it signs belong to the first entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedKey {
    pub issuer: String,
    pub fingerprint: String,
    pub first: String,
    pub second: String,
}

impl fmt::Display for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            issuer,
            fingerprint,
            first,
            second,
        } = self;
        write!(
            f,
            "the entries {first:?} and {second:?} of {issuer} have the same key (thumbprint {fingerprint}): tokens that it signs belong to {first:?}, never to {second:?}; give each cluster keys of its own, or give both entries one name"
        )
    }
}

impl Authenticator {
    /// Verifies a token by the entries of one issuer.
    pub(in crate::identity) async fn oidc_identity(
        &self,
        token: &Unverified,
        entries: &[&Issuer],
        grounds: &mut Grounds,
        now: Timestamp,
    ) -> Result<Identity, Reason> {
        let namesakes = by_name(entries);
        if let [only] = namesakes.as_slice() {
            return self.entry_identity(token, only, grounds, now).await;
        }
        // A change of any entry's keys may change which entry accepts the token.
        for first in namesakes.iter().filter_map(|entries| entries.first()) {
            grounds.rest_on(&first.keys, now);
        }
        let signed = |entries: &&Vec<&Issuer>| {
            entries
                .first()
                .is_some_and(|first| jwt::is_signed_by(token, &first.keys, now))
        };
        if let Some(entries) = namesakes.iter().find(signed) {
            return self.entry_identity(token, entries, grounds, now).await;
        }
        let asked = join_all(namesakes.iter().map(|entries| async {
            let mut grounds = Grounds::default();
            self.entry_identity(token, entries, &mut grounds, now).await
        }));
        first_of(asked.await)
    }

    /// Whether an entry that comes before this one in the file holds the key.
    pub(super) fn belongs_to_an_earlier(
        &self,
        entries: &[&Issuer],
        name: Option<&str>,
        fingerprint: &str,
        now: Timestamp,
    ) -> bool {
        let earlier = entries.iter().take_while(|entry| entry.name.as_deref() != name);
        earlier
            .into_iter()
            .any(|entry| jwt::holds_key(&entry.keys, fingerprint, now))
    }

    /// Returns the keys that several entries of one issuer publish.
    #[must_use]
    pub fn shared_keys(&self, now: Timestamp) -> Vec<SharedKey> {
        let mut found: Vec<SharedKey> = Vec::new();
        for (at, later) in self.issuers.iter().enumerate() {
            let earlier =
                self.issuers.iter().take(at).filter(|earlier| {
                    earlier.rules.issuer == later.rules.issuer && earlier.name != later.name
                });
            let earlier: Vec<_> = earlier.collect();
            if earlier.is_empty() {
                continue;
            }
            for fingerprint in jwt::fingerprints(&later.keys, now) {
                let Some(first) = earlier
                    .iter()
                    .find(|entry| jwt::holds_key(&entry.keys, &fingerprint, now))
                else {
                    continue;
                };
                let shared = SharedKey {
                    issuer: later.rules.issuer.clone(),
                    fingerprint: fingerprint.to_string(),
                    first: first.name.clone().unwrap_or_default(),
                    second: later.name.clone().unwrap_or_default(),
                };
                if !found.contains(&shared) {
                    found.push(shared);
                }
            }
        }
        found
    }
}

/// Groups entries by name, in the order of the file. Entries with the same name share their keys.
fn by_name<'a>(entries: &[&'a Issuer]) -> Vec<Vec<&'a Issuer>> {
    let mut groups: Vec<Vec<&Issuer>> = Vec::new();
    for entry in entries {
        let same = |group: &&mut Vec<&Issuer>| group.first().is_some_and(|first| first.name == entry.name);
        match groups.iter_mut().find(same) {
            Some(group) => group.push(entry),
            None => groups.push(vec![entry]),
        }
    }
    groups
}

/// Returns the first identity. Without one, an undecided outcome comes first, because that entry may still
/// accept the token. After that a rejection because of keys comes before others: the other reasons come from
/// entries that the token may not belong to.
fn first_of(outcomes: Vec<Result<Identity, Reason>>) -> Result<Identity, Reason> {
    let mut undecided = None;
    let mut about_keys = None;
    let mut other = None;
    for outcome in outcomes {
        match outcome {
            Ok(identity) => return Ok(identity),
            Err(Reason::Refused(why)) if is_about_keys(&why) => {
                _ = about_keys.get_or_insert(Reason::Refused(why))
            }
            Err(Reason::Refused(why)) => _ = other.get_or_insert(Reason::Refused(why)),
            Err(why) => _ = undecided.get_or_insert(why),
        }
    }
    Err(undecided
        .or(about_keys)
        .or(other)
        .unwrap_or(Reason::Refused(Refused::UnknownIssuer)))
}

const fn is_about_keys(why: &Refused) -> bool {
    use jwt::Rejected::{
        AlgorithmDoesNotFitKey, KeyIdNeeded, NoFittingKey, Signature, UnknownKey, UnusableKey,
    };
    matches!(
        why,
        Refused::Jwt(
            UnknownKey { .. }
                | UnusableKey { .. }
                | Signature
                | NoFittingKey { .. }
                | AlgorithmDoesNotFitKey { .. }
                | KeyIdNeeded { .. }
        )
    )
}
