//! The removal of old tombstones.

use super::super::objects::{Condition, Entry, Objects, Reading};
use super::super::retry::{Verdict, verdict};
use super::{body, names};
use crate::Failure;
use futures_util::TryStreamExt;
use futures_util::stream::iter;
use std::time::Duration;
use tokio::sync::OnceCell;

/// A tombstone must outlive every request that was sent before it and may still be applied.
const OLD: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How many names are listed at once.
const PAGE: usize = 1000;
/// How many tombstones are removed at the same time.
const AT_ONCE: usize = 8;

/// Knows whether the store deletes an object on a condition. It is tried when a tombstone is to be removed.
#[derive(Debug, Default)]
pub(super) struct Sweeper {
    can_remove: OnceCell<bool>,
}

impl Sweeper {
    /// Looks at the next objects after the one with the name `position`.
    pub(super) async fn sweep(&self, objects: &Objects, position: &str) -> Result<Option<String>, Failure> {
        let failed = |why| objects.failure(why);
        let folder = names::prefix("");
        let page = objects.list(&folder, position, PAGE).await.map_err(failed)?;
        let next = page
            .last()
            .filter(|_| page.len() == PAGE)
            .map(|last| last.key.clone());
        let now = objects.now();
        let old: Vec<Entry> = page
            .into_iter()
            .filter(|entry| body::is_tombstone(entry.size) && now.since(entry.written) > OLD)
            .collect();
        if old.is_empty() {
            return Ok(next);
        }
        let can_remove = self.can_remove.get_or_try_init(|| try_condition(objects)).await;
        if !*can_remove.map_err(failed)? {
            // All tombstones stay, so there is nothing more to look for.
            return Ok(None);
        }
        iter(old.into_iter().map(Ok))
            .try_for_each_concurrent(AT_ONCE, |entry| remove(objects, entry))
            .await
            .map_err(failed)?;
        Ok(next)
    }
}

/// If the object has changed since it was listed, it stays.
async fn remove(objects: &Objects, entry: Entry) -> object_store::Result<()> {
    let mut tag = entry.tag;
    if tag.is_empty() {
        match objects.get(&entry.key, None).await? {
            Reading::Found(object) if body::is_tombstone(object.bytes.len() as u64) => {
                tag = object.tag.to_string()
            }
            _ => return Ok(()),
        }
    }
    objects.delete_if(&entry.key, &tag).await.map(drop)
}

/// Some stores ignore the condition and delete in any case, and some reject the request.
async fn try_condition(objects: &Objects) -> object_store::Result<bool> {
    let name = format!("tried/{:032x}", fastrand::u128(..));
    let tag = objects.put(&name, body::tombstone(), Condition::None).await?;
    let kept = tried(objects.delete_if(&name, OTHER_TAG).await)? == Some(false);
    if kept && tried(objects.delete_if(&name, &tag).await)? == Some(true) {
        return Ok(objects.size(&name).await?.is_none());
    }
    objects.delete(&name).await?;
    tracing::info!(
        "tombstones of deleted records stay in the store, which cannot delete an object on a condition"
    );
    Ok(false)
}

/// `None` if the store rejects such requests. A passing failure says nothing.
fn tried(deleted: object_store::Result<bool>) -> object_store::Result<Option<bool>> {
    match deleted {
        Err(why) if matches!(verdict(&why), Verdict::Passing { .. }) => Err(why),
        deleted => Ok(deleted.ok()),
    }
}

/// The entity tag of no object.
const OTHER_TAG: &str = "\"d41d8cd98f00b204e9800998ecf8427e\"";
