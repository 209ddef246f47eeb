//! Publishing a blob for a repository: an upload with bytes of its own, or a mount without.

use super::super::faults::Fault;
use super::super::io::{Io, Stop};
use super::super::steps::{
    Announced, Condemnable, Next, announce_link, rely_on_link, settle_blob, suspect_blob,
};
use super::super::values::{Blob, Key, Link};
use super::super::world::Bytes;
use super::push::Push;
use super::{Actor, Outcome, Phase};

#[derive(Debug)]
pub(in super::super) struct Upload {
    pub repository: u8,
    /// The generation of its own bytes, which are already written. `None` for a mount.
    pub own: Option<u8>,
    /// The manifest that is pushed once the blob is there.
    pub then: Option<Push>,
}

impl Actor for Upload {
    fn relies_on(&self) -> Option<u8> {
        Some(self.repository)
    }

    fn brings_bytes(&self) -> bool {
        self.own.is_some()
    }

    fn run(&self, phase: Phase, io: &mut Io<'_>) -> Result<Phase, Stop> {
        match phase {
            Phase::Start => match self.own {
                Some(own) => {
                    io.write_bytes(own, Bytes::Good)?;
                    Ok(Phase::Announce { used: false })
                }
                None => self.announce(false, io),
            },
            Phase::Announce { used } => self.announce(used, io),
            Phase::Settle {
                link,
                announced,
                used,
            } => {
                let own = self.own.filter(|_| !used || io.has(Fault::GenerationReused));
                let no_rescue = io.has(Fault::NoRescue);
                let no_look = io.has(Fault::MountIgnoresSuspect) && own.is_none();
                let (seen, found) = io.get::<Blob>(Key::Blob)?;
                if self.finds_damage(found, io)? {
                    return Ok(phase);
                }
                let next = match found {
                    Some(blob) if (blob.is_condemned() && no_rescue) || (blob.suspect && no_look) => {
                        Next::Keep(Some((blob.generation, false)))
                    }
                    found => settle_blob(found, own),
                };
                let settled = match next {
                    Next::Keep(settled) => Some(settled),
                    Next::Write(blob, settled) => io.swap(seen, blob)?.map(|_| settled),
                    Next::Delete(_) | Next::Again(_) => unreachable!("a blob is settled, or there is none"),
                };
                Ok(match settled {
                    None => phase,
                    Some(Some((generation, published))) => {
                        if published {
                            io.note(|world| world.publish(generation));
                        }
                        Phase::Join {
                            link,
                            generation,
                            used: used || published,
                        }
                    }
                    Some(None) if announced => Phase::Withdraw { link },
                    Some(None) => self.failed(),
                })
            }
            Phase::Join {
                link,
                generation,
                used,
            } => match io.swap(link, Link::live(generation))? {
                None => Ok(Phase::Announce { used }),
                Some(_) if self.own.is_some_and(|own| own != generation && !used) => Ok(Phase::DropOwn),
                Some(_) => Ok(self.linked()),
            },
            // The record becomes new, so no collector considers it soon.
            Phase::Keep { used } => {
                let kept = io.change_with_age(Key::Link(self.repository), |found, age| {
                    rely_on_link(found, age > 0)
                })?;
                Ok(match kept {
                    None => phase,
                    Some((_, true)) => self.known(used),
                    Some((_, false)) => Phase::Announce { used },
                })
            }
            Phase::Withdraw { link } => {
                io.delete(link)?;
                Ok(self.failed())
            }
            Phase::DropOwn => {
                io.remove_bytes(self.own.expect("its own bytes"))?;
                Ok(self.linked())
            }
            // The push begins with its first phase.
            Phase::Linked => self
                .then
                .as_ref()
                .expect("a manifest follows")
                .run(Phase::Start, io),
            other => self.then.as_ref().expect("a manifest follows").run(other, io),
        }
    }
}

impl Upload {
    /// Announces the link first, so that a collector that checks the blob's links afterwards finds it.
    fn announce(&self, used: bool, io: &mut Io<'_>) -> Result<Phase, Stop> {
        let announced = io.change(Key::Link(self.repository), announce_link)?;
        let Some((link, announced)) = announced else {
            return Ok(Phase::Announce { used });
        };
        match announced {
            Announced::Pending { new } => Ok(Phase::Settle {
                link,
                announced: new,
                used,
            }),
            Announced::Live { .. } if io.has(Fault::PushIgnoresSuspect) => Ok(self.known(used)),
            Announced::Live { generation } => {
                let (_, blob) = io.get::<Blob>(Key::Blob)?;
                // A link to replaced or suspect bytes is written again.
                if self.finds_damage(blob, io)? {
                    return Ok(Phase::Announce { used });
                }
                let stands = blob.is_some_and(|blob| blob.is_usable() && blob.generation == generation);
                Ok(if stands {
                    Phase::Keep { used }
                } else {
                    Phase::Settle {
                        link,
                        announced: false,
                        used,
                    }
                })
            }
        }
    }

    /// Whether the blob's bytes differ from this upload's; then they are suspect. A mount has no bytes to
    /// compare, and in a scenario without damage all bytes are equal.
    fn finds_damage(&self, found: Option<Blob>, io: &mut Io<'_>) -> Result<bool, Stop> {
        let Some(own) = self
            .own
            .filter(|_| io.has_damages() && !io.has(Fault::PushDoesNotCompare))
        else {
            return Ok(false);
        };
        let Some(blob) = found.filter(|blob| blob.is_usable() && blob.generation != own) else {
            return Ok(false);
        };
        if io.open(blob.generation)? == Some([1, 0, 0, 0]) {
            return Ok(false);
        }
        if let Some((_, true)) = io.change(Key::Blob, |found| suspect_blob(found, blob.generation))? {
            io.note(|world| world.found = true);
        }
        Ok(true)
    }

    /// The repository already has the blob.
    fn known(&self, used: bool) -> Phase {
        if self.own.is_some() && !used {
            Phase::DropOwn
        } else {
            self.linked()
        }
    }

    const fn linked(&self) -> Phase {
        if self.then.is_some() {
            Phase::Linked
        } else {
            Phase::Done(Outcome::Acknowledged)
        }
    }

    const fn failed(&self) -> Phase {
        Phase::Done(if self.own.is_some() {
            Outcome::Failed
        } else {
            Outcome::Missing
        })
    }
}
