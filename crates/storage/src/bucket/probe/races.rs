//! Conditional writes at the same time. A store that checks a condition and writes in two steps keeps it in every
//! sequence of requests, and breaks it here.

use super::super::objects::{Condition, Object, Objects, Reading};
use super::attempt::Attempt;
use super::report::{Finding, Found, Need, no, unknown, yes};
use super::{Run, nonce};
use bytes::Bytes;
use futures_util::future::{join_all, join3};
use object_store::Error;
use std::future::Future;
use std::time::Duration;
use tokio::time::timeout;

pub(super) async fn all(run: &Run<'_>) -> Vec<Finding> {
    // Side by side: where writers wait for a lock on the key, each race takes many seconds.
    let races = join3(
        bounded(run, creations(run)),
        bounded(run, updates(run)),
        bounded(run, counter(run)),
    );
    let (creations, updates, counter) = races.await;
    vec![
        Finding::new("one of many creations wins", Need::Replicas, creations),
        Finding::new("one of many updates wins", Need::Replicas, updates),
        Finding::new("a counter is exact", Need::Replicas, counter),
    ]
}

async fn bounded(run: &Run<'_>, race: impl Future<Output = Result<Found, Error>>) -> Found {
    match timeout(LONGEST, race).await {
        Ok(Ok(found)) => found,
        Ok(Err(why)) => unknown(run.explain(&why)),
        Err(_) => unknown(format!("not finished within {} s", LONGEST.as_secs())),
    }
}

async fn creations(run: &Run<'_>) -> Result<Found, Error> {
    let mut decided = 0;
    for round in 0..ROUNDS {
        let key = run.key(&format!("creations-{round}"));
        match race(run, &key, Condition::Absent).await? {
            Outcome::Broken(what) => return Ok(no(what)),
            Outcome::Decided => decided += 1,
            Outcome::Undecided => {}
        }
    }
    Ok(judged(run, decided))
}

async fn updates(run: &Run<'_>) -> Result<Found, Error> {
    let mut decided = 0;
    for (round, first) in (0..ROUNDS).zip(run.endpoints.iter().cycle()) {
        let key = run.key(&format!("updates-{round}"));
        let tag = first.put(&key, nonce(), Condition::None).await?;
        match race(run, &key, Condition::Tag(&tag)).await? {
            Outcome::Broken(what) => return Ok(no(what)),
            Outcome::Decided => decided += 1,
            Outcome::Undecided => {}
        }
    }
    Ok(judged(run, decided))
}

fn judged(run: &Run<'_>, decided: usize) -> Found {
    let through = match run.endpoints.len() {
        1 => String::new(),
        endpoints => format!(" through {endpoints} endpoints"),
    };
    match decided {
        0 => unknown("no round had a winner"),
        _ => yes(format!(
            "{decided} rounds of {WRITERS} writers{through} had one winner each"
        )),
    }
}

enum Outcome {
    Decided,
    /// The outcome of a request is unknown, or the store refused all of them.
    Undecided,
    Broken(String),
}

/// All writers send one request with the same condition.
async fn race(run: &Run<'_>, key: &str, condition: Condition<'_>) -> Result<Outcome, Error> {
    let writers = (0..WRITERS).zip(run.endpoints.iter().cycle());
    let all = join_all(writers.map(|(_, objects)| async move {
        let bytes = nonce();
        let put = objects.put(key, bytes.clone(), condition).await;
        (bytes, Attempt::from(put))
    }))
    .await;
    let winners: Vec<_> = all
        .iter()
        .filter(|(_, put)| matches!(put, Attempt::Done(_)))
        .map(|(bytes, _)| bytes)
        .collect();
    let is_known = all
        .iter()
        .all(|(_, put)| matches!(put, Attempt::Done(_) | Attempt::Refused));
    match winners.as_slice() {
        [] => Ok(Outcome::Undecided),
        [winner] => {
            let reader = run.endpoints.last();
            let stored = match reader {
                Some(objects) => found(objects, key).await?.map(|object| object.bytes),
                None => None,
            };
            match stored {
                Some(bytes) if bytes == **winner => Ok(Outcome::Decided),
                _ if !is_known => Ok(Outcome::Undecided),
                _ => Ok(Outcome::Broken(
                    "a write that was acknowledged was overwritten by one that was refused".to_owned(),
                )),
            }
        }
        more => Ok(Outcome::Broken(format!(
            "{} of {WRITERS} simultaneous writes with one condition were accepted",
            more.len()
        ))),
    }
}

async fn found(objects: &Objects, key: &str) -> Result<Option<Object>, Error> {
    match objects.get(key, None).await? {
        Reading::Found(object) => Ok(Some(object)),
        Reading::Absent | Reading::Same => Ok(None),
    }
}

/// Counts up by compare-and-swap from several sides. The object's size is the count, so that no state has the bytes
/// of another.
async fn counter(run: &Run<'_>) -> Result<Found, Error> {
    let key = run.key("counter");
    let Some(first) = run.endpoints.first() else {
        return Ok(unknown("no endpoint"));
    };
    first.put(&key, nonce(), Condition::None).await?;
    let sides = (0..SIDES).zip(run.endpoints.iter().cycle());
    let counted = join_all(sides.map(|(_, objects)| count(objects, &key))).await;
    for side in counted {
        side?;
    }
    let expected = (SIDES * STEPS + 1) * NONCE;
    let size = found(first, &key).await?.map_or(0, |object| object.bytes.len());
    let lost = expected.saturating_sub(size) / NONCE;
    Ok(match lost {
        0 => yes(format!(
            "{} updates by {SIDES} writers were counted",
            SIDES * STEPS
        )),
        lost => no(format!(
            "{lost} of {} acknowledged updates were lost",
            SIDES * STEPS
        )),
    })
}

async fn count(objects: &Objects, key: &str) -> Result<(), Error> {
    for _ in 0..STEPS {
        let mine = nonce();
        loop {
            let Some(object) = found(objects, key).await? else {
                continue;
            };
            // A request with an unknown outcome was done.
            if object.bytes.chunks(NONCE).any(|one| one == mine) {
                break;
            }
            let next = Bytes::from([object.bytes, mine.clone()].concat());
            let put = objects.put(key, next, Condition::Tag(&object.tag)).await;
            match Attempt::from(put) {
                Attempt::Done(_) => break,
                Attempt::Refused | Attempt::Unknown(_) => {
                    tokio::time::sleep(PAUSE.mul_f64(fastrand::f64())).await;
                }
                Attempt::Denied(why) => return Err(why),
                Attempt::Rejected(why) => {
                    return Err(Error::Generic {
                        store: "bucket",
                        source: why.into(),
                    });
                }
            }
        }
    }
    Ok(())
}

const WRITERS: usize = 32;
const ROUNDS: usize = 4;
const SIDES: usize = 8;
const STEPS: usize = 2;
/// The size of a nonce.
const NONCE: usize = 16;
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(120);
