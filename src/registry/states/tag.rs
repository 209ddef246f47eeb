//! A tag: what it points at, and the number of its last event.

use super::super::text::Text;
use super::Next;
use crate::oci::Digest;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::registry) struct TagRecord {
    pub state: TagState,
    /// The manifest that it points at. A deleted tag keeps its last one.
    pub digest: Text<Digest>,
    /// The principal that moved or deleted it.
    pub by: String,
    /// The time of the event in milliseconds since the epoch, by the store's clock. For retention it is the
    /// time when the tag was pushed. The age of a tag for the grace period is that of its record.
    pub at: i64,
    /// 1 for the first event. Every move and every deletion adds 1. A push of the digest that the tag already
    /// has adds nothing.
    pub seq: u64,
    /// A random name of the event.
    pub event: String,
    /// The hash of the record before this event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Text<Digest>>,
}

/// The number of an announcement, which is not an event.
const ANNOUNCED: u64 = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::registry) enum TagState {
    Live,
    /// Readers and lists ignore it. Its sequence continues if the tag is created again. With the number 0 it is
    /// the announcement of an immutable tag.
    Deleted,
}

/// Who changes a tag, and when.
#[derive(Clone, Debug)]
pub(in crate::registry) struct Event {
    pub by: String,
    pub at: i64,
    pub id: String,
}

impl TagRecord {
    /// The manifest that the tag points at, unless the tag is deleted.
    pub(in crate::registry) fn target(&self) -> Option<&Digest> {
        (self.state == TagState::Live).then_some(&self.digest.0)
    }

    /// Points the tag at `digest`. Returns the manifest that it pointed at before, if that was another one.
    /// `hash` hashes a record.
    pub(in crate::registry) fn put(
        found: Option<Self>,
        digest: &Digest,
        event: &Event,
        hash: impl FnOnce(&Self) -> Digest,
    ) -> Next<Self, Option<Digest>> {
        match found {
            // The same record is written again. Its time is then new, and a deletion of the manifest that
            // wants to delete this tag finds that it has changed.
            Some(found) if found.target() == Some(digest) => Next::Write(found, None),
            None => Next::Write(Self::new(TagState::Live, digest.clone(), event, 1, None), None),
            Some(found) if found.is_announcement() => Self::put(None, digest, event, hash),
            Some(found) => {
                let record = Self::new(
                    TagState::Live,
                    digest.clone(),
                    event,
                    found.seq.saturating_add(1),
                    Some(hash(&found)),
                );
                Next::Write(record, found.target().cloned())
            }
        }
    }

    /// Announces an immutable tag that does not exist yet. The announcement is hidden. It stands before the
    /// manifest is read for the last time, so a deletion of the manifest either finds it or is found. Returns
    /// whether the tag is now announced, by this writer or by another one. Otherwise it exists.
    pub(in crate::registry) fn announce(
        found: Option<Self>,
        digest: &Digest,
        event: &Event,
    ) -> Next<Self, bool> {
        match found {
            None => Next::Write(
                Self::new(TagState::Deleted, digest.clone(), event, ANNOUNCED, None),
                true,
            ),
            Some(found) => Next::Keep(found.state == TagState::Deleted),
        }
    }

    pub(in crate::registry) fn is_announcement(&self) -> bool {
        self.state == TagState::Deleted && self.seq == ANNOUNCED
    }

    /// For a client that is about to learn that the tag points at `digest`. An `old` record is written again,
    /// without an event. Returns whether the tag points there.
    pub(in crate::registry) fn rely(found: Option<Self>, digest: &Digest, old: bool) -> Next<Self, bool> {
        match found {
            Some(found) if found.target() == Some(digest) && old => Next::Write(found, true),
            found => Next::Keep(found.is_some_and(|found| found.target() == Some(digest))),
        }
    }

    /// The record of a deleted tag, where tags have a history.
    #[cfg_attr(not(test), expect(dead_code, reason = "for tags that have a history"))]
    pub(in crate::registry) fn deleted(
        found: Self,
        event: &Event,
        hash: impl FnOnce(&Self) -> Digest,
    ) -> Next<Self, bool> {
        if found.target().is_none() {
            return Next::Keep(false);
        }
        let previous = Some(hash(&found));
        Next::Write(
            Self::new(
                TagState::Deleted,
                found.digest.0,
                event,
                found.seq.saturating_add(1),
                previous,
            ),
            true,
        )
    }

