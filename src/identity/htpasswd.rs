//! Names and passwords of a file, as `htpasswd -B` writes it. Checking a password takes long on purpose, so few are checked at a time,
//! a name that is not there takes as long as one that is, and a password that was good is known again by a keyed digest.

use super::grounds::Vouching;
use super::identity::Proof;
use super::{CredentialType, Identity, Principal};
use crate::clock::Timestamp;
use crate::secret::Secret;
use crate::spiffe_id::SCHEME;
use crate::trust::{Generation, fingerprint};
use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use serde_json::Map;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// A password file, as it was when it was last read well.
pub struct Htpasswd {
    path: PathBuf,
    users: ArcSwap<Users>,
    /// What was found last, if it is not what counts.
    coming: Mutex<Option<String>>,
    /// How many passwords are checked at a time.
    workers: Arc<Semaphore>,
    /// How many are checked or wait for it: whoever comes after these is told to come again.
    queue: Arc<Semaphore>,
    /// Digests of name, password and hash that were found to fit.
    good: Mutex<HashSet<[u8; 32]>>,
    key: hmac::Key,
}

struct Users {
    generation: Generation,
    text: String,
    hashes: BTreeMap<String, String>,
    /// What a name that is not there is compared with.
    dummy: String,
}

impl Htpasswd {
    /// Reads the file.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Vec<InvalidHtpasswd>> {
        let path = path.into();
        let users = read(text(&path)?)?;
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).div_ceil(2);
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Ok(Self {
            path,
            users: ArcSwap::from_pointee(users),
            coming: Mutex::default(),
            workers: Arc::new(Semaphore::new(workers)),
            queue: Arc::new(Semaphore::new(workers * QUEUE)),
            good: Mutex::default(),
            key: key.map_err(|_| vec![InvalidHtpasswd::Random])?,
        })
    }

    /// Reads the file again. Says whether it has changed; a bad file changes nothing. A change counts once it has come to rest, that is
    /// the second time in a row that it is found: a file may be read while it is being written.
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
        self.good.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(true)
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One of its names that an OIDC issuer's default usernames, `issuer/sub`, could be.
    #[must_use]
    pub fn name_within(&self, issuer: &str) -> Option<String> {
        let within = |name: &&String| name.strip_prefix(issuer).is_some_and(|rest| rest.starts_with('/'));
        self.users.load().hashes.keys().find(within).cloned()
    }

    pub(super) async fn check(&self, user: &str, password: Secret) -> Result<Identity, NoMatch> {
        let users = self.users.load_full();
        let known = users.hashes.get(user);
        let hash = known.unwrap_or(&users.dummy).clone();
        let digest = self.digest(&[user, &hash, password.expose()]);
        if !self.good.lock().unwrap_or_else(PoisonError::into_inner).contains(&digest) {
            let place = self.queue.clone().try_acquire_owned().map_err(|_| NoMatch::Busy)?;
            let slot = self.workers.clone().acquire_owned().await.map_err(|_| NoMatch::Busy)?;
            let fits = tokio::task::spawn_blocking(move || {
                let fits = bcrypt::verify(password.expose(), &hash).unwrap_or(false);
                // Here, since a request that is given up does not end this.
                drop((slot, place));
                fits
            });
            if !fits.await.unwrap_or(false) || known.is_none() {
                return Err(NoMatch::Wrong);
            }
            self.remember(digest);
        }
        known.map(|hash| identity(user, hash)).ok_or(NoMatch::Wrong)
    }

    /// The identity of somebody who gave the password that the file had then, if it still has it.
    pub(super) fn again(&self, user: &str, fingerprint: &str) -> Option<Identity> {
        let users = self.users.load();
        users.hashes.get(user).filter(|hash| line(user, hash) == fingerprint).map(|hash| identity(user, hash))
    }

    fn digest(&self, parts: &[&str]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&part.len().to_be_bytes());
            context.update(part.as_bytes());
        }
        context.sign().as_ref().try_into().unwrap_or_default()
    }

    fn remember(&self, digest: [u8; 32]) {
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        if good.len() >= REMEMBERED {
            good.clear();
        }
        good.insert(digest);
    }
}

