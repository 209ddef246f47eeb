//! A scrubber that finds damaged bytes, and clients that rely on a HEAD.

use super::super::faults::Fault;
use super::super::io::{Io, Stop};
use super::super::steps::{Next, clear_blob, rely_on_link, rely_on_manifest, suspect_blob};
use super::super::values::{Blob, Key, Link, Manifest};
use super::{ACKNOWLEDGED, Actor, Effect, IDLE, Outcome, Phase};

/// Hashes the bytes of the blob, and marks them suspect if they are wrong.
#[derive(Debug)]
pub(in super::super) struct Scrub;

impl Actor for Scrub {
    fn run(&self, _: Phase, io: &mut Io<'_>) -> Result<Phase, Stop> {
        let (_, blob) = io.get::<Blob>(Key::Blob)?;
        let Some(hashed) = blob.filter(|blob| blob.is_usable()) else {
            return IDLE;
        };
        if io.open(hashed.generation)? == Some([1, 0, 0, 0]) {
            return IDLE;
        }
        // The digest may have other bytes by now.
        let whatever = io.has(Fault::ScrubberTrustsTheDigest);
        let written = io.change(Key::Blob, |found: Option<Blob>| {
            let name = found
                .filter(|_| whatever)
                .map_or(hashed.generation, |found| found.generation);
            suspect_blob(found, name)
        })?;
        if let Some((_, true)) = written {
            io.note(|world| world.found = true);
        }
        Ok(written.map_or(Phase::Start, |_| Phase::Done(Outcome::Acknowledged)))
    }
}

/// Hashes bytes that are marked, and clears the mark if they are good.
#[derive(Debug)]
pub(in super::super) struct Recheck;

impl Actor for Recheck {
    fn run(&self, _: Phase, io: &mut Io<'_>) -> Result<Phase, Stop> {
        let (_, blob) = io.get::<Blob>(Key::Blob)?;
        let Some(hashed) = blob.filter(|blob| blob.suspect) else {
            return IDLE;
        };
        if !io.has(Fault::MarkClearedUnchecked) && io.open(hashed.generation)? != Some([1, 0, 0, 0]) {
            return IDLE;
        }
        let written = io.change(Key::Blob, |found: Option<Blob>| {
            clear_blob(found, hashed.generation)
        })?;
        Ok(written.map_or(Phase::Start, |_| Phase::Done(Outcome::Acknowledged)))
    }
}

/// A client checks whether the blob exists, in order not to push it.
#[derive(Debug)]
pub(in super::super) struct Head(pub u8);

impl Actor for Head {
    fn relies_on(&self) -> Option<u8> {
        Some(self.0)
    }

    fn run(&self, _: Phase, io: &mut Io<'_>) -> Result<Phase, Stop> {
        let held = io.change_with_age(Key::Link(self.0), |found: Option<Link>, age| {
            match rely_on_link(found, age > 0) {
                Next::Keep(held) => Next::Keep(found.filter(|_| held)),
                Next::Write(link, _) => Next::Write(link, Some(link)),
                Next::Delete(_) | Next::Again(_) => unreachable!("a link is held, or not"),
            }
        })?;
        let Some((_, link)) = held else {
            return Ok(Phase::Start);
        };
        let Some(Link {
            generation: Some(generation),
            ..
        }) = link
        else {
            return Ok(Phase::Done(Outcome::Missing));
        };
        if io.has(Fault::HeadIgnoresSuspect) {
            return ACKNOWLEDGED;
        }
        let (_, blob) = io.get::<Blob>(Key::Blob)?;
        let stands = blob.is_some_and(|blob| blob.is_usable() && blob.generation == generation);
        Ok(Phase::Done(if stands {
            Outcome::Acknowledged
        } else {
            Outcome::Missing
        }))
    }
}

/// A client checks whether the manifest exists, in order not to push it.
#[derive(Debug)]
pub(in super::super) struct HeadManifest(pub u8);

impl Actor for HeadManifest {
    fn effect(&self) -> Option<Effect> {
        Some(Effect::HeadManifest(self.0))
    }

    fn run(&self, _: Phase, io: &mut Io<'_>) -> Result<Phase, Stop> {
        let no_refresh = io.has(Fault::NoRefresh);
        let kept = io.change_with_age(Key::Manifest(self.0), |found: Option<Manifest>, age| {
            rely_on_manifest(found, age > 0 && !no_refresh)
        })?;
        Ok(match kept {
            None => Phase::Start,
            Some((_, true)) => Phase::Done(Outcome::Acknowledged),
            Some((_, false)) => Phase::Done(Outcome::Missing),
        })
    }
}
