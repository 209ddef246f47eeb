//! The content of one document, and the slots of its source.

use super::jwks::KeySet;
use super::skipped::Skipped;
use super::x509::X509Authorities;
use super::{Slot, SourceKind};
use crate::clock::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// The keys of a document. `None` for a kind of key that the document's format cannot contain.
#[derive(Clone, Debug, Default)]
pub(in crate::trust) struct Content {
    pub(in crate::trust) x509: Option<X509Authorities>,
    pub(in crate::trust) jwt: Option<KeySet>,
    pub(in crate::trust) sequence: Option<u64>,
    /// How often the publisher asks for the document to be fetched.
    pub(in crate::trust) refresh_hint: Option<Duration>,
    pub(in crate::trust) skipped: Vec<Skipped>,
}

/// The slots that one source fills.
#[derive(Clone, Debug)]
pub(in crate::trust) struct Slots {
    pub(in crate::trust) x509: Option<Arc<Slot<X509Authorities>>>,
    pub(in crate::trust) jwt: Option<Arc<Slot<KeySet>>>,
}

impl Slots {
    /// Makes slots for the kinds of key that `content` has, and fills them.
    pub(in crate::trust) fn of(
        kind: SourceKind,
        name: &Arc<str>,
        content: Content,
        as_of: Timestamp,
    ) -> Self {
        let slots = Self::empty(kind, name, &content);
        slots.publish(content, as_of, Timestamp::MAX);
        slots
    }

    /// Makes empty slots for the kinds of key that `content` has.
    pub(in crate::trust) fn empty(kind: SourceKind, name: &Arc<str>, content: &Content) -> Self {
        Self {
            x509: content.x509.is_some().then(|| Slot::of(kind, name.clone())),
            jwt: content.jwt.is_some().then(|| Slot::of(kind, name.clone())),
        }
    }

    /// Publishes a first document. A slot for a kind of key that the document does not have stays empty.
    pub(in crate::trust) fn publish_spoken(
        &self,
        content: Content,
        as_of: Timestamp,
        usable_until: Timestamp,
    ) {
        self.x509
            .iter()
            .filter(|_| content.x509.is_none())
            .for_each(|slot| slot.says_nothing());
        self.jwt
            .iter()
            .filter(|_| content.jwt.is_none())
            .for_each(|slot| slot.says_nothing());
        let spoken = Self {
            x509: self.x509.clone().filter(|_| content.x509.is_some()),
            jwt: self.jwt.clone().filter(|_| content.jwt.is_some()),
        };
        spoken.publish(content, as_of, usable_until);
    }

    /// Publishes a valid document. A kind of key that the document does not have is withdrawn. Unchanged keys
    /// keep their generation, so that a rotation of one kind of key does not invalidate identities of the
    /// other kind.
    pub(in crate::trust) fn publish(&self, content: Content, as_of: Timestamp, usable_until: Timestamp) {
        if let Some(slot) = &self.x509 {
            replace(slot, content.x509.unwrap_or_default(), as_of, usable_until);
            slot.annotate(content.sequence, content.skipped.clone());
        }
        if let Some(slot) = &self.jwt {
            replace(slot, content.jwt.unwrap_or_default(), as_of, usable_until);
            slot.annotate(content.sequence, content.skipped);
        }
    }

    /// Publishes the copy on disk that an earlier process saved.
    pub(in crate::trust) fn recall(&self, content: Content, as_of: Timestamp, usable_until: Timestamp) {
        if let Some(slot) = &self.x509 {
            slot.recall(content.x509.unwrap_or_default(), as_of, usable_until);
            slot.annotate(content.sequence, content.skipped.clone());
        }
        if let Some(slot) = &self.jwt {
            slot.recall(content.jwt.unwrap_or_default(), as_of, usable_until);
            slot.annotate(content.sequence, content.skipped);
        }
    }

    pub(in crate::trust) fn confirm(&self, as_of: Timestamp, usable_until: Timestamp) {
        if let Some(slot) = &self.x509 {
            slot.confirm(as_of, usable_until);
        }
        if let Some(slot) = &self.jwt {
            slot.confirm(as_of, usable_until);
        }
    }

    pub(in crate::trust) fn fail(&self, why: &str) {
        if let Some(slot) = &self.x509 {
            slot.fail(why);
        }
        if let Some(slot) = &self.jwt {
            slot.fail(why);
        }
    }

    pub(in crate::trust) fn plan(&self, next_refresh: Timestamp) {
        if let Some(slot) = &self.x509 {
            slot.plan(next_refresh);
        }
        if let Some(slot) = &self.jwt {
            slot.plan(next_refresh);
        }
    }

    /// Returns why the latest attempt failed, if it did. All slots of a source have the same reason.
    pub(in crate::trust) fn failure(&self) -> Option<String> {
        let x509 = self.x509.as_ref().and_then(|slot| slot.failure());
        x509.or_else(|| self.jwt.as_ref().and_then(|slot| slot.failure()))
    }

    /// Adds the keys that only the previous document had. They stay valid for `grace`, since the replicas of
    /// an issuer do not publish a new key set at the same moment.
    pub(in crate::trust) fn beside_former(
        &self,
        content: Content,
        now: Timestamp,
        grace: Duration,
    ) -> Content {
        let held = self.jwt.as_ref().and_then(|slot| slot.held());
        let beside = |keys: KeySet| match &held {
            Some(held) => keys.beside_former(&held.keys, now, grace),
            None => keys,
        };
        Content {
            jwt: content.jwt.map(beside),
            ..content
        }
    }

    /// Returns until when the keys may be used; `None` if there never were any. All slots are filled
    /// together.
    pub(in crate::trust) fn usable_until(&self) -> Option<Timestamp> {
        let x509 = self
            .x509
            .as_ref()
            .and_then(|slot| slot.held())
            .map(|held| held.usable_until);
        x509.or_else(|| {
            self.jwt
                .as_ref()
                .and_then(|slot| slot.held())
                .map(|held| held.usable_until)
        })
    }
}

fn replace<T: Clone + PartialEq>(slot: &Slot<T>, keys: T, as_of: Timestamp, usable_until: Timestamp) {
    match slot.held() {
        Some(held) if held.keys == keys => slot.confirm(as_of, usable_until),
        _ => slot.publish(keys, as_of, usable_until),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::jwks::{self, UseRule};
    use crate::trust::source::testing::jwk_set;

    #[test]
    fn unchanged_keys_keep_their_generation() {
        let content = |kids: &[&str]| Content {
            x509: Some(X509Authorities::default()),
            jwt: Some(jwks::parse(&jwk_set(kids), UseRule::Ignored).unwrap().value),
            ..Content::default()
        };
        let slots = Slots::of(
            SourceKind::File,
            &"file".into(),
            content(&["a"]),
            Timestamp::from_secs(1),
        );
        let generations = || {
            let x509 = slots.x509.as_ref().unwrap().held().unwrap();
            let jwt = slots.jwt.as_ref().unwrap().held().unwrap();
            (x509.generation, jwt.generation)
        };
        let before = generations();
        slots.publish(content(&["a"]), Timestamp::from_secs(2), Timestamp::MAX);
        assert_eq!(generations(), before);
        slots.publish(content(&["b"]), Timestamp::from_secs(3), Timestamp::MAX);
        assert_eq!(generations().0, before.0, "the other kind of key did not change");
        assert_ne!(generations().1, before.1);
        assert_eq!(
            slots.x509.as_ref().unwrap().held().unwrap().as_of,
            Timestamp::from_secs(3)
        );
    }
}
