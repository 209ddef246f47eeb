//! The probe at the start of a server. Each start makes seven small requests on an object of its own.

use super::super::objects::{Condition, Entry, Objects, Reading};
use super::attempt::{Attempt, is_denied};
use super::report::{Need, Verdict};
use super::{PASSED, PREFIX, Run, VERSION, lists, nonce, races};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Why a store must not be used, or could not be probed.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    #[error(
        "{store} {what}. Replicas would overwrite each other's records there. Use a store that keeps the conditions of \
         writes (docs/reference/stores.md has a list, and `wharfinger probe FILE` tries one). If only one registry will \
         ever use the bucket, set storage.storageDriver.singleReplica: true"
    )]
    NoConditions { store: String, what: String },
    #[error(
        "{store} {what}. No registry can use it: use another store (docs/reference/stores.md has a list, and \
         `wharfinger probe FILE` tries one)"
    )]
    Lacks { store: String, what: String },
    #[error("{store} could not be probed: {why}")]
    NotProbed { store: String, why: String },
}

impl Unfit {
    fn not_probed(objects: &Objects, why: &object_store::Error) -> Self {
        Self::NotProbed {
            store: objects.name().to_owned(),
            why: objects.explain(why),
        }
    }
}

/// Returns if any number of replicas may use the bucket.
pub(in crate::bucket) async fn for_replicas(objects: &Arc<Objects>) -> Result<(), Unfit> {
    at_start(objects).await?;
    if passed(objects).await? != Some(Order::OfTheStore) {
        races(objects).await?;
        note(objects, Order::OfTheStore).await?;
    }
    Ok(())
}

/// Returns if one process may use the bucket. If the store does not keep conditions, `objects` does from now on.
pub(in crate::bucket) async fn for_one(objects: &Arc<Objects>) -> Result<(), Unfit> {
    let passed = passed(objects).await?;
    if passed != Some(Order::OfTheProcess) {
        let of_the_store = async {
            at_start(objects).await?;
            match passed {
                Some(_) => Ok(()),
                None => races(objects).await,
            }
        };
        match of_the_store.await {
            Err(Unfit::NoConditions { what, .. }) => {
                tracing::warn!(
                    "{} {what}. This registry keeps its writes in order by itself, so no other may ever use the bucket",
                    objects.name()
                );
            }
            Ok(()) if passed.is_some() => return Ok(()),
            Ok(()) => return note(objects, Order::OfTheStore).await,
            unfit => return unfit,
        }
    }
    objects.keep_order();
    at_start(objects).await?;
    if passed.is_none() {
        races(objects).await?;
    }
    if passed != Some(Order::OfTheProcess) {
        note(objects, Order::OfTheProcess).await?;
    }
    Ok(())
}

/// Creates an object, creates it again, updates it, lists it, and updates its old state. The store must refuse the
/// second creation and the last update, and list what was just written.
pub(super) async fn at_start(objects: &Objects) -> Result<(), Unfit> {
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

/// The races, and what lists must show.
async fn races(objects: &Arc<Objects>) -> Result<(), Unfit> {
    tracing::info!(
        "{} is probed, since it is used for the first time",
        objects.name()
    );
    let endpoints = [objects.clone()];
    let run = Run::new(&endpoints);
    let mut findings = lists::all(&run).await;
    findings.extend(races::all(&run).await);
    run.clean(objects).await;
    let missing = findings
        .iter()
        .find(|one| one.need != Need::Nothing && one.verdict != Verdict::Yes);
    match missing {
        Some(one) if one.verdict == Verdict::No => {
            let what = format!("lacks an ability ({}): {}", one.name, one.details);
            let stop = match one.need {
                Need::Replicas => Stop::NoConditions(what),
                Need::Always | Need::Nothing => Stop::Lacks(what),
            };
            Err(stop.unfit(objects))
        }
        Some(one) => Err(Stop::Unknown(one.details.clone()).unfit(objects)),
        None => Ok(()),
    }
}

async fn note(objects: &Objects, order: Order) -> Result<(), Unfit> {
    let passed = Passed {
        version: VERSION,
        order,
    };
    let passed = serde_json::to_vec(&passed).unwrap_or_default();
    let written = objects.put(PASSED, Bytes::from(passed), Condition::None).await;
    written.map(drop).map_err(|why| Unfit::not_probed(objects, &why))
}

/// Who keeps conditional writes in order.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Order {
    #[default]
    OfTheStore,
    /// The store ignores conditions.
    OfTheProcess,
}

