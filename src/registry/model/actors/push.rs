//! Pushing a manifest: announce it, write the entries of its children, check, commit, and then write its tag.

use super::super::faults::Fault;
use super::super::io::{Io, Stop};
use super::super::seen::Seen;
use super::super::steps::{Found, Next, announce_manifest, hold_link, hold_manifest, put_tag};
use super::super::values::{Key, Link, LinkState, Manifest, Tag};
use super::hints::{clear, mark};
use super::reading::{is, leads_to};
use super::removal::{fail, remove_manifest};
use super::tags::archive;
use super::{ACKNOWLEDGED, Actor, Effect, Outcome, Phase, Why};

#[derive(Clone, Debug)]
pub(in super::super) struct Push {
    pub manifest: u8,
    /// The repository whose link to the blob it needs.
    pub link: Option<u8>,
    pub tag: Option<u8>,
    /// Identifies the records that it writes.
    pub event: u8,
}

impl Push {
    pub(in super::super) const fn of(manifest: u8) -> Self {
        Self {
            manifest,
            link: None,
            tag: None,
            event: manifest,
        }
    }

    pub(in super::super) const fn with_blob(self, repository: u8) -> Self {
        Self {
            link: Some(repository),
            ..self
        }
    }

    pub(in super::super) const fn tagged(self, tag: u8, event: u8) -> Self {
        Self {
            tag: Some(tag),
            event,
            ..self
        }
    }
}

impl Actor for Push {
    fn effect(&self) -> Option<Effect> {
        Some(Effect::Push {
            manifest: self.manifest,
            tag: self.tag,
        })
    }

