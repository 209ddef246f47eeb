//! Entries of one issuer with names of their own and different keys, as those of several clusters whose
//! issuer is the default one. The key that verifies a token decides whose it is, whatever `kid` it has. A key
//! that is in two entries belongs to the first in the file.

use super::{Authenticator, Issuer};
use crate::clock::Timestamp;
use crate::identity::grounds::Grounds;
use crate::identity::refusal::Reason;
use crate::identity::{Identity, Refused};
use crate::trust::jwt::{self, Unverified};
use futures_util::future::join_all;
use std::fmt;

/// A key that two entries of one issuer publish. Tokens that it signs are the first entry's.
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
    /// By the entries of one issuer.
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
        // Whose a token is may change with the keys of each of them.
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

    /// Whether a key is of an entry that stands before that of this name in the file.
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

    /// Keys that namesakes share.
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

/// In the order of the file; entries of one name share their keys.
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

/// The first that accepts. Else nothing is known as long as one of them cannot tell; and that no key is the
/// token's says more than what an entry says whose it is not.
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
