//! The object `holder` of a bucket that only one process may use: it names that process, which renews it. Another
//! one is refused while it is young.
//!
//! Where the service keeps conditions, the object changes only by them, so one process at a time has the bucket.
//! Elsewhere this rests on time: `docs/design/protocol.md` says what may then happen.

use super::fence::Sign as SignOfLife;
use super::objects::{Condition, Object, Objects, Reading};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wharfinger_base::clock::Timestamp;

/// Why a process may not use a bucket that is for one process.
#[derive(Debug, thiserror::Error)]
pub enum NotAlone {
    #[error(
        "{store} is in use by another registry with storage.storageDriver.singleReplica: {holder}, which was last seen \
         {ago} s ago. Stop that registry, and this one can start at once. If it has crashed, this one can start in \
         {wait} s. If several registries shall use the bucket, remove singleReplica from all of them"
    )]
    Held {
        store: String,
        holder: String,
        ago: u64,
        wait: u64,
    },
    #[error("the object {key} of {store} cannot be used: {why}")]
    Failed { store: String, key: String, why: String },
}

/// How often a holder renews its object, and when that counts as abandoned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub every: Duration,
    /// The age, by the store's clock, from which another process may take the bucket.
    pub old: Duration,
    /// Where conditions are ignored, two processes may write at the same time. The one whose object is there after
    /// this pause has the bucket.
    pub pause: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(15),
            old: Duration::from_secs(90),
            pause: Duration::from_secs(3),
        }
    }
}

/// What the object says.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
struct Holder {
    /// Drawn at each start.
    id: String,
    host: String,
    process: u32,
    /// By the store's clock.
    since: String,
    /// Makes each state differ from those before.
    renewed: u64,
}

/// This process has the bucket, until the value is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    objects: Arc<Objects>,
    id: String,
    stop: oneshot::Sender<()>,
    renewing: JoinHandle<()>,
}

/// An error if another process has the bucket.
pub(super) async fn refuse_if_held(objects: &Objects, times: Times) -> Result<(), NotAlone> {
    let found = read(objects).await?;
    found.map_or(Ok(()), |(object, holder)| {
        unless_young(objects, &object, &holder, times)
    })
}

/// Takes the bucket.
pub(super) async fn take(objects: &Arc<Objects>, times: Times) -> Result<Hold, NotAlone> {
    let found = read(objects).await?;
    if let Some((object, holder)) = &found {
        unless_young(objects, object, holder, times)?;
        tracing::warn!(
            "takes {} from {holder}, which has not been seen for {} s",
            objects.name(),
            objects.now().since(object.written).as_secs()
        );
    }
    let mine = Holder::new(objects.now());
    let sign = SignOfLife::now();
    let condition = match &found {
        Some((object, _)) => Condition::Tag(&object.tag),
        None => Condition::Absent,
    };
    let taken = objects.put_unfenced(KEY, mine.bytes(), condition).await;
    if objects.keeps_order() {
        tokio::time::sleep(times.pause).await;
    }
    let tag = match (read(objects).await?, taken) {
        (Some((object, holder)), _) if holder.id == mine.id => object.tag,
        (_, Err(why)) if found.is_some() && !matches!(why, object_store::Error::Precondition { .. }) => {
            return Err(failed(objects, objects.explain(&why)));
        }
        (Some((object, holder)), _) => return Err(held(objects, &object, &holder, times)),
        (None, Err(why)) => return Err(failed(objects, objects.explain(&why))),
        (None, Ok(_)) => return Err(failed(objects, "it was written and is missing")),
    };
    objects.fence().held(sign);
    let id = mine.id.clone();
    let stop = oneshot::channel();
    let renewing = Renewing {
        objects: Arc::downgrade(objects),
        mine,
        tag: Some(tag),
        every: times.every,
    };
    Ok(Hold {
        objects: objects.clone(),
        id,
        stop: stop.0,
        renewing: tokio::spawn(renewing.until(stop.1)),
    })
}