    fn new(state: TagState, digest: Digest, event: &Event, seq: u64, previous: Option<Digest>) -> Self {
        let Event { by, at, id } = event.clone();
        Self {
            state,
            digest: Text(digest),
            by,
            at,
            seq,
            event: id,
            previous: previous.map(Text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::hashing::digest_of;
    use super::*;
    use crate::oci::Algorithm;

    fn digest(text: &str) -> Digest {
        digest_of(Algorithm::Sha256, text.as_bytes())
    }

    fn event(id: &str) -> Event {
        Event {
            by: "alice".to_owned(),
            at: 5,
            id: id.to_owned(),
        }
    }

    fn hash(record: &TagRecord) -> Digest {
        digest(&record.event)
    }

    fn written<R>(next: Next<TagRecord, R>) -> (TagRecord, R) {
        match next {
            Next::Write(record, result) => (record, result),
            _ => panic!("nothing was written"),
        }
    }

    #[test]
    fn relying() {
        let (live, _) = written(TagRecord::put(None, &digest("a"), &event("1"), hash));
        let (gone, _) = written(TagRecord::deleted(live.clone(), &event("2"), hash));
        for (found, target, young, old) in [
            (None, "a", Next::Keep(false), Next::Keep(false)),
            (
                Some(live.clone()),
                "a",
                Next::Keep(true),
                Next::Write(live.clone(), true),
            ),
            (Some(live), "b", Next::Keep(false), Next::Keep(false)),
            (Some(gone), "a", Next::Keep(false), Next::Keep(false)),
        ] {
            assert_eq!(
                TagRecord::rely(found.clone(), &digest(target), false),
                young,
                "{found:?} {target}"
            );
            assert_eq!(
                TagRecord::rely(found.clone(), &digest(target), true),
                old,
                "{found:?} {target}"
            );
        }
    }

    #[test]
    fn announcing() {
        let (announced, there) = written(TagRecord::announce(None, &digest("a"), &event("1")));
        assert!(there && announced.is_announcement() && announced.target().is_none());
        let again = TagRecord::announce(Some(announced.clone()), &digest("b"), &event("2"));
        assert_eq!(again, Next::Keep(true), "an announcement is shared");
        let (created, before) = written(TagRecord::put(Some(announced), &digest("b"), &event("2"), hash));
        assert_eq!(
            (created.seq, &created.previous, before),
            (1, &None, None),
            "an announcement is not an event"
        );
        assert!(!created.is_announcement());
        let refused = TagRecord::announce(Some(created.clone()), &digest("a"), &event("3"));
        assert_eq!(refused, Next::Keep(false));
        let (gone, _) = written(TagRecord::deleted(created, &event("4"), hash));
        assert!(!gone.is_announcement());
    }

    #[test]
    fn every_move_and_deletion_is_the_next_event_and_names_the_one_before() {
        let put = |found, digest: &Digest, id| written(TagRecord::put(found, digest, &event(id), hash));
        let (first, before) = put(None, &digest("a"), "1");
        assert_eq!((first.seq, &first.previous, before), (1, &None, None));
        let (same, before) = put(Some(first.clone()), &digest("a"), "x");
        assert_eq!((&same, before), (&first, None), "no event");
        let (moved, before) = put(Some(first.clone()), &digest("b"), "2");
        assert_eq!(
            (moved.seq, &moved.previous, before),
            (2, &Some(Text(digest("1"))), Some(digest("a")))
        );
        let (gone, was) = written(TagRecord::deleted(moved, &event("3"), hash));
        assert_eq!(
            (gone.seq, &gone.previous, gone.target(), was),
            (3, &Some(Text(digest("2"))), None, true)
        );
        assert_eq!(
            TagRecord::deleted(gone.clone(), &event("4"), hash),
            Next::Keep(false)
        );
        let (again, before) = put(Some(gone), &digest("b"), "4");
        assert_eq!(
            (again.seq, &again.previous, again.target(), before),
            (4, &Some(Text(digest("3"))), Some(&digest("b")), None)
        );
    }
}
