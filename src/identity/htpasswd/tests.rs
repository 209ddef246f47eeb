//! Tests of the password file.

use super::*;
use crate::limits::PASSWORD_REQUESTS;
use crate::limits::{PASSWORDS_OF_NAME, PASSWORDS_OF_SOURCE};
use futures_util::FutureExt as _;
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

/// Starts an attempt that waits for a turn.
fn waiting(
    passwords: &Arc<Htpasswd>,
    user: &str,
    password: &str,
    last: u8,
) -> BoxFuture<'static, Result<Identity, NoMatch>> {
    let passwords = passwords.clone();
    let user = user.to_owned();
    let password = password.to_owned();
    let mut attempt = async move { passwords.check(attempt(&user, &password, source(last))).await }.boxed();
    assert!(attempt.as_mut().now_or_never().is_none(), "it does not wait");
    attempt
}

#[tokio::test]
async fn only_the_right_password_identifies_its_user() {
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
        "a finished check is removed"
    );
}

#[tokio::test]
async fn a_changed_file_is_used_and_an_invalid_one_changes_nothing() {
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
        "a user on a line that is not written yet can still log in"
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
async fn a_changed_file_keeps_the_cached_passwords_of_unchanged_entries() {
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
async fn a_long_password_is_rejected_and_not_truncated() {
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
        "a cached password does not wait"
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
async fn a_password_of_a_client_that_disconnects_while_waiting_is_not_checked() {
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
        "a correct password is answered at once"
    );
    assert_eq!(try_it("wrong".into(), 1).await, Err(NoMatch::Wrong));
    assert_eq!(begun.elapsed().as_secs(), DELAY.as_secs());

    // These clients disconnect as soon as their passwords have been checked.
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
        "no turn is taken, but every place is"
    );
    assert_eq!(
        try_it("one".into(), 1).await,
        Ok(()),
        "a cached password is accepted"
    );
    tokio::time::sleep(DELAY + Duration::from_secs(1)).await;
    assert_eq!(try_it("another".into(), 1).await, Err(NoMatch::Wrong));
}

#[tokio::test]
async fn prints_neither_names_nor_hashes() {
    let text = format!("{:?}", open(&format!("ann:{}\n", hash("x"))));
    assert!(!text.contains("ann") && !text.contains("$2"), "{text}");
}