    fn run(&self, phase: Phase, io: &mut Io<'_>) -> Result<Phase, Stop> {
        let key = Key::Manifest(self.manifest);
        let children = io.children(self.manifest);
        match phase {
            Phase::Start if io.has(Fault::CheckThenWrite) => {
                match io.get::<Link>(Key::Link(self.link.expect("a blob")))? {
                    (_, Some(link)) if link.state == LinkState::Live => {
                        io.put(key, Manifest::Com)?;
                        ACKNOWLEDGED
                    }
                    _ => Ok(Phase::Done(Outcome::Missing)),
                }
            }
            Phase::Start if io.has(Fault::MarkBeforePend) && !children.is_empty() => {
                Ok(Phase::EarlyMark { child: 0 })
            }
            Phase::EarlyMark { child } => {
                let done = mark(io, Key::Parent(children[usize::from(child)], self.manifest))?;
                let child = child + u8::from(done);
                Ok(if usize::from(child) < children.len() {
                    Phase::EarlyMark { child }
                } else {
                    Phase::Commit
                })
            }
            Phase::Start | Phase::Commit => self.announce(io),
            Phase::Mark {
                manifest,
                child,
                stands,
            } => match children.get(usize::from(child)) {
                Some(listed) if !io.has(Fault::MarkBeforePend) && !io.has(Fault::MarkAfterCheck) => {
                    let done = mark(io, Key::Parent(*listed, self.manifest))?;
                    Ok(Phase::Mark {
                        manifest,
                        child: child + u8::from(done),
                        stands,
                    })
                }
                _ => Ok(Phase::Check {
                    manifest,
                    needed: 0,
                    stands,
                }),
            },
            Phase::Check {
                manifest,
                needed,
                stands,
            } => self.check(manifest, needed, stands, io),
            Phase::Seal { manifest } => match io.swap(manifest, Manifest::Pend.committed())? {
                None => Ok(Phase::Commit),
                Some(_) if io.has(Fault::MarkAfterCheck) && !children.is_empty() => {
                    Ok(Phase::LateMark { child: 0 })
                }
                Some(_) => Ok(self.committed()),
            },
            Phase::LateMark { child } => {
                let done = mark(io, Key::Parent(children[usize::from(child)], self.manifest))?;
                let child = child + u8::from(done);
                Ok(if usize::from(child) < children.len() {
                    Phase::LateMark { child }
                } else {
                    self.committed()
                })
            }
            Phase::Abort { manifest } => Ok(match io.swap(manifest, Manifest::Pend.dying())? {
                Some(manifest) => fail(manifest, io),
                None => Phase::Commit,
            }),
            Phase::Removed { .. } => Ok(Phase::Done(Outcome::Missing)),
            // The deletion has removed its tags; the tags that exist now are new.
            Phase::Helped { manifest } => self.take(manifest, io),
            // It may have been deleted during the check, so its entries may be missing.
            Phase::Confirm => Ok(match stays(io, self.manifest)? {
                Some(true) => self.committed(),
                Some(false) => Phase::Commit,
                None => phase,
            }),
            // The manifest was already committed, but something that it needs is missing. If it is being
            // deleted, the deletion may have cleared entries before these were written.
            Phase::Refuse => {
                let stands = is(io, self.manifest, Manifest::protects_references)?
                    || io.has(Fault::RefusalLeavesMarks);
                Ok(if stands {
                    Phase::Done(Outcome::Missing)
                } else {
                    Phase::Unmarked { child: 0 }
                })
            }
            Phase::Unmarked { child } => match children.get(usize::from(child)) {
                Some(listed) => {
                    let entry = Key::Parent(*listed, self.manifest);
                    let done = clear(io, entry, |io| {
                        is(io, self.manifest, Manifest::protects_references)
                    })?;
                    Ok(Phase::Unmarked {
                        child: child + u8::from(done),
                    })
                }
                None => Ok(Phase::Done(Outcome::Missing)),
            },
            Phase::MarkBack => Ok(if mark(io, self.back())? {
                Phase::SwapTag
            } else {
                phase
            }),
            Phase::SwapTag => self.swap_tag(io),
            // A clearing that began before the tag was written may have condemned the entry since.
            Phase::MarkBackAgain { previous } => {
                let done = io.has(Fault::BackNotMarkedAgain) || mark(io, self.back())?;
                Ok(if done {
                    Phase::ClearOldBack { previous }
                } else {
                    phase
                })
            }
            Phase::ClearOldBack { previous: None } => Ok(Phase::Stays),
            Phase::ClearOldBack { previous: Some(old) } => {
                let tag = self.tag.expect("a tag");
                if io.has(Fault::BlindBackClearing) {
                    io.erase(Key::Back(old, tag))?;
                    return Ok(Phase::Stays);
                }
                let done = clear(io, Key::Back(old, tag), |io| leads_to(io, tag, old))?;
                Ok(if done { Phase::Stays } else { phase })
            }
            Phase::Stays => Ok(match stays(io, self.manifest)? {
                Some(true) => Phase::Done(Outcome::Acknowledged),
                Some(false) => Phase::Commit,
                None => Phase::Stays,
            }),
            other => remove_manifest(other, io),
        }
    }
}

impl Push {
    fn announce(&self, io: &mut Io<'_>) -> Result<Phase, Stop> {
        let (seen, found, age) = io.get_with_age::<Manifest>(Key::Manifest(self.manifest))?;
        if found == Some(Manifest::Dying) && io.has_tags() && !io.has(Fault::NoHelp) {
            // Tags that the deletion has not deleted yet would become valid again.
            return Ok(Phase::Tags {
                manifest: seen,
                from: 0,
                why: Why::Pushed,
            });
        }
        if found == Some(Manifest::Com) && age > 0 && io.has(Fault::BlindRefresh) {
            io.put(seen.key, Manifest::Com)?;
            return Ok(Phase::Mark {
                manifest: seen,
                child: 0,
                stands: true,
            });
        }
        let old = age > 0 && !io.has(Fault::NoRefresh);
        let (seen, result) = match announce_manifest(found, old) {
            Next::Keep(result) => (Some(seen), result),
            Next::Write(record, result) => (io.swap(seen, record)?, result),
            Next::Delete(_) | Next::Again(_) => unreachable!("a push announces itself, or finds it done"),
        };
        Ok(match (seen, result) {
            (None, _) => Phase::Commit,
            (Some(manifest), Found::Pending) => Phase::Mark {
                manifest,
                child: 0,
                stands: false,
            },
            (Some(manifest), Found::Committed) => Phase::Mark {
                manifest,
                child: 0,
                stands: true,
            },
        })
    }

