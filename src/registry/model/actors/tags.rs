//! Tags: deleting one, listing them, and keeping what a tag was.

use super::super::faults::Fault;
use super::super::io::{Io, Stop};
use super::super::seen::Seen;
use super::super::steps::{Next, delete_tag};
use super::super::values::{Key, Manifest, Tag};
use super::hints::clear;
use super::reading::{is, leads_to};
use super::{ACKNOWLEDGED, Actor, Effect, IDLE, Outcome, Phase};

/// A client deletes a tag; or retention does once the tag is old.
#[derive(Debug)]
pub(in super::super) struct DeleteTag {
    pub tag: u8,
    pub event: u8,
    /// Leaves a tag alone that was written this little while ago.
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

/// Lists the tags. Where a marker stands, it leaves out those that lead to the dying manifest.
#[derive(Debug)]
pub(in super::super) struct ListTags {
    pub manifests: u8,
}

impl Actor for ListTags {
    fn effect(&self) -> Option<Effect> {
        Some(Effect::ListTags)
    }

    fn run(&self, _: Phase, io: &mut Io<'_>) -> Result<Phase, Stop> {
        // Before the tags: a deletion that ends meanwhile takes its marker along.
        let markers = io.list(|key| match key {
            Key::Marker(manifest) => Some(manifest),
            _ => None,
        })?;
        // Tags in their deleted form are hidden: the listing does not show them.
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
            // What a deletion took meanwhile leads to its manifest no more.
            shown &= io.list_tags()?;
        }
        Ok(Phase::Done(Outcome::Listed(shown.to_le_bytes()[0])))
    }
}

/// Takes a tag that was seen. Where there is a history its record stays, in the deleted form. `false`: it has
/// changed.
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

/// Keeps what the tag's record was, before another takes its place. Whoever was here before has written the
/// same.
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