/// The object `probe/passed`.
#[derive(Deserialize, Serialize)]
struct Passed {
    version: u32,
    #[serde(default)]
    order: Order,
}

/// How the races were won, if they were.
async fn passed(objects: &Objects) -> Result<Option<Order>, Unfit> {
    let read = objects.get(PASSED, None).await;
    match read.map_err(|why| Unfit::not_probed(objects, &why))? {
        Reading::Found(object) => {
            let passed: Option<Passed> = wharfinger_base::object::read(&object.bytes).ok();
            Ok(passed
                .filter(|passed| passed.version >= VERSION)
                .map(|passed| passed.order))
        }
        Reading::Absent | Reading::Same => Ok(None),
    }
}

/// What ends an attempt.
enum Stop {
    NoConditions(String),
    Lacks(String),
    Denied(String),
    Unknown(String),
}

impl Stop {
    fn unknown(objects: &Objects, why: &object_store::Error) -> Self {
        let explained = objects.explain(why);
        if is_denied(why) {
            Self::Denied(explained)
        } else {
            Self::Unknown(explained)
        }
    }

    fn unfit(self, objects: &Objects) -> Unfit {
        let store = objects.name().to_owned();
        match self {
            Self::NoConditions(what) => Unfit::NoConditions { store, what },
            Self::Lacks(what) => Unfit::Lacks { store, what },
            Self::Denied(why) | Self::Unknown(why) => Unfit::NotProbed { store, why },
        }
    }
}

async fn attempt(objects: &Objects) -> Result<(), Stop> {
    let key = format!("{PREFIX}{:032x}", fastrand::u128(..));
    let found = steps(objects, &key).await;
    let removed = objects.delete(&key).await;
    found?;
    removed.map_err(|why| Stop::Unknown(why.to_string()))
}

async fn steps(objects: &Objects, key: &str) -> Result<(), Stop> {
    let lacks = |what: &str| Stop::Lacks(what.to_owned());
    let ignores = |what: &str| Stop::NoConditions(what.to_owned());
    let created = put(objects, key, nonce(), Condition::Absent).await?;
    let created = created.ok_or_else(|| ignores("refuses to create an object that does not exist"))?;
    if put(objects, key, nonce(), Condition::Absent).await?.is_some() {
        return Err(ignores(
            "creates an object twice, although the second request forbids that",
        ));
    }
    let last = Bytes::from([nonce(), nonce()].concat());
    let updated = put(objects, key, last.clone(), Condition::Tag(&created)).await?;
    let updated = updated.ok_or_else(|| ignores("refuses to update an object that has not changed"))?;
    if updated == created {
        return Err(lacks("has one entity tag for two states of an object"));
    }
    let (read, listed) = futures_util::future::join(objects.get(key, None), objects.list(key, "", 2)).await;
    match read.map_err(|why| Stop::unknown(objects, &why))? {
        Reading::Found(object) if object.bytes == last => {}
        _ => return Err(lacks("returns an old state of an object that was just updated")),
    }
    let listed = listed.map_err(|why| Stop::unknown(objects, &why))?;
    let is_last = |entry: &Entry| entry.key == key && usize::try_from(entry.size) == Ok(last.len());
    if !listed.iter().any(is_last) {
        return Err(lacks("does not list an object that was just updated"));
    }
    if put(objects, key, nonce(), Condition::Tag(&created))
        .await?
        .is_some()
    {
        return Err(ignores(
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
        Attempt::Rejected(why) => Err(Stop::NoConditions(format!("rejects a conditional write ({why})"))),
        Attempt::Denied(why) | Attempt::Unknown(why) => Err(Stop::unknown(objects, &why)),
    }
}

const ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
