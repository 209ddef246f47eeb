//! Keys from files and from text in the configuration. A file is read when it is opened and again when its content changes,
//! however it was replaced: written in place, renamed over, or by a symlink swap as Kubernetes does it, so content is compared
//! rather than dates. A missing or malformed file never replaces what a good one said.

use super::tasks::{Life, Task};
use super::{Source, SourceError};
use crate::clock::{Clock, Timestamp};
use crate::trust::bundle::{parse_pem, parse_spiffe};
use crate::trust::jwks::{self, KeySet, Skipped, UseRule};
use crate::trust::x509::X509Authorities;
use crate::trust::{Slot, SourceKind};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How a file's or a text's keys are written down, which its place in the configuration tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `file:` and `inline:` of a trust domain: a SPIFFE bundle in JSON, or PEM, which carries X.509 authorities only. Told apart by content.
    SpiffeBundleOrPem,
    /// `jwksFile:` and `jwks:` of a trust domain: a plain JWK set, its `use` ignored.
    Jwks,
    /// `jwksFile:` of an OIDC issuer.
    OidcJwks,
    /// PEM certificates.
    PemRoots,
}

/// Keys written into the configuration itself.
pub fn inline(name: &str, text: &[u8], format: Format, now: Timestamp) -> Result<Source, SourceError> {
    let name: Arc<str> = name.into();
    let content = Content::parse(&name, text, format)?;
    let (x509, jwt, skipped) = content.first(SourceKind::Inline, &name, now);
    Ok(Source { x509, jwt, refetch: None, skipped, life: Arc::new(Life::still()) })
}

/// Keys from a file, which is read at once, and again `every` so often.
pub fn file(path: impl Into<PathBuf>, format: Format, clock: Clock, every: Duration) -> Result<Source, SourceError> {
    let (watched, skipped) = Watched::open(path, format, clock.now())?;
    let (x509, jwt) = (watched.x509.clone(), watched.jwt.clone());
    let life = Life::new(move |reload| vec![Task::spawn(watched.watch(clock, every, reload))]);
    Ok(Source { x509, jwt, refetch: None, skipped, life: Arc::new(life) })
}

/// A file and the slots that it fills.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    name: Arc<str>,
    format: Format,
    x509: Option<Arc<Slot<X509Authorities>>>,
    jwt: Option<Arc<Slot<KeySet>>>,
    /// What the slots were filled from.
    good: Vec<u8>,
    /// Why the last attempt to read it failed, to warn of each cause once.
    failing: Option<SourceError>,
}

impl Watched {
    /// Reads the file at once.
    fn open(path: impl Into<PathBuf>, format: Format, now: Timestamp) -> Result<(Self, Vec<Skipped>), SourceError> {
        let path = path.into();
        let name: Arc<str> = format!("file {}", path.display()).into();
        let good = read(&path, &name)?;
        let (x509, jwt, skipped) = Content::parse(&name, &good, format)?.first(SourceKind::File, &name, now);
        Ok((Self { path, name, format, x509, jwt, good, failing: None }, skipped))
    }

    /// Reloads the file whenever its content differs, looking `every` so often and at each `reload`.
    async fn watch(mut self, clock: Clock, every: Duration, reload: Arc<Notify>) {
        let every = every.max(SHORTEST_PAUSE);
        loop {
            let _ = tokio::time::timeout(every, reload.notified()).await;
            let now = clock.now();
            // A file system may hang; it must not hang a worker thread with it.
            let pass = tokio::task::spawn_blocking(move || {
                let _already_told = self.reload(now);
                self
            });
            self = match pass.await {
                Ok(watched) => watched,
                Err(_) => return, // only a runtime that shuts down cancels it
            };
        }
    }

    /// Reads the file again. Says whether its keys were replaced; on an error they stay.
    fn reload(&mut self, now: Timestamp) -> Result<bool, SourceError> {
        match self.try_reload(now) {
            Ok(changed) => {
                if self.failing.take().is_some() && !changed {
                    self.confirm(now);
                }
                Ok(changed)
            }
            Err(why) => {
                if self.failing.as_ref() != Some(&why) {
                    tracing::warn!(source = &*self.name, "keys stay as they were, the file could not be reloaded: {why}");
                }
                self.fail(&why);
                self.failing = Some(why.clone());
                Err(why)
            }
        }
    }

