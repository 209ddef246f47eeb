//! The probe at the start of a server. Each start makes eight small requests on an object of its own.

use super::super::objects::{Condition, Entry, Objects, Reading};
use super::attempt::Attempt;
use super::report::{Need, Verdict};
use super::{PASSED, PREFIX, Run, VERSION, lists, nonce, races};
use bytes::Bytes;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Why a store must not be used by more than one replica, or could not be probed.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    #[error(
        "{store} {what}. Replicas would overwrite each other's records there. Use a store that keeps the conditions of \
         writes (docs/reference/stores.md has a list, and `wharfinger probe FILE` tries one)"
    )]
    Lacks { store: String, what: String },
    #[error("{store} could not be probed: {why}")]
    NotProbed { store: String, why: String },
}

impl Unfit {
    fn lacks(objects: &Objects, what: impl fmt::Display) -> Self {
        Self::Lacks {
            store: objects.name().to_owned(),
            what: what.to_string(),
        }
    }

    fn not_probed(objects: &Objects, why: impl fmt::Display) -> Self {
        Self::NotProbed {
            store: objects.name().to_owned(),
            why: why.to_string(),
        }
    }
}

/// Creates an object, creates it again, updates it, lists it, and updates its old state. The store must refuse the
/// second creation and the last update, and list what was just written.
pub(in crate::bucket) async fn at_start(objects: &Objects) -> Result<(), Unfit> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..ATTEMPTS {
        match attempt(objects).await {
            Ok(()) => return Ok(()),
            // An outage says nothing about the store's abilities.
            Err(Stop::Unknown(_)) => tokio::time::sleep(pause).await,
            Err(stop) => return Err(stop.unfit(objects)),
        }
        pause *= 2;
    }
    attempt(objects).await.map_err(|stop| stop.unfit(objects))
}

/// Runs the races if no start before this one has, and notes that they were won.
pub(in crate::bucket) async fn first(objects: &Arc<Objects>) -> Result<(), Unfit> {
    if has_passed(objects).await? {
        return Ok(());
    }
    tracing::info!(
        "{} is probed, since it is used for the first time",
        objects.name()
    );
    let endpoints = [objects.clone()];
    let run = Run::new(&endpoints);
    let mut findings = races::all(&run).await;
    findings.extend(lists::all(&run).await);
    run.clean(objects).await;
    let missing = findings
        .iter()
        .find(|one| one.need != Need::Nothing && one.verdict != Verdict::Yes);
    match missing {
        Some(one) if one.verdict == Verdict::No => {
            let what = format!("lacks an ability ({}): {}", one.name, one.details);
            return Err(Unfit::lacks(objects, what));
        }
        Some(one) => return Err(Unfit::not_probed(objects, &one.details)),
        None => {}
    }
    let passed = serde_json::to_vec(&Passed { version: VERSION }).unwrap_or_default();
    let written = objects.put(PASSED, Bytes::from(passed), Condition::None).await;
    written.map(drop).map_err(|why| Unfit::not_probed(objects, why))
}

/// The object `probe/passed`.
#[derive(Serialize)]
struct Passed {
    version: u32,
}

async fn has_passed(objects: &Objects) -> Result<bool, Unfit> {
    let read = objects.get(PASSED, None).await;
    match read.map_err(|why| Unfit::not_probed(objects, why))? {
        Reading::Found(object) => {
            let passed: Option<serde_json::Value> = wharfinger_base::object::read(&object.bytes).ok();
            let version = passed.as_ref().and_then(|passed| passed.get("version"));
            Ok(version.and_then(serde_json::Value::as_u64) >= Some(u64::from(VERSION)))
        }
        Reading::Absent | Reading::Same => Ok(false),
    }
}

/// What ends an attempt.
enum Stop {
    Lacks(String),
    Unknown(String),
}

impl Stop {
    fn unfit(self, objects: &Objects) -> Unfit {
        match self {
            Self::Lacks(what) => Unfit::lacks(objects, what),
            Self::Unknown(why) => Unfit::not_probed(objects, why),
        }
    }
}

async fn attempt(objects: &Objects) -> Result<(), Stop> {
    let key = format!("{PREFIX}{:032x}", fastrand::u128(..));
    let found = steps(objects, &key).await;
    drop(objects.delete(&key).await);
    found
}

async fn steps(objects: &Objects, key: &str) -> Result<(), Stop> {
    let lacks = |what: &str| Stop::Lacks(what.to_owned());
    let created = put(objects, key, nonce(), Condition::Absent).await?;
    let created = created.ok_or_else(|| lacks("refuses to create an object that does not exist"))?;
    if put(objects, key, nonce(), Condition::Absent).await?.is_some() {
        return Err(lacks(
            "creates an object twice, although the second request forbids that",
        ));
    }
    let last = Bytes::from([nonce(), nonce()].concat());
    let updated = put(objects, key, last.clone(), Condition::Tag(&created)).await?;
    let updated = updated.ok_or_else(|| lacks("refuses to update an object that has not changed"))?;
    if updated == created {
        return Err(lacks("has one entity tag for two states of an object"));
    }
    let (read, listed) = futures_util::future::join(objects.get(key, None), objects.list(key, "", 2)).await;
    match read.map_err(|why| Stop::Unknown(why.to_string()))? {
        Reading::Found(object) if object.bytes == last => {}
        _ => return Err(lacks("returns an old state of an object that was just updated")),
    }
    let listed = listed.map_err(|why| Stop::Unknown(why.to_string()))?;
    let is_last = |entry: &Entry| entry.key == key && usize::try_from(entry.size) == Ok(last.len());
    if !listed.iter().any(is_last) {
        return Err(lacks("does not list an object that was just updated"));
    }
    if put(objects, key, nonce(), Condition::Tag(&created))
        .await?
        .is_some()
    {
        return Err(lacks(
            "updates an object that has changed since, although the request forbids that",
        ));
    }
    Ok(())
}

/// Returns the new entity tag, or `None` if the condition did not hold.
async fn put(
    objects: &Objects,
    key: &str,
    bytes: Bytes,
    condition: Condition<'_>,
) -> Result<Option<Arc<str>>, Stop> {
    match objects.put(key, bytes, condition).await.into() {
        Attempt::Done(tag) => Ok(Some(tag)),
        Attempt::Refused => Ok(None),
        Attempt::Rejected(why) => Err(Stop::Lacks(format!("rejects a conditional write ({why})"))),
        Attempt::Unknown(why) => Err(Stop::Unknown(why)),
    }
}

const ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
