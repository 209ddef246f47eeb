//! Turns a store over to the next format.

use super::DEAD_AFTER;
use super::format::{Format, NotUsable};
use super::replica::{self, Replica};
use crate::contract::{Failure, RecordStore, Version};
use crate::{STORE_ID, Value};

/// What an upgrade did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgraded {
    /// The store already had this format, the newest that this version knows.
    Already(u8),
    Done {
        from: u8,
        to: u8,
    },
}

/// Why a store was not upgraded.
#[derive(Debug, thiserror::Error)]
pub enum NotUpgraded {
    #[error(transparent)]
    NotUsable(#[from] NotUsable),
    #[error("there is no store there: `wharfinger serve` creates one, in the newest format")]
    NoStore,
    #[error(
        "nothing was changed, because an older version uses the store: {}. Stop it, or replace it by this version, and run the command again. \
         A process that was killed counts for {} seconds",
        list(.0), DEAD_AFTER.as_secs()
    )]
    InUse(Vec<Replica>),
    #[error("another upgrade of the store ran at the same time: run the command again")]
    Overtaken,
    /// The announcement of the upgrade is still there.
    #[error(
        "{why}. The announcement of the upgrade could not be taken back ({failure}), so older versions do not start: run the command again"
    )]
    StillAnnounced { why: Box<Self>, failure: Failure },
}

/// Upgrades the store to the newest format that this version knows. Fails if a process runs that does not know it.
///
/// It first announces the upgrade, so that no older version starts. Then it looks for processes that have renewed
/// their records lately. If it dies in between, older versions do not start until it is run again.
pub async fn upgrade(records: &dyn RecordStore, newest: u8) -> Result<Upgraded, NotUpgraded> {
    if records
        .get_stored(STORE_ID)
        .await
        .map_err(NotUsable::from)?
        .is_none()
    {
        return Err(NotUpgraded::NoStore);
    }
    let (present, version) = Format::read_or_create(records, newest).await?;
    present.admits(newest)?;
    if present.format == newest {
        return Ok(Upgraded::Already(newest));
    }
    let announced = Format {
        next: Some(newest),
        ..present
    };
    let version = swap(records, &version, announced.value()?).await?;
    let to = match look(records, newest).await {
        Ok(()) => Format::of(newest),
        Err(why) => {
            let back = Format::of(present.format).value()?;
            return Err(match swap(records, &version, back).await {
                Err(NotUpgraded::NotUsable(NotUsable::Storage(failure))) => NotUpgraded::StillAnnounced {
                    why: Box::new(why),
                    failure,
                },
                _ => why,
            });
        }
    };
    swap(records, &version, to.value()?).await?;
    Ok(Upgraded::Done {
        from: present.format,
        to: newest,
    })
}

async fn swap(records: &dyn RecordStore, from: &Version, to: Value) -> Result<Version, NotUpgraded> {
    match records.swap(super::FORMAT_KEY, from, to).await {
        Err(Failure::Conflict) => Err(NotUpgraded::Overtaken),
        swapped => Ok(swapped.map_err(NotUsable::from)?),
    }
}

/// Fails if a living process does not know this format.
async fn look(records: &dyn RecordStore, newest: u8) -> Result<(), NotUpgraded> {
    let mut older = Vec::new();
    let all = replica::all(records).await.map_err(NotUsable::from)?;
    for one in all {
        if records.now().since(one.written) >= DEAD_AFTER {
            continue;
        }
        let Some(found) = records.get_stored(&one.key).await.map_err(NotUsable::from)? else {
            continue;
        };
        let replica: Replica = serde_json::from_slice(&found.value)
            .map_err(|why| NotUsable::Damaged(format!("{}: {why}", one.key)))?;
        if replica.newest < newest {
            older.push(replica);
        }
    }
    if older.is_empty() {
        Ok(())
    } else {
        Err(NotUpgraded::InUse(older))
    }
}

fn list(replicas: &[Replica]) -> String {
    let all: Vec<_> = replicas.iter().map(ToString::to_string).collect();
    all.join("; ")
}
