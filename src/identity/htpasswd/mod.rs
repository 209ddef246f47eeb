//! Names and passwords of a file, as `htpasswd -B` writes it. Checking a password takes long on purpose: a
//! name that is not in the file takes as long as one that is, and few passwords are checked at a time
//! ([`turns`]). A password that was good is known again by a keyed digest, and waits for nobody.
//!
//! A wrong password is answered late (zot's `failDelay`). The attempt keeps its place until then, even if the
//! client has gone away: a client that hangs up after a moment would learn as much as one that waits.

mod file;
mod turns;

pub use file::InvalidHtpasswd;
#[doc(hidden)]
pub use file::passwords_read;

use super::grounds::Vouching;
use super::identity::Proof;
use super::{CredentialType, Identity, Principal, SourceAddress};
use crate::clock::Timestamp;
use crate::limits::{PASSWORD_BYTES, PASSWORD_REQUESTS};
use crate::recent::Recent;
use crate::secret::Secret;
use crate::trust::{Generation, fingerprint};
use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use file::{Users, read, text};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use serde_json::Map;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use turns::{Name, Turns};

/// A password file, as it was when it was last read well.
pub struct Htpasswd {
    path: PathBuf,
    users: ArcSwap<Users>,
    /// What was found last, if it is not what counts.
    coming: Mutex<Option<String>>,
    turns: Arc<Turns>,
    /// Passwords that are being checked. One that comes several times at once, as from the jobs of one
    /// pipeline, is checked once.
    running: Mutex<HashMap<(SourceAddress, Digest), WeakShared<Checking>>>,
    /// Digests of name, password and hash that were found to fit. One of an entry that has changed fits
    /// nothing any more.
    good: Mutex<Recent<Digest, ()>>,
    key: hmac::Key,
}

/// A name and a password that a request presents.
pub(super) struct Attempt<'a> {
    pub(super) user: &'a str,
    pub(super) password: Secret,
    pub(super) source: SourceAddress,
    /// How long the answer to a wrong password waits.
    pub(super) fail_delay: Duration,
}