impl Vouching for Htpasswd {
    fn generation(&self, _: Timestamp) -> Option<Generation> {
        Some(self.users.load().generation)
    }
}

/// Why nobody was identified by a name and a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoMatch {
    Wrong,
    /// It was not checked: too many wait already.
    Busy,
}

/// The path alone.
impl fmt::Debug for Htpasswd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Htpasswd").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What is wrong with a password file. Says no hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHtpasswd {
    #[error("cannot be read: {kind}; check that it exists and that the registry's user may read it")]
    Unreadable { kind: io::ErrorKind },
    #[error("line {line}: expected name:hash, as `htpasswd -B` writes it")]
    Line { line: usize },
    #[error("line {line}: expected a bcrypt hash ($2a$, $2b$ or $2y$), found another one; make it again with `htpasswd -B`")]
    Hash { line: usize },
    #[error("line {line}: expected a bcrypt cost of at most {DEAREST}, found {cost}, which keeps a processor busy for many seconds")]
    Cost { line: usize, cost: u32 },
    #[error("line {line}: a name may not begin with {SCHEME}: such names are verified SPIFFE IDs")]
    SpiffeId { line: usize },
    #[error("line {line}: the name is there already; remove one of the lines")]
    Twice { line: usize },
    #[error("the system has no random numbers")]
    Random,
}

/// The names and the hashes of a good file. For fuzzing.
#[doc(hidden)]
#[must_use]
pub fn passwords_read(text: &str) -> Option<BTreeMap<String, String>> {
    read(text.to_owned()).ok().map(|users| users.hashes)
}

fn text(path: &Path) -> Result<String, Vec<InvalidHtpasswd>> {
    std::fs::read_to_string(path).map_err(|why| vec![InvalidHtpasswd::Unreadable { kind: why.kind() }])
}

fn read(text: String) -> Result<Users, Vec<InvalidHtpasswd>> {
    let (mut hashes, mut invalid, mut dearest) = (BTreeMap::new(), Vec::new(), bcrypt::DEFAULT_COST.min(10));
    for (index, content) in text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let line = index + 1;
        match entry(line, content) {
            Ok((user, _, _)) if hashes.contains_key(user) => invalid.push(InvalidHtpasswd::Twice { line }),
            Ok((user, hash, cost)) => {
                dearest = dearest.max(cost);
                hashes.insert(user.to_owned(), hash.to_owned());
            }
            Err(why) => invalid.push(why),
        }
    }
    let dummy = format!("$2b${dearest:02}${}", ".".repeat(53));
    if invalid.is_empty() { Ok(Users { generation: Generation::next(), hashes, dummy, text }) } else { Err(invalid) }
}

/// Name, hash and cost.
fn entry(line: usize, content: &str) -> Result<(&str, &str, u32), InvalidHtpasswd> {
    let (user, hash) = content.split_once(':').filter(|(user, _)| !user.is_empty()).ok_or(InvalidHtpasswd::Line { line })?;
    if user.get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME)) {
        return Err(InvalidHtpasswd::SpiffeId { line });
    }
    let parsed: bcrypt::HashParts = hash.parse().map_err(|_| InvalidHtpasswd::Hash { line })?;
    let cost = parsed.get_cost();
    let known = ["2a", "2b", "2y"].iter().any(|version| hash.starts_with(&format!("${version}${cost:02}$")));
    match cost {
        _ if cost > DEAREST => Err(InvalidHtpasswd::Cost { line, cost }),
        CHEAPEST.. if known => Ok((user, hash, cost)),
        // Of a broken bcrypt, or of a cost that bcrypt does not have: no password would ever fit.
        _ => Err(InvalidHtpasswd::Hash { line }),
    }
}