    fn take(&self, seen: Seen, io: &mut Io<'_>) -> Result<Phase, Stop> {
        Ok(io
            .swap(seen, Manifest::Pend)?
            .map_or(Phase::Commit, |manifest| Phase::Mark {
                manifest,
                child: 0,
                stands: false,
            }))
    }

    /// Checks the blob, then the children. Condemned records are rescued.
    fn check(&self, manifest: Seen, needed: u8, stands: bool, io: &mut Io<'_>) -> Result<Phase, Stop> {
        let again = Phase::Check {
            manifest,
            needed,
            stands,
        };
        let next = Phase::Check {
            manifest,
            needed: needed + 1,
            stands,
        };
        let missing = if stands {
            Phase::Refuse
        } else {
            Phase::Abort { manifest }
        };
        if needed == 0 {
            let Some(repository) = self.link else {
                return Ok(next);
            };
            let no_rescue = io.has(Fault::LinkNotRescued);
            let held = io.change(Key::Link(repository), |found| match found {
                Some(Link {
                    generation: Some(_), ..
                }) if no_rescue => Next::Keep(true),
                found => hold_link(found),
            })?;
            return Ok(match held {
                Some((_, true)) => next,
                Some((_, false)) => missing,
                None => again,
            });
        }
        match io.children(self.manifest).get(usize::from(needed - 1)) {
            None if stands => Ok(Phase::Confirm),
            None => Ok(Phase::Seal { manifest }),
            Some(child) => Ok(match stays(io, *child)? {
                Some(true) => next,
                Some(false) => missing,
                None => again,
            }),
        }
    }

    fn swap_tag(&self, io: &mut Io<'_>) -> Result<Phase, Stop> {
        let tag = self.tag.expect("a tag");
        let (seen, found, age) = io.get_with_age::<Tag>(Key::Tag(tag))?;
        let stands = found.is_some_and(|found| found.target() == Some(self.manifest));
        if stands && (io.has(Fault::TagNotRewritten) && age == 0 || io.has(Fault::NoRefresh)) {
            return Ok(Phase::MarkBackAgain { previous: None });
        }
        let Next::Write(mut record, previous) = put_tag(found, self.manifest, self.event) else {
            unreachable!("a push writes its tag")
        };
        if stands && io.has(Fault::RefreshChangesEvent) {
            record.event = self.event;
        }
        let past = found.filter(|found| found.sequence != record.sequence);
        archive(tag, past, Fault::ArchivedAfterSwap, io)?;
        if io.swap(seen, record)?.is_none() {
            return Ok(Phase::SwapTag);
        }
        if io.has(Fault::ArchivedAfterSwap)
            && let Some(past) = past
        {
            io.create(Key::Past(tag, past.sequence), past)?;
        }
        Ok(Phase::MarkBackAgain { previous })
    }

    const fn back(&self) -> Key {
        match self.tag {
            Some(tag) => Key::Back(self.manifest, tag),
            None => unreachable!(),
        }
    }

    const fn committed(&self) -> Phase {
        if self.tag.is_some() {
            Phase::MarkBack
        } else {
            Phase::Done(Outcome::Acknowledged)
        }
    }
}

/// Protects the manifest and returns whether it exists. A condemned manifest is rescued. `None` if another
/// actor changed it first; check again.
pub(super) fn stays(io: &mut Io<'_>, manifest: u8) -> Result<Option<bool>, Stop> {
    let no_rescue = io.has(Fault::ChildNotRescued);
    let held = io.change(Key::Manifest(manifest), |found| match found {
        Some(Manifest::Cond) if no_rescue => Next::Keep(true),
        found => hold_manifest(found),
    })?;
    Ok(held.map(|(_, stays)| stays))
}