    fn try_reload(&mut self, now: Timestamp) -> Result<bool, SourceError> {
        let bytes = read(&self.path, &self.name)?;
        if bytes == self.good {
            return Ok(false);
        }
        let content = Content::parse(&self.name, &bytes, self.format)?;
        content.warn(&self.name);
        if self.jwt.is_none() && content.jwt.as_ref().is_some_and(|keys| !keys.is_empty()) {
            tracing::warn!(
                source = &*self.name,
                "the file was PEM and has JWT keys now; they count from the next start or configuration reload on"
            );
        }
        // A file that went from JSON to PEM has no JWT keys any more: an empty answer, not an old one.
        if let Some(slot) = &self.x509 {
            slot.publish(content.x509.unwrap_or_default(), now, Timestamp::MAX);
            slot.annotate(None, content.skipped.clone());
        }
        if let Some(slot) = &self.jwt {
            slot.publish(content.jwt.unwrap_or_default(), now, Timestamp::MAX);
            slot.annotate(None, content.skipped);
        }
        self.good = bytes;
        tracing::info!(source = &*self.name, "keys reloaded");
        Ok(true)
    }

    fn confirm(&self, now: Timestamp) {
        if let Some(slot) = &self.x509 {
            slot.confirm(now, Timestamp::MAX);
        }
        if let Some(slot) = &self.jwt {
            slot.confirm(now, Timestamp::MAX);
        }
        tracing::info!(source = &*self.name, "the file is as it was before the failure");
    }

    fn fail(&self, why: &SourceError) {
        if let Some(slot) = &self.x509 {
            slot.fail(why.to_string());
        }
        if let Some(slot) = &self.jwt {
            slot.fail(why.to_string());
        }
    }
}

/// What a text says. `None` for a kind of key that its format cannot carry.
struct Content {
    x509: Option<X509Authorities>,
    jwt: Option<KeySet>,
    skipped: Vec<Skipped>,
}

impl Content {
    fn parse(name: &Arc<str>, text: &[u8], format: Format) -> Result<Self, SourceError> {
        let in_bundle = |why| SourceError::Bundle { name: name.clone(), why };
        let in_jwks = |why| SourceError::Jwks { name: name.clone(), why };
        Ok(match format {
            Format::SpiffeBundleOrPem if is_json(text) => {
                let parsed = parse_spiffe(text).map_err(in_bundle)?;
                Self { x509: Some(parsed.value.x509), jwt: Some(parsed.value.jwt), skipped: parsed.skipped }
            }
            Format::SpiffeBundleOrPem | Format::PemRoots => {
                let parsed = parse_pem(text).map_err(in_bundle)?;
                Self { x509: Some(parsed.value), jwt: None, skipped: parsed.skipped }
            }
            Format::Jwks => {
                let parsed = jwks::parse(text, UseRule::Ignored).map_err(in_jwks)?;
                Self { x509: None, jwt: Some(parsed.value), skipped: parsed.skipped }
            }
            Format::OidcJwks => {
                let parsed = jwks::parse(text, UseRule::Oidc).map_err(in_jwks)?;
                if parsed.value.is_empty() && !parsed.skipped.is_empty() {
                    return Err(SourceError::NoneUsable { name: name.clone(), skipped: parsed.skipped.len() });
                }
                Self { x509: None, jwt: Some(parsed.value), skipped: parsed.skipped }
            }
        })
    }

    /// Into new slots.
    fn first(self, kind: SourceKind, name: &Arc<str>, now: Timestamp) -> (X509Slot, JwtSlot, Vec<Skipped>) {
        self.warn(name);
        (
            self.x509.map(|keys| filled(kind, name, keys, now, &self.skipped)),
            self.jwt.map(|keys| filled(kind, name, keys, now, &self.skipped)),
            self.skipped,
        )
    }

    fn warn(&self, name: &str) {
        for skipped in &self.skipped {
            tracing::warn!(source = name, "skipped, the rest counts: {skipped}");
        }
    }
}

type X509Slot = Option<Arc<Slot<X509Authorities>>>;
type JwtSlot = Option<Arc<Slot<KeySet>>>;

fn filled<T>(kind: SourceKind, name: &Arc<str>, keys: T, now: Timestamp, skipped: &[Skipped]) -> Arc<Slot<T>> {
    let slot = Slot::of(kind, name.clone());
    slot.publish(keys, now, Timestamp::MAX);
    slot.annotate(None, skipped.to_vec());
    slot
}

/// PEM may open with comments, but not with what opens a JSON value.
fn is_json(text: &[u8]) -> bool {
    matches!(text.trim_ascii_start().first(), Some(b'{' | b'[' | b'"'))
}

fn read(path: &Path, name: &Arc<str>) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(|e| SourceError::Unreadable { name: name.clone(), kind: e.kind() })?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= LARGEST => Ok(bytes),
        _ => Err(SourceError::TooLarge { name: name.clone(), limit: LARGEST }),
    }
}

/// The largest file, in bytes. SPIRE's bundles have a few KiB.
const LARGEST: u64 = 4 * 1024 * 1024;
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests;
