//! Names and passwords of a file, as `htpasswd -B` writes it. bcrypt is slow on purpose, so only a few
//! passwords are checked at a time ([`turns`]). A name that is not in the file takes as long as one that is.
//! A correct password is cached by a keyed digest and is then accepted without waiting.
//!
//! A wrong password is answered late (zot's `failDelay`). The attempt keeps its place until then, even if the
//! client disconnects. Otherwise a client could guess faster by disconnecting early.

mod check;
mod file;
mod turns;

pub use file::InvalidHtpasswd;
#[doc(hidden)]
pub use file::passwords_read;

use super::grounds::Vouching;
use super::identity::Proof;
use super::{CredentialType, Identity, Principal, SourceAddress};
use crate::clock::Timestamp;
use crate::limits::PASSWORD_BYTES;
use crate::recent::Recent;
use crate::secret::Secret;
use crate::trust::{Generation, fingerprint};
use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use check::Check;
use file::{Users, read, text};
use futures_util::future::{BoxFuture, WeakShared};
use serde_json::Map;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use turns::{Name, Turns};

/// A password file, with the content of the last successful read.
pub struct Htpasswd {
    path: PathBuf,
    users: ArcSwap<Users>,
    /// Changed content that the last look found and that is not used yet.
    coming: Mutex<Option<String>>,
    turns: Arc<Turns>,
    /// Passwords that are being checked. If several requests present the same one at the same time, such as
    /// the jobs of a pipeline, it is checked once.
    running: Mutex<HashMap<(SourceAddress, Digest), WeakShared<Checking>>>,
    /// Keyed digests of name, password and hash that matched. If an entry's hash changes, its digests no
    /// longer match.
    good: Mutex<Recent<Digest, ()>>,
    key: hmac::Key,
}

/// A name and a password of a request.
pub(super) struct Attempt<'a> {
    pub(super) user: &'a str,
    pub(super) password: Secret,
    pub(super) source: SourceAddress,
    /// How long to wait before a wrong password is answered.
    pub(super) fail_delay: Duration,
}

/// Why a name and a password were not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoMatch {
    Wrong,
    /// bcrypt would compare only a part of the password.
    NotComparable,
    /// It was not checked: its address has too many attempts.
    SourceBusy,
    /// It was not checked: the queue is full.
    Busy,
}

type Digest = [u8; 32];
type Checking = BoxFuture<'static, Result<(), NoMatch>>;

impl Htpasswd {
    /// Reads the file.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Vec<InvalidHtpasswd>> {
        let path = path.into();
        let users = read(text(&path)?)?;
        let at_a_time = std::thread::available_parallelism()
            .map_or(1, std::num::NonZero::get)
            .div_ceil(2);
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Ok(Self {
            path,
            users: ArcSwap::from_pointee(users),
            coming: Mutex::default(),
            turns: Turns::new(at_a_time),
            running: Mutex::default(),
            good: Mutex::new(Recent::new(REMEMBERED)),
            key: key.map_err(|_| vec![InvalidHtpasswd::Random])?,
        })
    }

    /// Reads the file again and returns whether its content was replaced. An invalid file changes nothing.
    /// Changed content is used when two reads in a row find it, because the file may be read while it is
    /// being written.
    pub fn reload(&self) -> Result<bool, Vec<InvalidHtpasswd>> {
        let text = text(&self.path)?;
        let known = self.users.load().text == text;
        let mut coming = self.coming.lock().unwrap_or_else(PoisonError::into_inner);
        if known || coming.as_ref() != Some(&text) {
            *coming = Some(text).filter(|_| !known);
            return Ok(false);
        }
        drop(coming);
        let users = read(text)?;
        self.users.store(Arc::new(users));
        Ok(true)
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a name in the file that begins like an issuer's default usernames, `issuer/sub`.
    #[must_use]
    pub fn name_within(&self, issuer: &str) -> Option<String> {
        let within = |name: &&String| {
            name.strip_prefix(issuer)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        self.users.load().hashes.keys().find(within).cloned()
    }

    pub(super) async fn check(self: &Arc<Self>, attempt: Attempt<'_>) -> Result<Identity, NoMatch> {
        let Attempt {
            user,
            password,
            source,
            fail_delay,
        } = attempt;
        let text = password.expose();
        if text.len() > PASSWORD_BYTES || text.contains('\0') {
            return Err(NoMatch::NotComparable);
        }
        let users = self.users.load_full();
        let known = users.hashes.get(user);
        let hash = known.unwrap_or(&users.dummy);
        let digest = self.digest(&[user, hash, text]);
        if self.good().get(&digest).is_none() {
            let check = Check {
                name: self.name(user),
                password,
                hash: hash.clone(),
                exists: known.is_some(),
                digest,
                source,
                fail_delay,
            };
            self.checking(check)?.await?;
        }
        // The file may have changed during the check.
        self.users
            .load()
            .hashes
            .get(user)
            .filter(|now| *now == hash)
            .map(|hash| identity(user, hash))
            .ok_or(NoMatch::Wrong)
    }

    /// Returns the identity of an earlier login, if the entry of the file is still the same.
    pub(super) fn again(&self, user: &str, fingerprint: &str) -> Option<Identity> {
        let users = self.users.load();
        users
            .hashes
            .get(user)
            .filter(|hash| line(user, hash) == fingerprint)
            .map(|hash| identity(user, hash))
    }

    fn good(&self) -> MutexGuard<'_, Recent<Digest, ()>> {
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self, user: &str) -> Name {
        let mut first = [0; 8];
        first
            .iter_mut()
            .zip(self.digest(&[user]))
            .for_each(|(to, from)| *to = from);
        Name(u64::from_ne_bytes(first))
    }

    fn digest(&self, parts: &[&str]) -> Digest {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&part.len().to_be_bytes());
            context.update(part.as_bytes());
        }
        context.sign().as_ref().try_into().unwrap_or_default()
    }
}

impl Vouching for Htpasswd {
    fn generation(&self, _: Timestamp) -> Option<Generation> {
        Some(self.users.load().generation)
    }
}

/// Shows only the path.
impl fmt::Debug for Htpasswd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Htpasswd")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

fn identity(user: &str, hash: &str) -> Identity {
    Identity {
        username: user.to_owned(),
        principal: Principal::Htpasswd {
            user: user.to_owned(),
        },
        credential: CredentialType::Htpasswd,
        claims: Arc::new(Map::from_iter([("sub".to_owned(), user.into())])),
        proof: Proof::Htpasswd {
            fingerprint: line(user, hash),
        },
        ..Identity::anonymous()
    }
}

fn line(user: &str, hash: &str) -> String {
    fingerprint(format!("{user}:{hash}").as_bytes())
}

/// About how many correct passwords are cached.
const REMEMBERED: usize = 8192;

#[cfg(test)]
mod tests;
