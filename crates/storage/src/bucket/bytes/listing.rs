//! Which names have bytes: an object, rests, or a multipart upload.

use super::core::Core;
use super::keys;
use crate::bucket::uploads::Marker;
use crate::{Failure, Written};
use std::collections::BTreeMap;
use wharfinger_base::clock::Timestamp;

/// Names, each with the time of its last change.
pub(super) type Names = BTreeMap<String, Timestamp>;

/// How many keys are listed at once.
const PAGE: usize = 1000;

impl Core {
    /// Up to `limit` names after `after`. A name has all its bytes in one list, so that a collector also finds
    /// what a process left that crashed.
    pub(super) async fn list(&self, after: &str, limit: usize) -> Result<Vec<Written>, Failure> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let (mut names, end) = self.objects_after(after, limit).await?;
        self.add_uploads(&mut names, after, end.as_deref()).await?;
        let found = names.into_iter().take(limit);
        Ok(found.map(|(key, written)| Written { key, written }).collect())
    }

    /// At least `limit` names that have objects, and the last one. No last one if these are all.
    async fn objects_after(&self, after: &str, limit: usize) -> Result<(Names, Option<String>), Failure> {
        let mut names = Names::new();
        let mut last = keys::behind(after);
        let most = PAGE.min(limit.saturating_add(1));
        loop {
            let page = self.objects.list(keys::ALL, &last, most).await;
            let page = page.map_err(|why| self.failed(why))?;
            for entry in &page {
                if let Some(name) = keys::name_at(&entry.key) {
                    note(&mut names, name, entry.written);
                }
            }
            let Some(end) = page.last().filter(|_| page.len() == most) else {
                return Ok((names, None));
            };
            last.clone_from(&end.key);
            if names.len() > limit {
                // The last name may have more objects, and the caller gets those before it.
                let end = names.last_key_value().map(|(name, _)| name.clone());
                return Ok((names, end));
            }
        }
    }

    /// Adds the names after `after` and up to `end` that have a multipart upload. A service need not have this
    /// list, nor its order.
    async fn add_uploads(&self, names: &mut Names, after: &str, end: Option<&str>) -> Result<(), Failure> {
        let mut next = Some(Marker {
            key: self.objects.whole_key(&keys::behind(after)),
            upload: String::new(),
        });
        while let Some(marker) = next {
            let page = match self.objects.uploads(keys::ALL, &marker).await {
                Ok(page) => page,
                Err(why) => {
                    tracing::debug!("could not list the uploads to the bucket: {why}");
                    return Ok(());
                }
            };
            let mut past = false;
            for found in &page.found {
                let Some(name) = keys::name_at(&found.key) else {
                    continue;
                };
                past |= end.is_some_and(|end| name > end);
                if name > after && end.is_none_or(|end| name <= end) {
                    note(names, name, found.begun.unwrap_or(self.objects.now()));
                }
            }
            next = page.next.filter(|next| *next != marker && !past);
        }
        Ok(())
    }
}

pub(super) fn note(names: &mut Names, name: &str, written: Timestamp) {
    let last = names.entry(name.to_owned()).or_insert(written);
    *last = written.max(*last);
}
