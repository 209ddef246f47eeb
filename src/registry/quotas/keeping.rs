//! Keeps the counters over a restart. Only the next start reads their records. It counts everything again.
//! Until that count ends, the quotas use the counters that the last process wrote. On a shared store every
//! process reads them: see `sharing.rs`.

use super::super::keys::{self, Entry, Key};
use super::super::records::unless_unreadable;
use super::super::states::usage::UsageRecord;
use super::super::typed_store::Changed;
use super::super::usage::Taken;
use super::super::{Error, Registry};
use crate::access::Maintenance;
use crate::oci::RepositoryName;
use crate::storage::Show;

impl Registry {
    /// Reads what the last process counted. Call this before the first request.
    pub async fn load_usage(&self, _: &Maintenance) -> Result<(), Error> {
        if !self.usage.is_kept() {
            return Ok(());
        }
        let store = unless_unreadable(self.records.read(&keys::usage_of_store()).await)?.flatten();
        // Without this record, the last process counted nothing.
        let Some(store) = store else { return Ok(()) };
        let mut repositories = Vec::new();
        let mut found = self.records.keys(keys::all_usage(), Show::All);
        while let Some(key) = found.next().await? {
            let Some(Entry::Usage(repository)) = Entry::parse(key.as_str()) else {
                continue;
            };
            if let Some(Some(found)) = unless_unreadable(self.records.read(&key).await)? {
                repositories.push((repository, found.record));
            }
        }
        self.usage.load(store.record, repositories);
        Ok(())
    }

    /// Writes the counters that have changed. Without quotas, removes records of earlier ones, which would be
    /// outdated when there are quotas again. Another process of a shared store may have quotas, and need them.
    pub async fn keep_usage(&self, _: &Maintenance) -> Result<(), Error> {
        let Some(_exchange) = self.usage.exchange().await else {
            if self.settings.shared {
                return Ok(());
            }
            return self.forget_usage().await;
        };
        if self.settings.shared {
            return self.share_usage().await;
        }
        let taken = self.usage.take_new();
        let kept = self.write_usage(&taken).await;
        if !matches!(kept, Ok(true)) {
            self.usage.put_back(taken);
        }
        kept.map(drop)
    }

    /// Returns whether all were written.
    async fn write_usage(&self, taken: &[Taken]) -> Result<bool, Error> {
        let mut all = true;
        for page in taken.chunks(AT_ONCE) {
            let mut changes = Vec::new();
            for Taken {
                repository, record, ..
            } in page
            {
                let key = key_of(repository.as_ref());
                let base = match self.records.read(&key).await {
                    Err(why) if why.is_damage() => {
                        self.records.freeing().replace_damaged(&key, record).await?;
                        continue;
                    }
                    found => found?.map(|found| found.base()),
                };
                let is_needed = repository.is_none() || !record.is_empty();
                if is_needed || base.is_some() {
                    changes.push(
                        self.records
                            .planned(&key, base.as_ref(), is_needed.then_some(record))?,
                    );
                }
            }
            let done = self.records.freeing().change_each(changes).await?;
            all &= done.iter().all(|done| *done != Changed::Lost);
        }
        Ok(all)
    }

    async fn forget_usage(&self) -> Result<(), Error> {
        // The store's record is deleted first: without it a start does not read the others.
        self.forget(vec![keys::usage_of_store()]).await?;
        let mut pages = self.records.pages(keys::all_usage(), String::new(), Show::All);
        while let Some(page) = pages.next().await? {
            self.forget(page).await?;
        }
        Ok(())
    }

    async fn forget(&self, keys: Vec<Key<UsageRecord>>) -> Result<(), Error> {
        let mut changes = Vec::new();
        for key in keys {
            match self.records.read(&key).await {
                Err(why) if why.is_damage() => drop(self.records.delete_damaged(&key).await?),
                found => {
                    if let Some(found) = found? {
                        changes.push(self.records.planned(
                            &key,
                            Some(&found.base()),
                            None::<&UsageRecord>,
                        )?);
                    }
                }
            }
        }
        self.records.freeing().change_each(changes).await.map(drop)
    }
}

pub(super) fn key_of(repository: Option<&RepositoryName>) -> Key<UsageRecord> {
    match repository {
        Some(repository) => keys::usage(repository.as_str()),
        None => keys::usage_of_store(),
    }
}

/// How many records are written with one commit. Pushes wait for it.
const AT_ONCE: usize = 100;
