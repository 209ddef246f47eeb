//! Reads on which an actor decides.

use super::super::io::{Io, Stop};
use super::super::values::{Key, Manifest, Tag};

pub(super) fn is(io: &mut Io<'_>, manifest: u8, what: impl Fn(Manifest) -> bool) -> Result<bool, Stop> {
    let (_, found) = io.get::<Manifest>(Key::Manifest(manifest))?;
    Ok(found.is_some_and(what))
}

pub(super) fn leads_to(io: &mut Io<'_>, tag: u8, manifest: u8) -> Result<bool, Stop> {
    let (_, found) = io.get::<Tag>(Key::Tag(tag))?;
    Ok(found.is_some_and(|tag| tag.target() == Some(manifest)))
}