/// Why nobody was identified by a name and a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoMatch {
    Wrong,
    /// bcrypt would compare a part of it only.
    NotComparable,
    /// It was not checked: its source has as many attempts as it may have.
    SourceBusy,
    /// It was not checked: too many wait already.
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

    /// Reads the file again. Says whether it has changed; a bad file changes nothing. A change counts once it
    /// has come to rest, that is the second time in a row that it is found: a file may be read while it is
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

    /// One of its names that an OIDC issuer's default usernames, `issuer/sub`, could be.
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
        // The file may have changed meanwhile.
        self.users
            .load()
            .hashes
            .get(user)
            .filter(|now| *now == hash)
            .map(|hash| identity(user, hash))
            .ok_or(NoMatch::Wrong)
    }

    /// The identity of somebody who gave the password that the file had then, if it still has it.
    pub(super) fn again(&self, user: &str, fingerprint: &str) -> Option<Identity> {
        let users = self.users.load();
        users
            .hashes
            .get(user)
            .filter(|hash| line(user, hash) == fingerprint)
            .map(|hash| identity(user, hash))
    }

    /// The check of this password that runs already, or a new one.
    fn checking(self: &Arc<Self>, check: Check) -> Result<Shared<Checking>, NoMatch> {
        let key = (check.source, check.digest);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = running.get(&key).and_then(WeakShared::upgrade) {
            // A check that is dropped takes this lock.
            drop(running);
            let waiting = same.strong_count().unwrap_or_default();
            return if waiting <= PASSWORD_REQUESTS {
                Ok(same)
            } else {
                Err(NoMatch::SourceBusy)
            };
        }
        let entry = Running {
            passwords: self.clone(),
            key,
        };
        let passwords = self.clone();
        let new = async move {
            let _entry = entry;
            passwords.run(check).await
        };
        let new = new.boxed().shared();
        if let Some(new) = new.downgrade() {
            running.insert(key, new);
        }
        Ok(new)
    }

    async fn run(self: Arc<Self>, check: Check) -> Result<(), NoMatch> {
        let Check {
            name,
            password,
            hash,
            exists,
            digest,
            source,
            fail_delay,
        } = check;
        let place = self.turns.place(source, name).ok_or(NoMatch::SourceBusy)?;
        let coming = place.turn().ok_or(NoMatch::Busy)?;
        // A task of its own takes the turn even if the connection makes no progress; it ends with the set,
        // that is with this request.
        let mut waiting = JoinSet::new();
        waiting.spawn(async move {
            let turn = coming.await.map_err(|_| NoMatch::Busy)?;
            // From here on a client that gives up ends nothing.
            let judged = tokio::spawn(async move {
                let fits = tokio::task::spawn_blocking(move || {
                    let fits = bcrypt::verify(password.expose(), &hash).unwrap_or(false);
                    drop(turn);
                    fits
                });
                let fits = fits.await.unwrap_or(false) && exists;
                if fits {
                    self.good().put(digest, (), 1);
                } else {
                    tokio::time::sleep(fail_delay).await;
                }
                drop(place);
                if fits { Ok(()) } else { Err(NoMatch::Wrong) }
            });
            judged.await.unwrap_or(Err(NoMatch::Busy))
        });
        waiting
            .join_next()
            .await
            .and_then(Result::ok)
            .unwrap_or(Err(NoMatch::Busy))
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

/// The path alone.
impl fmt::Debug for Htpasswd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Htpasswd")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// One password, and what it is compared with.
struct Check {
    name: Name,
    password: Secret,
    hash: String,
    /// Whether the file has the name. Otherwise the hash is of nobody's.
    exists: bool,
    digest: Digest,
    source: SourceAddress,
    fail_delay: Duration,
}

/// Takes a check out of the list of those that run, when it has ended or nobody waits for it.
struct Running {
    passwords: Arc<Htpasswd>,
    key: (SourceAddress, Digest),
}

impl Drop for Running {
    fn drop(&mut self) {
        self.passwords
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
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

/// How many good passwords are known again, about.
const REMEMBERED: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{PASSWORDS_OF_NAME, PASSWORDS_OF_SOURCE};
    use std::io::Write as _;
    use turns::Turn;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn hash(password: &str) -> String {
        bcrypt::hash(password, 4).unwrap()
    }

    fn open(text: &str) -> Arc<Htpasswd> {
        Arc::new(Htpasswd::open(file(text).path()).unwrap())
    }

    fn source(last: u8) -> SourceAddress {
        SourceAddress::of([192, 0, 2, last].into())
    }

    fn attempt<'a>(user: &'a str, password: &str, source: SourceAddress) -> Attempt<'a> {
        Attempt {
            user,
            password: Secret::new(password),
            source,
            fail_delay: Duration::ZERO,
        }
    }

    async fn check(passwords: &Arc<Htpasswd>, user: &str, password: &str) -> Result<String, NoMatch> {
        passwords
            .check(attempt(user, password, source(1)))
            .await
            .map(|identity| identity.username().to_owned())
    }

    /// Takes every turn, so that no password is checked.
    fn gate(passwords: &Htpasswd) -> Vec<Turn> {
        let turn = |name| {
            passwords
                .turns
                .place(SourceAddress::UNKNOWN, Name(name))
                .unwrap()
                .turn()
                .unwrap()
                .try_recv()
                .unwrap()
        };
        (0..passwords.turns.free() as u64).map(turn).collect()
    }

    /// An attempt that waits at the gate.
    fn waiting(
        passwords: &Arc<Htpasswd>,
        user: &str,
        password: &str,
        last: u8,
    ) -> BoxFuture<'static, Result<Identity, NoMatch>> {
        let passwords = passwords.clone();
        let user = user.to_owned();
        let password = password.to_owned();
        let mut attempt =
            async move { passwords.check(attempt(&user, &password, source(last))).await }.boxed();
        assert!(attempt.as_mut().now_or_never().is_none(), "it does not wait");
        attempt
    }

    #[tokio::test]
    async fn a_good_password_names_its_user_and_nothing_else_does() {
        let ann = hash("open sesame");
        let bob = hash("other").replacen("$2b$", "$2y$", 1);
        let passwords = open(&format!("# people\nann:{ann}\n\nbob:{bob}\n"));
        for _ in 0..2 {
            assert_eq!(check(&passwords, "ann", "open sesame").await, Ok("ann".into()));
            assert_eq!(check(&passwords, "bob", "other").await, Ok("bob".into()));
            for (user, password) in [
                ("ann", "other"),
                ("ann", ""),
                ("", ""),
                ("Ann", "open sesame"),
                ("eve", "open sesame"),
                ("ann", ann.as_str()),
            ] {
                assert_eq!(
                    check(&passwords, user, password).await,
                    Err(NoMatch::Wrong),
                    "{user} {password}"
                );
            }
        }
        let identity = passwords
            .check(attempt("ann", "open sesame", source(1)))
            .await
            .unwrap();
        assert_eq!(
            (identity.credential(), identity.spiffe_id()),
            (CredentialType::Htpasswd, None)
        );
        assert_eq!(identity.principal(), &Principal::Htpasswd { user: "ann".into() });
        assert!(
            passwords.running.lock().unwrap().is_empty(),
            "no check is kept that has ended"
        );
    }

    #[tokio::test]
    async fn a_changed_file_counts_at_once_and_a_bad_one_changes_nothing() {
        let file = file(&format!("ann:{}\nbob:{}\n", hash("one"), hash("one")));
        let passwords = Arc::new(Htpasswd::open(file.path()).unwrap());
        let ann = passwords.check(attempt("ann", "one", source(1))).await.unwrap();
        let Proof::Htpasswd { fingerprint } = ann.proof else {
            panic!("{ann:?}")
        };
        assert!(passwords.again("ann", &fingerprint).is_some());
        assert!(passwords.again("bob", &fingerprint).is_none());
        assert_eq!(passwords.reload(), Ok(false));
        std::fs::write(file.path(), "ann:plain\n").unwrap();
        assert_eq!(
            passwords.reload(),
            Ok(false),
            "it may be in the middle of being written"
        );
        assert_eq!(passwords.reload(), Err(vec![InvalidHtpasswd::Hash { line: 1 }]));
        assert_eq!(check(&passwords, "ann", "one").await, Ok("ann".into()));
        std::fs::write(file.path(), format!("ann:{}\n", hash("two"))).unwrap();
        assert_eq!(passwords.reload(), Ok(false));
        assert_eq!(
            check(&passwords, "bob", "one").await,
            Ok("bob".into()),
            "whoever is on a line that is yet to come keeps his place"
        );
        assert_eq!(passwords.reload(), Ok(true));
        assert_eq!(check(&passwords, "ann", "one").await, Err(NoMatch::Wrong));
        assert_eq!(check(&passwords, "bob", "one").await, Err(NoMatch::Wrong));
        assert_eq!(check(&passwords, "ann", "two").await, Ok("ann".into()));
        assert!(
            passwords.again("ann", &fingerprint).is_none(),
            "the password is another one"
        );
    }

    #[tokio::test]
    async fn a_changed_file_keeps_the_successes_of_entries_that_did_not_change() {
        let ann = format!("ann:{}\n", hash("one"));
        let bob = format!("bob:{}\n", hash("one"));
        let file = file(&format!("{ann}{bob}"));
        let passwords = Arc::new(Htpasswd::open(file.path()).unwrap());
        for user in ["ann", "bob"] {
            assert_eq!(check(&passwords, user, "one").await, Ok(user.into()));
        }
        std::fs::write(
            file.path(),
            format!("{ann}bob:{}\neve:{}\n", hash("two"), hash("three")),
        )
        .unwrap();
        assert_eq!((passwords.reload(), passwords.reload()), (Ok(false), Ok(true)));
        let gate = gate(&passwords);
        assert_eq!(
            check(&passwords, "ann", "one").await,
            Ok("ann".into()),
            "without a turn"
        );
        let old = waiting(&passwords, "bob", "one", 1);
        drop(gate);
        assert_eq!(
            old.await.unwrap_err(),
            NoMatch::Wrong,
            "the old password of an entry that changed"
        );
    }

    #[tokio::test]
    async fn a_password_is_refused_and_not_cut() {
        let long = "x".repeat(PASSWORD_BYTES);
        let passwords = open(&format!("ann:{}\nbob:{}\n", hash(&long), hash("a")));
        let gate = gate(&passwords);
        for (user, password) in [
            ("ann", format!("{long}x")),
            ("ann", format!("{long}{long}")),
            ("bob", "a\0a".into()),
            ("bob", "\0".into()),
        ] {
            assert_eq!(
                check(&passwords, user, &password).await,
                Err(NoMatch::NotComparable),
                "{user} {password}"
            );
        }
        drop(gate);
        assert_eq!(check(&passwords, "ann", &long).await, Ok("ann".into()));
    }

    #[tokio::test]
    async fn forty_wrong_passwords_of_one_source_delay_no_other_source_and_no_known_password() {
        let passwords = open(&format!("ann:{}\nbob:{}\n", hash("one"), hash("two")));
        assert_eq!(check(&passwords, "bob", "two").await, Ok("bob".into()));
        let gate = gate(&passwords);
        let mut guesses = Vec::new();
        let mut refused = Vec::new();
        for n in 0..40 {
            let user = format!("user {}", n % 10);
            let guess = format!("guess {n}");
            let passwords = passwords.clone();
            let source = source(66);
            let mut guess = async move { passwords.check(attempt(&user, &guess, source)).await }.boxed();
            match guess.as_mut().now_or_never() {
                None => guesses.push(guess),
                Some(outcome) => refused.push(outcome.unwrap_err()),
            }
        }
        assert_eq!(
            (guesses.len(), refused),
            (
                PASSWORDS_OF_SOURCE,
                vec![NoMatch::SourceBusy; 40 - PASSWORDS_OF_SOURCE]
            )
        );
        assert_eq!(
            check(&passwords, "bob", "two").await,
            Ok("bob".into()),
            "a password that is known waits for nobody"
        );
        let ann = waiting(&passwords, "ann", "one", 1);
        drop(gate);
        assert_eq!(ann.await.unwrap().username(), "ann");
        for guess in guesses {
            assert_eq!(guess.await.unwrap_err(), NoMatch::Wrong);
        }
    }

    #[tokio::test]
    async fn guesses_at_one_name_leave_places_to_the_other_names_of_a_source() {
        let passwords = open(&format!("ann:{}\n", hash("one")));
        let gate = gate(&passwords);
        let guesses: Vec<_> = (0..PASSWORDS_OF_NAME)
            .map(|n| waiting(&passwords, "bob", &n.to_string(), 1))
            .collect();
        assert_eq!(
            check(&passwords, "bob", "another").await,
            Err(NoMatch::SourceBusy)
        );
        let ann = waiting(&passwords, "ann", "one", 1);
        drop((gate, guesses));
        assert_eq!(ann.await.unwrap().username(), "ann");
    }

    #[tokio::test]
    async fn a_password_that_comes_many_times_at_once_is_checked_once() {
        let passwords = open(&format!("ann:{}\n", hash("one")));
        let gate = gate(&passwords);
        let same: Vec<_> = (0..PASSWORD_REQUESTS)
            .map(|_| waiting(&passwords, "ann", "one", 1))
            .collect();
        assert_eq!(passwords.turns.waiting(), 1);
        assert_eq!(
            check(&passwords, "ann", "one").await,
            Err(NoMatch::SourceBusy),
            "not without end"
        );
        let elsewhere = waiting(&passwords, "ann", "one", 2);
        assert_eq!(passwords.turns.waiting(), 2, "each source waits for its own");
        drop(gate);
        for one in same.into_iter().chain([elsewhere]) {
            assert_eq!(one.await.unwrap().username(), "ann");
        }
    }

    #[tokio::test]
    async fn one_that_gives_up_while_it_waits_is_not_checked() {
        let passwords = open(&format!("ann:{}\n", hash("one")));
        let gate = gate(&passwords);
        let first = waiting(&passwords, "ann", "one", 1);
        let second = waiting(&passwords, "ann", "one", 1);
        drop(first);
        tokio::task::yield_now().await;
        assert_eq!(passwords.turns.waiting(), 1, "the other still waits");
        drop(second);
        assert_eq!(passwords.running.lock().unwrap().len(), 0);
        while passwords.turns.waiting() > 0 {
            tokio::task::yield_now().await;
        }
        drop(gate);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_password_is_answered_late_and_keeps_its_place_until_then() {
        const DELAY: Duration = Duration::from_secs(5);
        let passwords = open(&format!("ann:{}\n", hash("one")));
        let free = passwords.turns.free();
        let try_it = |password: String, last: u8| {
            let passwords = passwords.clone();
            async move {
                passwords
                    .check(Attempt {
                        fail_delay: DELAY,
                        ..attempt("ann", &password, source(last))
                    })
                    .await
                    .map(drop)
            }
        };
        let begun = tokio::time::Instant::now();
        assert_eq!(try_it("one".into(), 1).await, Ok(()));
        assert_eq!(
            begun.elapsed(),
            Duration::ZERO,
            "a good password is answered at once"
        );
        assert_eq!(try_it("wrong".into(), 1).await, Err(NoMatch::Wrong));
        assert_eq!(begun.elapsed().as_secs(), DELAY.as_secs());

        // Clients that hang up as soon as their passwords have been checked.
        for n in 0..PASSWORDS_OF_NAME {
            let mut guess = Box::pin(try_it(n.to_string(), 1));
            assert!(guess.as_mut().now_or_never().is_none());
            while passwords.turns.free() < free {
                tokio::task::yield_now().await;
            }
            drop(guess);
        }
        assert_eq!(
            try_it("another".into(), 1).await,
            Err(NoMatch::SourceBusy),
            "no turn is held, and every place is"
        );
        assert_eq!(
            try_it("one".into(), 1).await,
            Ok(()),
            "a password that is known passes"
        );
        tokio::time::sleep(DELAY + Duration::from_secs(1)).await;
        assert_eq!(try_it("another".into(), 1).await, Err(NoMatch::Wrong));
    }

    #[tokio::test]
    async fn prints_neither_names_nor_hashes() {
        let text = format!("{:?}", open(&format!("ann:{}\n", hash("x"))));
        assert!(!text.contains("ann") && !text.contains("$2"), "{text}");
    }
}