fn identity(user: &str, hash: &str) -> Identity {
    Identity {
        username: user.to_owned(),
        principal: Principal::Htpasswd { user: user.to_owned() },
        credential: CredentialType::Htpasswd,
        claims: Arc::new(Map::from_iter([("sub".to_owned(), user.into())])),
        proof: Proof::Htpasswd { fingerprint: line(user, hash) },
        ..Identity::anonymous()
    }
}

fn line(user: &str, hash: &str) -> String {
    fingerprint(format!("{user}:{hash}").as_bytes())
}

const CHEAPEST: u32 = 4;
/// 14 takes about a second.
const DEAREST: u32 = 16;
/// How many are checked or wait, for each that is checked at a time: of the usual cost that is about a second of waiting.
const QUEUE: usize = 16;
/// How many good passwords are known again.
const REMEMBERED: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::io::Write as _;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn hash(password: &str) -> String {
        bcrypt::hash(password, 4).unwrap()
    }

    fn invalid(text: &str) -> Vec<InvalidHtpasswd> {
        Htpasswd::open(file(text).path()).map(drop).unwrap_err()
    }

    async fn check(passwords: &Htpasswd, user: &str, password: &str) -> Result<String, NoMatch> {
        passwords.check(user, Secret::new(password)).await.map(|identity| identity.username().to_owned())
    }

    #[tokio::test]
    async fn a_good_password_names_its_user_and_nothing_else_does() {
        let (ann, bob) = (hash("open sesame"), hash("other").replacen("$2b$", "$2y$", 1));
        let file = file(&format!("# people\nann:{ann}\n\nbob:{bob}\n"));
        let passwords = Htpasswd::open(file.path()).unwrap();
        for _ in 0..2 {
            assert_eq!(check(&passwords, "ann", "open sesame").await, Ok("ann".into()));
            assert_eq!(check(&passwords, "bob", "other").await, Ok("bob".into()));
            for (user, password) in
                [("ann", "other"), ("ann", ""), ("", ""), ("Ann", "open sesame"), ("eve", "open sesame"), ("ann", ann.as_str())]
            {
                assert_eq!(check(&passwords, user, password).await, Err(NoMatch::Wrong), "{user} {password}");
            }
        }
        let identity = passwords.check("ann", Secret::new("open sesame")).await.unwrap();
        assert_eq!((identity.credential(), identity.spiffe_id()), (CredentialType::Htpasswd, None));
        assert_eq!(identity.principal(), &Principal::Htpasswd { user: "ann".into() });
    }

    #[tokio::test]
    async fn a_changed_file_counts_at_once_and_a_bad_one_changes_nothing() {
        let file = file(&format!("ann:{}\nbob:{}\n", hash("one"), hash("one")));
        let passwords = Htpasswd::open(file.path()).unwrap();
        let ann = passwords.check("ann", Secret::new("one")).await.unwrap();
        let Proof::Htpasswd { fingerprint } = ann.proof else { panic!("{ann:?}") };
        assert!(passwords.again("ann", &fingerprint).is_some());
        assert!(passwords.again("bob", &fingerprint).is_none());
        assert_eq!(passwords.reload(), Ok(false));
        std::fs::write(file.path(), "ann:plain\n").unwrap();
        assert_eq!(passwords.reload(), Ok(false), "it may be in the middle of being written");
        assert_eq!(passwords.reload(), Err(vec![InvalidHtpasswd::Hash { line: 1 }]));
        assert_eq!(check(&passwords, "ann", "one").await, Ok("ann".into()));
        std::fs::write(file.path(), format!("ann:{}\n", hash("two"))).unwrap();
        assert_eq!(passwords.reload(), Ok(false));
        assert_eq!(check(&passwords, "bob", "one").await, Ok("bob".into()), "whoever is on a line that is yet to come keeps his place");
        assert_eq!(passwords.reload(), Ok(true));
        assert_eq!(check(&passwords, "ann", "one").await, Err(NoMatch::Wrong));
        assert_eq!(check(&passwords, "bob", "one").await, Err(NoMatch::Wrong));
        assert_eq!(check(&passwords, "ann", "two").await, Ok("ann".into()));
        assert!(passwords.again("ann", &fingerprint).is_none(), "the password is another one");
    }

    #[test]
    fn every_mistake_of_a_file_is_found() {
        let good = hash("x");
        let cost = |cost: &str| good.replacen("$04$", &format!("${cost}$"), 1);
        let (dear, cheap, signed, broken) = (cost("31"), cost("03"), cost("+4"), good.replacen("$2b$", "$2x$", 1));
        let text = format!(
            "ann:{good}\nnobody\n:{good}\nbob:$apr1$x$y\nann:{good}\nSPIFFE://a/b:{good}\neve:{dear}\nmal:{{SHA}}x\na:{cheap}\nb:{signed}\nc:{broken}\n"
        );
        assert_eq!(
            invalid(&text),
            [
                InvalidHtpasswd::Line { line: 2 },
                InvalidHtpasswd::Line { line: 3 },
                InvalidHtpasswd::Hash { line: 4 },
                InvalidHtpasswd::Twice { line: 5 },
                InvalidHtpasswd::Hash { line: 6 },
                InvalidHtpasswd::Cost { line: 7, cost: 31 },
                InvalidHtpasswd::Hash { line: 8 },
                InvalidHtpasswd::Hash { line: 9 },
                InvalidHtpasswd::Hash { line: 10 },
                InvalidHtpasswd::Hash { line: 11 },
            ]
        );
        assert_eq!(Htpasswd::open("/nowhere/htpasswd").map(drop), Err(vec![InvalidHtpasswd::Unreadable { kind: io::ErrorKind::NotFound }]));
    }

    #[test]
    fn a_name_that_is_not_there_costs_what_the_dearest_that_is_there_does() {
        let users = read(format!("ann:{}\n", bcrypt::hash("x", 11).unwrap())).unwrap();
        let dummy: bcrypt::HashParts = users.dummy.parse().unwrap();
        assert_eq!(dummy.get_cost(), 11);
        assert!(!bcrypt::verify("x", &users.dummy.replacen("$11$", "$04$", 1)).unwrap(), "it is a hash, of nothing that anyone knows");
    }

    #[tokio::test]
    async fn no_more_than_some_wait_to_be_checked_and_the_others_are_not_told_that_they_are_wrong() {
        let file = file(&format!("ann:{}\n", hash("one")));
        let passwords = Htpasswd::open(file.path()).unwrap();
        let all = u32::try_from(passwords.workers.available_permits()).unwrap();
        let workers = passwords.workers.clone().acquire_many_owned(all).await.unwrap();
        let room = passwords.queue.available_permits();
        let mut waiting: Vec<_> = (0..room).map(|_| Box::pin(check(&passwords, "ann", "one"))).collect();
        for one in &mut waiting {
            assert!(one.as_mut().now_or_never().is_none());
        }
        for (user, password) in [("ann", "one"), ("ann", "two"), ("eve", "one")] {
            assert_eq!(check(&passwords, user, password).await, Err(NoMatch::Busy), "{user} {password}");
        }
        // One that gives up makes room for another.
        waiting.pop();
        waiting.push(Box::pin(check(&passwords, "ann", "one")));
        drop(workers);
        for outcome in futures_util::future::join_all(waiting).await {
            assert_eq!(outcome, Ok("ann".into()));
        }
        assert_eq!(passwords.queue.available_permits(), room);
    }

    #[tokio::test]
    async fn prints_neither_names_nor_hashes() {
        let passwords = Htpasswd::open(file(&format!("ann:{}\n", hash("x"))).path()).unwrap();
        let text = format!("{passwords:?}");
        assert!(!text.contains("ann") && !text.contains("$2"), "{text}");
    }
}