impl Hold {
    /// Gives the bucket back, so that another process need not wait. This one writes nothing afterwards.
    pub(super) async fn release(self) {
        let Self {
            objects,
            id,
            stop,
            renewing,
        } = self;
        let _ = stop.send(());
        drop(renewing.await);
        let has_it = objects.fence().check().is_ok();
        objects.fence().close("this registry has stopped");
        if has_it
            && let Ok(Some((_, holder))) = read(&objects).await
            && holder.id == id
            && let Err(why) = objects.delete_unfenced(KEY).await
        {
            tracing::warn!(
                "cannot remove the object {}, so the next start must wait until it is old: {why}",
                objects.whole_key(KEY)
            );
        }
    }
}

impl Holder {
    fn new(since: Timestamp) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self {
            id: format!("{:032x}", fastrand::u128(..)),
            host: host.trim().to_owned(),
            process: std::process::id(),
            since: since.to_string(),
            renewed: 0,
        }
    }

    fn bytes(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "process {} on {}, since {}",
            self.process, self.host, self.since
        )
    }
}

/// Renews the object.
struct Renewing {
    objects: Weak<Objects>,
    mine: Holder,
    /// What the object was last. `None` if somebody removed it.
    tag: Option<Arc<str>>,
    every: Duration,
}

impl Renewing {
    async fn until(mut self, mut stop: oneshot::Receiver<()>) {
        loop {
            tokio::select! {
                _ = &mut stop => return,
                () = tokio::time::sleep(self.every) => {}
            }
            let Some(objects) = self.objects.upgrade() else {
                return;
            };
            let had_it = objects.fence().check().is_ok();
            match self.renew(&objects).await {
                Ok(()) => {}
                Err(Some(other)) => {
                    let name = objects.name();
                    let why = format!(
                        "nothing is written any more, because another registry has taken {name}: {other}. Stop one of \
                         the two, and restart this one if it is the other"
                    );
                    tracing::error!("{why}");
                    objects.fence().close(why);
                    return;
                }
                Err(None) => {
                    if let Err(why) = objects.fence().check()
                        && had_it
                    {
                        tracing::error!("{why}");
                    }
                }
            }
        }
    }

    /// An error without a holder if it is not known who has the bucket.
    async fn renew(&mut self, objects: &Objects) -> Result<(), Option<Holder>> {
        let sign = SignOfLife::now();
        self.mine.renewed += 1;
        let condition = self.tag.as_deref().map_or(Condition::Absent, Condition::Tag);
        if let Ok(tag) = objects.put_unfenced(KEY, self.mine.bytes(), condition).await {
            self.tag = Some(tag);
            objects.fence().held(sign);
            return Ok(());
        }
        match read(objects).await {
            Ok(Some((object, holder))) if holder.id == self.mine.id => {
                self.tag = Some(object.tag);
                if holder == self.mine {
                    objects.fence().held(sign);
                }
                Ok(())
            }
            Ok(Some((_, other))) => Err(Some(other)),
            Ok(None) => {
                self.tag = None;
                Err(None)
            }
            Err(_) => Err(None),
        }
    }
}

async fn read(objects: &Objects) -> Result<Option<(Object, Holder)>, NotAlone> {
    match objects.get(KEY, None).await {
        Ok(Reading::Found(object)) => match wharfinger_base::object::read(&object.bytes) {
            Ok(holder) => Ok(Some((object, holder))),
            Err(why) => Err(failed(
                objects,
                format!("it is not understood ({why}): remove it if no registry runs"),
            )),
        },
        Ok(Reading::Absent | Reading::Same) => Ok(None),
        Err(why) => Err(failed(objects, objects.explain(&why))),
    }
}

fn unless_young(objects: &Objects, object: &Object, holder: &Holder, times: Times) -> Result<(), NotAlone> {
    if objects.now().since(object.written) < times.old {
        return Err(held(objects, object, holder, times));
    }
    Ok(())
}

fn held(objects: &Objects, object: &Object, holder: &Holder, times: Times) -> NotAlone {
    let age = objects.now().since(object.written);
    NotAlone::Held {
        store: objects.name().to_owned(),
        holder: holder.to_string(),
        ago: age.as_secs(),
        // The times of a store may have whole seconds.
        wait: times.old.saturating_sub(age).as_secs() + 1,
    }
}

fn failed(objects: &Objects, why: impl std::fmt::Display) -> NotAlone {
    NotAlone::Failed {
        store: objects.name().to_owned(),
        key: objects.whole_key(KEY),
        why: why.to_string(),
    }
}

const KEY: &str = "holder";

#[cfg(test)]
mod tests;
