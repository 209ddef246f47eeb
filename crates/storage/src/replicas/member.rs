//! This process as one of those that share the store.

use super::format::{Format, InUse, NotUsable};
use super::replica::{self, Replica};
use super::{AGAIN_AFTER, FORGOTTEN_AFTER, LAPSES_AFTER, RENEWED_EVERY, REPLICAS};
use crate::contract::{Failure, RecordStore, Value, Version};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::{Instant, sleep};

/// This process, with its record in the store.
pub struct Member {
    records: Arc<dyn RecordStore>,
    key: String,
    replica: Replica,
    /// The version of this process's record, as far as it knows.
    version: tokio::sync::Mutex<Version>,
    format: InUse,
    standing: Mutex<Standing>,
}

#[derive(Clone)]
enum Standing {
    /// It may write for a while after this moment.
    Renewed(Instant),
    /// It must not write any more.
    Barred(Arc<str>),
}

impl Member {
    /// Enters the process into the store. Creates the record of the format if there is none and `creates` says so.
    ///
    /// The process's record is written before the format is read, and an upgrade announces itself before it lists
    /// the processes. So the process sees the upgrade, or the upgrade sees the process.
    pub async fn join(
        records: Arc<dyn RecordStore>,
        replica: Replica,
        creates: bool,
    ) -> Result<Self, NotUsable> {
        let key = format!("{REPLICAS}{:032x}", fastrand::u128(..));
        let began = Instant::now();
        let version = records.create(&key, value(&replica)?).await?;
        let member = Self {
            records,
            key,
            replica,
            version: tokio::sync::Mutex::new(version),
            format: InUse::default(),
            standing: Mutex::new(Standing::Renewed(began)),
        };
        match member.read_format(creates).await {
            Ok(format) => member.format.set(format.format),
            Err(why) => {
                member.leave().await;
                return Err(why);
            }
        }
        if let Err(why) = member.forget_the_dead().await {
            tracing::warn!("cannot remove the records of processes that were killed: {why}");
        }
        Ok(member)
    }

    async fn read_format(&self, creates: bool) -> Result<Format, NotUsable> {
        let format = if creates {
            Format::read_or_create(&*self.records, self.replica.newest)
                .await?
                .0
        } else {
            let found = Format::read(&*self.records).await?;
            found.map_or(Format::of(super::FIRST), |(format, _)| format)
        };
        format.admits(self.replica.newest).map(|()| format)
    }

    /// What an operator calls this process.
    pub fn name(&self) -> String {
        self.replica.name()
    }

    /// The format in which this process writes.
    pub const fn format(&self) -> &InUse {
        &self.format
    }

    /// Renews the record. Never ends.
    pub async fn keep(&self) {
        let mut worked = true;
        loop {
            sleep(if worked { RENEWED_EVERY } else { AGAIN_AFTER }).await;
            let renewed = self.renew().await;
            match &renewed {
                Err(why) if worked => {
                    tracing::error!("this process could not renew its record in the store: {why}");
                }
                Ok(()) if !worked => tracing::info!("this process has renewed its record in the store"),
                _ => {}
            }
            worked = renewed.is_ok();
        }
    }

    /// Renews the record, then reads the store's format.
    pub(super) async fn renew(&self) -> Result<(), NotUsable> {
        let began = Instant::now();
        self.write().await?;
        let found = Format::read(&*self.records).await?;
        let format = found.map_or(Format::of(super::FIRST), |(format, _)| format);
        match format.admits(self.replica.newest) {
            Ok(()) => {}
            // The upgrade sees this process's record and does not go on.
            Err(NotUsable::Upgrading { .. }) if self.check().is_ok() => {}
            Err(why @ NotUsable::Newer { .. }) => {
                self.stand(Standing::Barred(why.to_string().into()));
                return Err(why);
            }
            // The upgrade may have taken this process for dead.
            Err(why) => return Err(why),
        }
        if self.format.get() != format.format {
            tracing::info!(
                "the store has been upgraded: from now on this process writes format {}",
                format.format
            );
            self.format.set(format.format);
        }
        self.stand(Standing::Renewed(began));
        Ok(())
    }

    async fn write(&self) -> Result<(), NotUsable> {
        let mut version = self.version.lock().await;
        let value = value(&self.replica)?;
        match self.records.swap(&self.key, &version, value.clone()).await {
            Err(Failure::Conflict) => {}
            swapped => {
                *version = swapped?;
                return Ok(());
            }
        }
        // An earlier renewal was done although it had no answer, or the record was removed.
        *version = match self.records.get_stored(&self.key).await? {
            Some(found) => self.records.swap(&self.key, &found.version, value).await?,
            None => self.records.create(&self.key, value).await?,
        };
        Ok(())
    }

    /// Fails if this process must not change the store now.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        match &*standing {
            Standing::Renewed(at) if at.elapsed() < LAPSES_AFTER => Ok(()),
            Standing::Renewed(_) => Err(Failure::Barred(
                "it could not renew its own record in the store, so it does not know whether the store was upgraded"
                    .into(),
            )),
            Standing::Barred(why) => Err(Failure::Barred(why.clone())),
        }
    }

    fn stand(&self, standing: Standing) {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    /// Removes this process's record. Nothing is lost if that fails.
    pub async fn leave(&self) {
        let version = self.version.lock().await;
        drop(self.records.delete(&self.key, &version).await);
    }

    async fn forget_the_dead(&self) -> Result<(), Failure> {
        let old = self.records.now().minus(FORGOTTEN_AFTER);
        let all = replica::all(&*self.records).await?;
        for one in all.into_iter().filter(|one| one.written < old) {
            let Some(found) = self.records.get_stored(&one.key).await? else {
                continue;
            };
            if found.written < old {
                match self.records.delete(&one.key, &found.version).await {
                    Ok(()) | Err(Failure::Conflict) => {}
                    Err(why) => return Err(why),
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("key", &self.key)
            .field("replica", &self.replica)
            .finish_non_exhaustive()
    }
}

fn value(replica: &Replica) -> Result<Value, NotUsable> {
    let line = serde_json::to_vec(replica).map_err(|why| NotUsable::Damaged(why.to_string()))?;
    Ok(bytes::Bytes::from(line).into())
}
