//! The removal of a manifest whose record is dying: hide it, delete its tags and back references in batches,
//! delete the entries of its children, the record, and the marker. Any actor may continue it at any point.

use super::super::faults::Fault;
use super::super::io::{Io, Stop};
use super::super::seen::Seen;
use super::super::values::{Key, Manifest, Mark, Tag};
use super::hints::{clear, mark};
use super::reading::{is, leads_to};
use super::tags::take_tag;
use super::{Phase, Why};

/// The first phase of the removal.
pub(super) fn begin(manifest: Seen, io: &Io<'_>) -> Phase {
    if io.has_tags() {
        Phase::Marker { manifest }
    } else {
        Phase::Parents {
            manifest,
            child: 0,
            why: Why::Deleted,
        }
    }
}

/// The first phase for a manifest whose push has failed.
pub(super) fn fail(manifest: Seen, io: &Io<'_>) -> Phase {
    let why = Why::Failed;
    if io.has_tags() {
        Phase::Tags {
            manifest,
            from: 0,
            why,
        }
    } else {
        Phase::Parents {
            manifest,
            child: 0,
            why,
        }
    }
}

/// Ends with [`Phase::Removed`], or with [`Phase::Helped`] for a push that finishes a deletion before it
/// starts again.
pub(super) fn remove_manifest(phase: Phase, io: &mut Io<'_>) -> Result<Phase, Stop> {
    match phase {
        Phase::Marker { manifest } => {
            let done = mark(io, Key::Marker(number(manifest)))?;
            Ok(if done {
                Phase::Tags {
                    manifest,
                    from: 0,
                    why: Why::Deleted,
                }
            } else {
                phase
            })
        }
        Phase::Tags { manifest, from, why } => tags(manifest, from, why, io),
        Phase::Backs {
            manifest,
            from,
            to,
            why,
        } => {
            let done = backs(number(manifest), from, to, io)?;
            Ok(if done {
                Phase::Tags {
                    manifest,
                    from: to,
                    why,
                }
            } else {
                phase
            })
        }
        Phase::Parents { manifest, child, why } => {
            match io.children(number(manifest)).get(usize::from(child)) {
                None => Ok(Phase::Remove { manifest, why }),
                Some(listed) => {
                    let entry = Key::Parent(*listed, number(manifest));
                    if io.has(Fault::BlindParentClearing) {
                        io.erase(entry)?;
                        return Ok(Phase::Parents {
                            manifest,
                            child: child + 1,
                            why,
                        });
                    }
                    let done = clear(io, entry, |io| {
                        is(io, number(manifest), Manifest::protects_references)
                    })?;
                    Ok(Phase::Parents {
                        manifest,
                        child: child + u8::from(done),
                        why,
                    })
                }
            }
        }
        Phase::Remove { manifest, why } => {
            // This fails if the manifest was pushed again meanwhile.
            if io.has(Fault::BlindRemoval) {
                io.erase(manifest.key)?;
            } else {
                io.delete(manifest)?;
            }
            let number = number(manifest);
            Ok(
                if io.has_tags() && !(why == Why::Failed && io.has(Fault::FailureLeavesMarker)) {
                    Phase::Unmark { manifest: number }
                } else {
                    Phase::Removed { manifest: number }
                },
            )
        }
        Phase::Unmark { manifest } => {
            if io.has(Fault::MarkerNotCleared) {
                return Ok(Phase::Removed { manifest });
            }
            if io.has(Fault::BlindMarkerClearing) {
                io.erase(Key::Marker(manifest))?;
                return Ok(Phase::Removed { manifest });
            }
            let done = clear(io, Key::Marker(manifest), |io| {
                is(io, manifest, |state| state == Manifest::Dying)
            })?;
            Ok(if done { Phase::Removed { manifest } } else { phase })
        }
        other => unreachable!("{other:?}"),
    }
}

/// Handles one batch of tags. The tags are read before the manifest, because a push commits the manifest
/// before it writes the tag.
fn tags(manifest: Seen, from: u8, why: Why, io: &mut Io<'_>) -> Result<Phase, Stop> {
    let number = number(manifest);
    let found = io.list(|key| match key {
        Key::Back(of, tag) if of == number && tag >= from => Some(tag),
        _ => None,
    })?;
    let batch: Vec<u8> = (0..16)
        .filter(|tag| found & 1 << tag != 0)
        .take(io.batch())
        .collect();
    let Some(last) = batch.last() else {
        return Ok(if why == Why::Pushed {
            Phase::Helped { manifest }
        } else {
            Phase::Parents {
                manifest,
                child: 0,
                why,
            }
        });
    };
    let early = io.has(Fault::ManifestReadBeforeTags);
    let counted = early && is(io, number, Manifest::protects_references)?;
    let mut read = Vec::new();
    for tag in &batch {
        read.push(io.get::<Tag>(Key::Tag(*tag))?);
    }
    let protects = if early {
        counted
    } else {
        is(io, number, Manifest::protects_references)?
    };
    if protects && !io.has(Fault::TagsBeforeHiding) {
        // It was pushed again meanwhile, and the tags that it has now are new.
        return Ok(if why == Why::Pushed {
            Phase::Commit
        } else {
            Phase::Parents {
                manifest,
                child: 0,
                why,
            }
        });
    }
    let mut lost = false;
    for (tag, (seen, found)) in batch.iter().zip(read) {
        let Some(found) = found.filter(|found| found.target() == Some(number)) else {
            continue;
        };
        lost |= !take_tag(*tag, seen, found, 100 + number, io)?;
    }
    // A tag that was written meanwhile is checked again.
    Ok(if lost {
        Phase::Tags { manifest, from, why }
    } else {
        Phase::Backs {
            manifest,
            from,
            to: last + 1,
            why,
        }
    })
}

/// Condemns the batch's back references, checks the tags and decides. `false` if another actor works on them
/// too; check again.
fn backs(manifest: u8, from: u8, to: u8, io: &mut Io<'_>) -> Result<bool, Stop> {
    let mut condemned = Vec::new();
    let mut done = true;
    for tag in from..to {
        let (seen, found) = io.get::<Mark>(Key::Back(manifest, tag))?;
        let Some(mark) = found else { continue };
        let seen = io.condemn(seen, mark)?;
        done &= seen.is_some();
        condemned.extend(seen.map(|seen| (tag, seen)));
    }
    let mut decided = Vec::new();
    for (tag, seen) in condemned {
        decided.push((seen, leads_to(io, tag, manifest)?));
    }
    for (seen, needed) in decided {
        if needed {
            io.swap(seen, Mark::Live)?;
        } else {
            done &= io.delete(seen)?;
        }
    }
    Ok(done)
}

pub(super) fn number(seen: Seen) -> u8 {
    match seen.key {
        Key::Manifest(number) => number,
        other => unreachable!("{other:?}"),
    }
}
