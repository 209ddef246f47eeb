//! Deleting a manifest by its digest, deleting a blob, and the work of a restart.

use super::super::faults::Fault;
use super::super::io::{Io, Stop};
use super::super::steps::Condemnable;
use super::super::values::{Key, Link, Manifest};
use super::super::world::World;
use super::reading::is;
use super::removal::{begin, fail, number, remove_manifest};
use super::{ACKNOWLEDGED, Actor, Effect, IDLE, Outcome, Phase, Why};

/// A client deletes a manifest by its digest.
#[derive(Debug)]
pub(in super::super) struct DeleteManifest(pub u8);

impl Actor for DeleteManifest {
    fn effect(&self) -> Option<Effect> {
        Some(Effect::DeleteManifest(self.0))
    }

    fn run(&self, phase: Phase, io: &mut Io<'_>) -> Result<Phase, Stop> {
        match phase {
            Phase::Start => {
                let (seen, found) = io.get::<Manifest>(Key::Manifest(self.0))?;
                match found {
                    Some(state) if state.is_readable() && io.has(Fault::TagsBeforeHiding) => {
                        Ok(Phase::Tags {
                            manifest: seen,
                            from: 0,
                            why: Why::Pushed,
                        })
                    }
                    Some(state) if state.is_readable() => Ok(io
                        .condemn(seen, state)?
                        .map_or(Phase::Start, |manifest| Phase::Decide { manifest })),
                    // Another deletion is under way or was interrupted. Continue it.
                    Some(Manifest::Dying) => Ok(begin(seen, io)),
                    Some(_) | None => IDLE,
                }
            }
            Phase::Decide { manifest } => {
                if is_listed(number(manifest), io)? {
                    let restored = io.swap(manifest, Manifest::Cond.rescued())?;
                    return Ok(restored.map_or(Phase::Start, |_| Phase::Done(Outcome::Referenced)));
                }
                if io.has(Fault::MarkerBeforeDying) && io.has_tags() {
                    return Ok(Phase::Helped { manifest });
                }
                Ok(io
                    .swap(manifest, Manifest::Cond.dying())?
                    .map_or(Phase::Start, |manifest| begin(manifest, io)))
            }
            // Only planted faults reach this.
            Phase::Helped { manifest } if io.has(Fault::MarkerBeforeDying) => {
                super::hints::mark(io, Key::Marker(self.0))?;
                let dying = io.swap(manifest, Manifest::Cond.dying())?;
                Ok(
                    dying.map_or(Phase::Unmark { manifest: self.0 }, |manifest| Phase::Tags {
                        manifest,
                        from: 0,
                        why: Why::Deleted,
                    }),
                )
            }
            Phase::Helped { manifest } => {
                Ok(io
                    .swap(manifest, Manifest::Cond.dying())?
                    .map_or(Phase::Start, |manifest| Phase::Remove {
                        manifest,
                        why: Why::Deleted,
                    }))
            }
            Phase::Removed { .. } => ACKNOWLEDGED,
            other => remove_manifest(other, io),
        }
    }
}

/// Whether an index lists the manifest, even one that is still being pushed.
pub(super) fn is_listed(manifest: u8, io: &mut Io<'_>) -> Result<bool, Stop> {
    let indexes = io.list(|key| match key {
        Key::Parent(child, index) if child == manifest => Some(index),
        _ => None,
    })?;
    for index in (0..16).filter(|index| indexes & 1 << index != 0) {
        let protects = if io.has(Fault::PendingIgnored) {
            Manifest::is_readable
        } else {
            Manifest::protects_references
        };
        if is(io, index, protects)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A restart. It finishes deletions, and removes pending manifests and markers that are not needed.
#[derive(Debug)]
pub(in super::super) struct Finish {
    pub manifests: u8,
}

impl Actor for Finish {
    fn is_a_restart(&self) -> bool {
        true
    }

    fn run(&self, phase: Phase, io: &mut Io<'_>) -> Result<Phase, Stop> {
        match phase {
            Phase::Start => Ok(Phase::Finish { manifest: 0 }),
            Phase::Finish { manifest } if manifest == self.manifests => ACKNOWLEDGED,
            Phase::Finish { manifest } => {
                let (seen, found) = io.get::<Manifest>(Key::Manifest(manifest))?;
                match found {
                    Some(Manifest::Dying) => Ok(begin(seen, io)),
                    Some(Manifest::Pend) => Ok(io
                        .swap(seen, Manifest::Pend.dying())?
                        .map_or(phase, |manifest| fail(manifest, io))),
                    _ if io.has_tags() => Ok(Phase::Unmark { manifest }),
                    _ => Ok(Phase::Removed { manifest }),
                }
            }
            Phase::Removed { manifest } => Ok(Phase::Finish {
                manifest: manifest + 1,
            }),
            other => remove_manifest(other, io),
        }
    }

    fn may_go(&self, _: Phase, world: &World) -> bool {
        world
            .locals
            .iter()
            .filter(|local| !local.phase.has_ended())
            .count()
            == 1
    }
}

/// A client deletes a blob from its repository.
#[derive(Debug)]
pub(in super::super) struct DeleteBlob(pub u8);

impl Actor for DeleteBlob {
    fn run(&self, phase: Phase, io: &mut Io<'_>) -> Result<Phase, Stop> {
        match phase {
            Phase::Start => {
                let (seen, link) = io.get::<Link>(Key::Link(self.0))?;
                let Some(link) = link.filter(|link| link.generation.is_some()) else {
                    return IDLE;
                };
                if io.has(Fault::BlindBlobDeletion) {
                    return if io.delete(seen)? { ACKNOWLEDGED } else { Ok(phase) };
                }
                let Some(condemned) = io.condemn(seen, link)? else {
                    return Ok(phase);
                };
                if is(io, self.0, Manifest::protects_references)? {
                    io.swap(condemned, link.rescued())?;
                    return Ok(Phase::Done(Outcome::Referenced));
                }
                if io.delete(condemned)? {
                    ACKNOWLEDGED
                } else {
                    Ok(phase)
                }
            }
            other => unreachable!("{other:?}"),
        }
    }
}
