//! Tags: deleting one, listing them, and keeping a tag's history.

use super::super::faults::Fault;
use super::super::io::{Io, Stop};
use super::super::seen::Seen;
use super::super::steps::{Next, delete_tag};
use super::super::values::{Key, Manifest, Tag};
use super::hints::clear;
use super::reading::{is, leads_to};
use super::{ACKNOWLEDGED, Actor, Effect, IDLE, Outcome, Phase};

/// A client or retention deletes a tag. Retention deletes only an old tag.
#[derive(Debug)]
pub(in super::super) struct DeleteTag {
    pub tag: u8,
    pub event: u8,
    /// Skips a tag that was written less than this time ago.
    pub grace: u8,
}

impl Actor for DeleteTag {
    fn effect(&self) -> Option<Effect> {
        Some(if self.grace == 0 {
            Effect::DeleteTag(self.tag)
        } else {
            Effect::ExpireTag(self.tag)
        })
    }

    fn run(&self, phase: Phase, io: &mut Io<'_>) -> Result<Phase, Stop> {
        match phase {
            Phase::Start => {
                let (seen, found, age) = io.get_with_age::<Tag>(Key::Tag(self.tag))?;
                let found = found.filter(|found| age >= self.grace && found.live);
                let Some(found) = found else { return IDLE };
                let taken = take_tag(self.tag, seen, found, self.event, io)?;
                Ok(if taken {
                    Phase::ClearOldBack {
                        previous: Some(found.manifest),
                    }
                } else {
                    phase
                })
            }
            Phase::ClearOldBack { previous: Some(old) } => {
                let done = clear(io, Key::Back(old, self.tag), |io| leads_to(io, self.tag, old))?;
                if done { ACKNOWLEDGED } else { Ok(phase) }
            }
            other => unreachable!("{other:?}"),
        }
    }
}

/// Lists the tags. If a manifest has a marker, its tags are left out.
#[derive(Debug)]
pub(in super::super) struct ListTags {
    pub manifests: u8,
}

impl Actor for ListTags {
    fn effect(&self) -> Option<Effect> {
        Some(Effect::ListTags)
    }

    fn run(&self, _: Phase, io: &mut Io<'_>) -> Result<Phase, Stop> {
        // Read before the tags, because a deletion that ends meanwhile also deletes its marker.
        let markers = io.list(|key| match key {
            Key::Marker(manifest) => Some(manifest),
            _ => None,
        })?;
        // Deleted tags are hidden, so the listing does not show them.
        let mut shown = io.list_tags()?;
        for manifest in (0..self.manifests).filter(|manifest| markers & 1 << manifest != 0) {
            if !io.has(Fault::ListingTrustsMarker) && !is(io, manifest, |state| state == Manifest::Dying)? {
                continue;
            }
            let leading = io.list(|key| match key {
                Key::Back(of, tag) if of == manifest => Some(tag),
                _ => None,
            })?;
            let asked = leading & shown;
            for tag in (0..8).filter(|tag| asked & 1 << tag != 0) {
                if leads_to(io, tag, manifest)? {
                    shown &= !(1 << tag);
                }
            }
        }
        if markers != 0 {
            // A tag that was deleted meanwhile no longer points at its manifest.
            shown &= io.list_tags()?;
        }
        Ok(Phase::Done(Outcome::Listed(shown.to_le_bytes()[0])))
    }
}

/// Deletes a tag in the state in which it was read. Where tags have a history, the record stays, marked as
/// deleted. `false` if it has changed.
pub(super) fn take_tag(tag: u8, seen: Seen, found: Tag, event: u8, io: &mut Io<'_>) -> Result<bool, Stop> {
    if !io.keeps_history() || io.has(Fault::TagRecordRemoved) {
        return io.delete(seen);
    }
    let Next::Write(deleted, _) = delete_tag(found, event) else {
        return Ok(true);
    };
    archive(tag, Some(found), Fault::ArchivedAfterSwap, io)?;
    let taken = io.swap(seen, deleted)?.is_some();
    if taken && io.has(Fault::ArchivedAfterSwap) {
        io.create(Key::Past(tag, found.sequence), found)?;
    }
    Ok(taken)
}

/// Archives the tag's record before another record replaces it. An earlier attempt has written the same.
pub(super) fn archive(tag: u8, past: Option<Tag>, later: Fault, io: &mut Io<'_>) -> Result<(), Stop> {
    if let Some(past) = past
        && io.keeps_history()
        && !io.has(Fault::NotArchived)
        && !io.has(later)
    {
        io.create(Key::Past(tag, past.sequence), past)?;
    }
    Ok(())
}
