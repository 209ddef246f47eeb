//! Names and passwords of a file, as `htpasswd -B` writes it. Checking a password takes long on purpose, so few are checked at a time,
//! a name that is not there takes as long as one that is, and a password that was good is known again by a keyed digest.

use super::identity::Proof;
use super::{CredentialType, Identity, Principal, Refused};
use crate::secret::Secret;
use crate::spiffe_id::SCHEME;
use crate::trust::fingerprint;
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
    /// How many passwords are checked at a time.
    workers: Arc<Semaphore>,
    /// Digests of name, password and hash that were found to fit.
    good: Mutex<HashSet<[u8; 32]>>,
    key: hmac::Key,
}

#[derive(Default)]
struct Users {
    text: String,
    hashes: BTreeMap<String, String>,
    /// What a name that is not there is compared with.
    dummy: String,
}

impl Htpasswd {
    /// Reads the file.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Vec<InvalidHtpasswd>> {
        let path = path.into();
        let users = read(&path)?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Ok(Self {
            path,
            users: ArcSwap::from_pointee(users),
            workers: Arc::new(Semaphore::new(cores.div_ceil(2))),
            good: Mutex::default(),
            key: key.map_err(|_| vec![InvalidHtpasswd::Random])?,
        })
    }

    /// Reads the file again. Says whether it has changed; a bad file changes nothing.
    pub fn reload(&self) -> Result<bool, Vec<InvalidHtpasswd>> {
        let users = read(&self.path)?;
        if users.text == self.users.load().text {
            return Ok(false);
        }
        self.users.store(Arc::new(users));
        self.good.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(true)
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) async fn check(&self, user: &str, password: Secret) -> Result<Identity, Refused> {
        let users = self.users.load_full();
        let known = users.hashes.get(user);
        let hash = known.unwrap_or(&users.dummy).clone();
        let digest = self.digest(&[user, &hash, password.expose()]);
        if !self.good.lock().unwrap_or_else(PoisonError::into_inner).contains(&digest) {
            let slot = self.workers.clone().acquire_owned().await.map_err(|_| Refused::Password)?;
            let fits = tokio::task::spawn_blocking(move || {
                let fits = bcrypt::verify(password.expose(), &hash).unwrap_or(false);
                // Here, since a request that is given up does not end this.
                drop(slot);
                fits
            });
            if !fits.await.unwrap_or(false) || known.is_none() {
                return Err(Refused::Password);
            }
            self.remember(digest);
        }
        known.map(|hash| identity(user, hash)).ok_or(Refused::Password)
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

fn read(path: &Path) -> Result<Users, Vec<InvalidHtpasswd>> {
    let text = std::fs::read_to_string(path).map_err(|why| vec![InvalidHtpasswd::Unreadable { kind: why.kind() }])?;
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
    if invalid.is_empty() { Ok(Users { hashes, dummy, text }) } else { Err(invalid) }
}

/// Name, hash and cost.
fn entry(line: usize, content: &str) -> Result<(&str, &str, u32), InvalidHtpasswd> {
    let (user, hash) = content.split_once(':').filter(|(user, _)| !user.is_empty()).ok_or(InvalidHtpasswd::Line { line })?;
    if user.get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME)) {
        return Err(InvalidHtpasswd::SpiffeId { line });
    }
    let parsed: bcrypt::HashParts = hash.parse().map_err(|_| InvalidHtpasswd::Hash { line })?;
    match parsed.get_cost() {
        cost if cost > DEAREST => Err(InvalidHtpasswd::Cost { line, cost }),
        cost => Ok((user, hash, cost)),
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

/// 14 takes about a second.
const DEAREST: u32 = 16;
/// How many good passwords are known again.
const REMEMBERED: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
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

    async fn check(passwords: &Htpasswd, user: &str, password: &str) -> Result<String, Refused> {
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
                assert_eq!(check(&passwords, user, password).await, Err(Refused::Password), "{user} {password}");
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
        assert_eq!(passwords.reload(), Err(vec![InvalidHtpasswd::Hash { line: 1 }]));
        assert_eq!(check(&passwords, "ann", "one").await, Ok("ann".into()));
        std::fs::write(file.path(), format!("ann:{}\n", hash("two"))).unwrap();
        assert_eq!(passwords.reload(), Ok(true));
        assert_eq!(check(&passwords, "ann", "one").await, Err(Refused::Password));
        assert_eq!(check(&passwords, "bob", "one").await, Err(Refused::Password));
        assert_eq!(check(&passwords, "ann", "two").await, Ok("ann".into()));
        assert!(passwords.again("ann", &fingerprint).is_none(), "the password is another one");
    }

    #[test]
    fn every_mistake_of_a_file_is_found() {
        let good = hash("x");
        let dear = good.replacen("$04$", "$31$", 1);
        let text = format!("ann:{good}\nnobody\n:{good}\nbob:$apr1$x$y\nann:{good}\nSPIFFE://a/b:{good}\neve:{dear}\nmal:{{SHA}}x\n");
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
            ]
        );
        assert_eq!(Htpasswd::open("/nowhere/htpasswd").map(drop), Err(vec![InvalidHtpasswd::Unreadable { kind: io::ErrorKind::NotFound }]));
    }

    #[test]
    fn a_name_that_is_not_there_costs_what_the_dearest_that_is_there_does() {
        let users = read(file(&format!("ann:{}\n", bcrypt::hash("x", 11).unwrap())).path()).unwrap();
        let dummy: bcrypt::HashParts = users.dummy.parse().unwrap();
        assert_eq!(dummy.get_cost(), 11);
        assert!(!bcrypt::verify("x", &users.dummy.replacen("$11$", "$04$", 1)).unwrap(), "it is a hash, of nothing that anyone knows");
    }

    #[tokio::test]
    async fn prints_neither_names_nor_hashes() {
        let passwords = Htpasswd::open(file(&format!("ann:{}\n", hash("x"))).path()).unwrap();
        let text = format!("{passwords:?}");
        assert!(!text.contains("ann") && !text.contains("$2"), "{text}");
    }
}
