//! The collectors. Each condemns a record, checks whether it is needed, and decides. They have a grace period
//! only where a scenario has a clock.

use super::super::faults::Fault;
use super::super::io::{Io, Stop};
use super::super::steps::Condemnable;
use super::super::values::{Blob, BlobState, Key, Link, Manifest};
use super::super::world::World;
use super::delete::is_listed;
use super::hints::clear;
use super::reading::{is, leads_to};
use super::removal::{begin, fail, number, remove_manifest};
use super::{ACKNOWLEDGED, Actor, Effect, IDLE, Phase};

/// Deletes a repository's link that no manifest of the repository needs.
#[derive(Debug)]
pub(in super::super) struct CollectLink(pub u8);

impl Actor for CollectLink {
    fn run(&self, _: Phase, io: &mut Io<'_>) -> Result<Phase, Stop> {
        let (seen, link) = io.get::<Link>(Key::Link(self.0))?;
        let Some(link) = link else { return IDLE };
        let Some(condemned) = io.condemn(seen, link)? else {
            return IDLE;
        };
        if is(io, self.0, Manifest::protects_references)? {
            io.swap(condemned, link.rescued())?;
        } else {
            io.delete(condemned)?;
        }
        ACKNOWLEDGED
    }
}

/// Deletes the blob's bytes if no repository links them, and bytes that were replaced.
#[derive(Debug)]
pub(in super::super) struct CollectBlob;

impl Actor for CollectBlob {
    fn run(&self, phase: Phase, io: &mut Io<'_>) -> Result<Phase, Stop> {
        match phase {
            Phase::Start => {
                let (seen, blob) = io.get::<Blob>(Key::Blob)?;
                let Some(blob) = blob else { return IDLE };
                if blob.state == BlobState::Dying {
                    return Ok(Phase::Doomed {
                        record: seen,
                        names: blob.names(),
                    });
                }
                let Some(condemned) = io.condemn(seen, blob)? else {
                    return IDLE;
                };
                let linked = io.list(|key| matches!(key, Key::Link(_)).then_some(0))? != 0;
                if linked {
                    let suspect = blob.suspect && !io.has(Fault::SuspectForgotten);
                    io.swap(
                        condemned,
                        Blob {
                            suspect,
                            ..blob.rescued()
                        },
                    )?;
                    return IDLE;
                }
                let dying = io.swap(condemned, blob.dying())?;
                Ok(dying.map_or(Phase::Start, |record| Phase::Doomed {
                    record,
                    names: blob.names(),
                }))
            }
            Phase::Doomed { record, names } => {
                for name in (0..16).filter(|name| names & 1 << name != 0) {
                    io.remove_bytes(name)?;
                }
                io.delete(record)?;
                ACKNOWLEDGED
            }
            other => unreachable!("{other:?}"),
        }
    }
}

/// Removes bytes that were replaced, then removes their names from the record.
#[derive(Debug)]
pub(in super::super) struct EmptyTrash;

impl Actor for EmptyTrash {
    fn run(&self, _: Phase, io: &mut Io<'_>) -> Result<Phase, Stop> {
        let (seen, blob) = io.get::<Blob>(Key::Blob)?;
        let Some(blob) = blob.filter(|blob| blob.trash != 0) else {
            return IDLE;
        };
        for name in (0..16).filter(|name| blob.trash & 1 << name != 0) {
            io.remove_bytes(name)?;
        }
        io.swap(seen, Blob { trash: 0, ..blob })?;
        ACKNOWLEDGED
    }
}

/// Deletes an old manifest that no tag and no index needs.
#[derive(Debug)]
pub(in super::super) struct CollectManifest {
    pub manifest: u8,
    pub grace: u8,
}

impl Actor for CollectManifest {
    fn effect(&self) -> Option<Effect> {
        Some(Effect::CollectManifest(self.manifest))
    }

    fn run(&self, phase: Phase, io: &mut Io<'_>) -> Result<Phase, Stop> {
        match phase {
            Phase::Start => {
                let (seen, found, age) = io.get_with_age::<Manifest>(Key::Manifest(self.manifest))?;
                let Some(state) = found.filter(|state| state.is_readable() && age >= self.grace) else {
                    return IDLE;
                };
                Ok(io
                    .condemn(seen, state)?
                    .map_or(Phase::Start, |manifest| Phase::Decide { manifest }))
            }
            Phase::Decide { manifest } => {
                let me = number(manifest);
                if is_tagged(me, io)? || is_listed(me, io)? {
                    io.swap(manifest, Manifest::Cond.rescued())?;
                    return IDLE;
                }
                Ok(io
                    .swap(manifest, Manifest::Cond.dying())?
                    .map_or(Phase::Start, |manifest| begin(manifest, io)))
            }
            Phase::Removed { .. } => ACKNOWLEDGED,
            other => remove_manifest(other, io),
        }
    }
}

/// Removes what a push or a deletion of a manifest left, even while that push or deletion is still running.
#[derive(Debug)]
pub(in super::super) struct CollectRemains(pub u8);

impl Actor for CollectRemains {
    fn run(&self, phase: Phase, io: &mut Io<'_>) -> Result<Phase, Stop> {
        match phase {
            Phase::Start => {
                let (seen, found) = io.get::<Manifest>(Key::Manifest(self.0))?;
                match found {
                    Some(Manifest::Dying) => Ok(begin(seen, io)),
                    Some(Manifest::Pend) => match io.swap(seen, Manifest::Pend.dying())? {
                        Some(manifest) => Ok(fail(manifest, io)),
                        None => IDLE,
                    },
                    Some(_) | None => IDLE,
                }
            }
            Phase::Removed { .. } => ACKNOWLEDGED,
            other => remove_manifest(other, io),
        }
    }
}

/// Whether a back reference protects the manifest. One that leads nowhere is cleared, because a push may have
/// left it.
fn is_tagged(manifest: u8, io: &mut Io<'_>) -> Result<bool, Stop> {
    if !io.has_tags() {
        return Ok(false);
    }
    let backs = |io: &mut Io<'_>| {
        io.list(|key| match key {
            Key::Back(of, tag) if of == manifest => Some(tag),
            _ => None,
        })
    };
    let found = backs(io)?;
    for tag in (0..16).filter(|tag| found & 1 << tag != 0) {
        clear(io, Key::Back(manifest, tag), |io| leads_to(io, tag, manifest))?;
    }
    // An entry in either state protects the manifest, because the actor that condemned it has not checked the
    // tag yet.
    Ok(found != 0 && backs(io)? != 0)
}

/// A late copy of an uploader's own publication, which was delayed in the network while a retry succeeded.
#[derive(Debug)]
pub(in super::super) struct LateDuplicate(pub u8);

impl Actor for LateDuplicate {
    fn run(&self, phase: Phase, io: &mut Io<'_>) -> Result<Phase, Stop> {
        match phase {
            Phase::Start => {
                // The condition is the version that the uploader read.
                let (record, blob) = io.get::<Blob>(Key::Blob)?;
                if blob.is_some() || io.world().was_published(self.0) {
                    IDLE
                } else {
                    Ok(Phase::Doomed { record, names: 0 })
                }
            }
            Phase::Doomed { record, .. } => {
                io.swap(record, Blob::live(self.0))?;
                ACKNOWLEDGED
            }
            other => unreachable!("{other:?}"),
        }
    }

    fn may_go(&self, phase: Phase, world: &World) -> bool {
        phase == Phase::Start || world.was_published(self.0)
    }
}
