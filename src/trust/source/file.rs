//! Keys from files and from text in the configuration. A file is read when it is opened and again when its
//! content changes. Content is compared instead of dates, so any way to replace a file works: writing in
//! place, renaming, or a symlink swap as in Kubernetes. Changed content is used when two reads in a row find
//! it, because a half-written PEM file is well-formed but lacks authorities. A missing or malformed file
//! never replaces the keys of a valid one.

use super::{Format, Source, SourceError};
use crate::clock::{Clock, Timestamp};
use crate::file_error::FileError;
use crate::trust::SourceKind;
use crate::trust::content::{Content, Slots};
use crate::trust::fingerprint;
use crate::trust::skipped::Skipped;
use crate::trust::tasks::{Life, Task};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Returns a source for keys in the configuration itself.
pub fn inline(name: &str, text: &[u8], format: &Format, now: Timestamp) -> Result<Source, SourceError> {
    let name: Arc<str> = name.into();
    let content = format.parse(&name, text)?;
    warn(&content, &name);
    let skipped = content.skipped.clone();
    Ok(Source::new(
        Slots::of(SourceKind::Inline, &name, content, now),
        None,
        skipped,
        Arc::new(Life::still()),
    ))
}

/// Returns a source for keys in a file, which is read at once and then at the interval `every`. A missing
/// file is not an error: there are no keys until it appears.
pub fn file(
    path: impl Into<PathBuf>,
    format: Format,
    clock: Clock,
    every: Duration,
) -> Result<Source, SourceError> {
    let (watched, skipped) = Watched::open(path.into(), format, clock.now())?;
    let slots = watched.slots.clone();
    let life = Life::new(move |reload| vec![Task::spawn(watched.watch(clock, every, reload))]);
    Ok(Source::new(slots, None, skipped, Arc::new(life)))
}

/// A file and the slots that it fills.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    name: Arc<str>,
    format: Format,
    slots: Slots,
    /// The content that the slots were filled from.
    good: Option<Vec<u8>>,
    /// The fingerprint of changed content that the last read found.
    unrest: Option<String>,
    /// Why the last read failed, so that each cause is logged once.
    failing: Option<SourceError>,
}

impl Watched {
    fn open(path: PathBuf, format: Format, now: Timestamp) -> Result<(Self, Vec<Skipped>), SourceError> {
        let name: Arc<str> = format!("file {}", path.display()).into();
        match read(&path, &name) {
            Ok(good) => {
                let content = format.parse(&name, &good)?;
                warn(&content, &name);
                let skipped = content.skipped.clone();
                let slots = Slots::of(SourceKind::File, &name, content, now);
                Ok((
                    Self {
                        path,
                        name,
                        format,
                        slots,
                        good: Some(good),
                        unrest: None,
                        failing: None,
                    },
                    skipped,
                ))
            }
            Err(why) if matches!(&why, SourceError::Unreadable { why, .. } if why.is_missing()) => {
                let slots = Slots::empty(SourceKind::File, &name, &format.nothing());
                slots.fail(&why.to_string());
                let skipped = Skipped::new(
                    &*name,
                    "the file does not exist; its keys are used once it appears",
                );
                Ok((
                    Self {
                        path,
                        name,
                        format,
                        slots,
                        good: None,
                        unrest: None,
                        failing: Some(why),
                    },
                    vec![skipped],
                ))
            }
            Err(why) => Err(why),
        }
    }

    /// Reads the file at the interval `every` and takes changed content when it is stable. A `reload` takes
    /// it at once.
    async fn watch(mut self, clock: Clock, every: Duration, reload: Arc<Notify>) {
        let every = every.max(SHORTEST_PAUSE);
        loop {
            let pause = if self.unrest.is_some() {
                every.min(REST)
            } else {
                every
            };
            let asked = tokio::time::timeout(pause, reload.notified()).await.is_ok();
            let now = clock.now();
            // A file system may hang, and must not block a worker thread.
            let pass = tokio::task::spawn_blocking(move || {
                let _already_logged = if asked { self.reload(now) } else { self.look(now) };
                self
            });
            self = match pass.await {
                Ok(watched) => watched,
                Err(_) => return, // only a runtime that shuts down cancels it
            };
        }
    }

    /// Reads the file again and takes its content, even if it may still be changing. Returns whether the keys
    /// were replaced. On an error the keys stay.
    fn reload(&mut self, now: Timestamp) -> Result<bool, SourceError> {
        self.read_again(now, false)
    }

    /// As [`Self::reload`], but takes the content only when it is stable.
    fn look(&mut self, now: Timestamp) -> Result<bool, SourceError> {
        self.read_again(now, true)
    }

    fn read_again(&mut self, now: Timestamp, at_rest: bool) -> Result<bool, SourceError> {
        match self.try_reload(now, at_rest) {
            Ok(Found::Unrest) => Ok(false),
            Ok(found) => {
                if self.failing.take().is_some() && found == Found::Same {
                    self.slots.confirm(now, Timestamp::MAX);
                    tracing::info!(
                        source = &*self.name,
                        "the file can be read again, and its keys are unchanged"
                    );
                }
                Ok(found == Found::Changed)
            }
            Err(why) => {
                if self.failing.as_ref() != Some(&why) {
                    tracing::warn!(
                        source = &*self.name,
                        "the file could not be reloaded, so its old keys stay in use: {why}"
                    );
                }
                self.slots.fail(&why.to_string());
                self.failing = Some(why.clone());
                Err(why)
            }
        }
    }

    fn try_reload(&mut self, now: Timestamp, at_rest: bool) -> Result<Found, SourceError> {
        let before = self.unrest.take();
        let bytes = read(&self.path, &self.name)?;
        if self.good.as_ref() == Some(&bytes) {
            return Ok(Found::Same);
        }
        let print = fingerprint(&bytes);
        if at_rest && before.as_ref() != Some(&print) {
            self.unrest = Some(print);
            return Ok(Found::Unrest);
        }
        // Until the file is fixed, further reads report the same error.
        self.unrest = Some(print);
        let content = self.format.parse(&self.name, &bytes)?;
        warn(&content, &self.name);
        if self.slots.jwt.is_none() && content.jwt.as_ref().is_some_and(|keys| !keys.is_empty()) {
            tracing::warn!(
                source = &*self.name,
                "the file was PEM and has JWT keys now; they are used after the next start or configuration reload"
            );
        }
        match self.good {
            // A file that changed from JSON to PEM no longer has JWT keys, so the old ones are withdrawn.
            Some(_) => self.slots.publish(content, now, Timestamp::MAX),
            None => self.slots.publish_spoken(content, now, Timestamp::MAX),
        }
        (self.good, self.unrest) = (Some(bytes), None);
        tracing::info!(source = &*self.name, "keys reloaded");
        Ok(Found::Changed)
    }
}

/// The result of reading a file again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Same,
    Changed,
    /// The content changed, and the next read must find it again.
    Unrest,
}

fn warn(content: &Content, name: &str) {
    content.skipped.iter().for_each(|skipped| skipped.log(name));
}

pub(super) fn read(path: &Path, name: &Arc<str>) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(|why| SourceError::Unreadable {
            name: name.clone(),
            why: FileError::new(path, &why),
        })?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= LARGEST => Ok(bytes),
        _ => Err(SourceError::TooLarge {
            name: name.clone(),
            limit: LARGEST,
        }),
    }
}

/// The largest file, in bytes. SPIRE's bundles have a few KiB.
const LARGEST: u64 = 4 * 1024 * 1024;
/// How soon changed content is read again, at the latest.
const REST: Duration = Duration::from_secs(1);
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests;
