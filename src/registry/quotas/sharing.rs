//! The counters on a store that several processes share. Each adds its own differences to the stored counters by
//! compare-and-swap, so their sum is right. Then it reads the counters that the others have written.

use super::super::keys::{self, Entry};
use super::super::states::Next;
use super::super::states::usage::UsageRecord;
use super::super::usage::Taken;
use super::super::{Error, Registry};
use super::keeping::key_of;
use crate::access::Maintenance;
use crate::oci::RepositoryName;
use crate::storage::Show;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use std::collections::HashSet;
use std::time::Duration;

/// How a difference is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Write {
    /// It is added to what is stored.
    Add,
    /// It is the first count of the store. If another process has written one, that stays.
    Create,
}

impl Registry {
    /// Whether the counters of a shared store are known, so that a start need not count. Full passes of the
    /// collector count now and then.
    #[must_use]
    pub fn shares_known_usage(&self, _: &Maintenance) -> bool {
        self.settings.shared && self.usage.is_known()
    }

    /// Writes the differences of this process, reads the counters, and corrects them if a count is due.
    pub(super) async fn share_usage(&self) -> Result<(), Error> {
        self.write_differences(self.usage.take_new(), Write::Add).await?;
        let was_known = self.usage.is_known();
        if was_known {
            self.learn_usage().await?;
        }
        let how = if was_known { Write::Add } else { Write::Create };
        self.write_differences(self.usage.corrections(), how).await
    }

    /// The store's counter comes last, because it says that the others are there.
    async fn write_differences(&self, mut taken: Vec<Taken>, how: Write) -> Result<(), Error> {
        let last = taken.pop();
        let written: Vec<_> = stream::iter(taken)
            .map(|one| self.write_difference(one, how).boxed())
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        if let Some(why) = written.into_iter().find_map(Result::err) {
            self.usage.put_back(last.into_iter().collect());
            return Err(why);
        }
        match last {
            Some(last) => self.write_difference(last, how).await,
            None => Ok(()),
        }
    }

    async fn write_difference(&self, taken: Taken, how: Write) -> Result<(), Error> {
        let key = key_of(taken.repository.as_ref());
        let records = self.records.freeing();
        let is_needed = |record: &UsageRecord| taken.repository.is_none() || !record.is_empty();
        let changed = records
            .change(&key, |found| {
                let stored = found.map(|found| found.record);
                if let (Write::Create, Some(stored)) = (how, &stored) {
                    return Ok(Next::Keep(stored.clone()));
                }
                let next = stored.unwrap_or_default().plus(taken.added);
                Ok(if is_needed(&next) {
                    Next::Write(next.clone(), next)
                } else {
                    Next::Delete(next)
                })
            })
            .await;
        let stored = match changed {
            Ok((stored, _)) => stored,
            Err(why) if why.is_damage() => {
                records.replace_damaged(&key, &taken.record).await?;
                taken.record.clone()
            }
            Err(why) => {
                self.usage.put_back(vec![taken]);
                return Err(why);
            }
        };
        self.usage.learn(taken.repository.as_ref(), &stored);
        Ok(())
    }

    /// Reads the counters that were written since the last time.
    async fn learn_usage(&self) -> Result<(), Error> {
        let now = self.records.now();
        let since = self.usage.replace_known_until(now.minus(OVERLAP));
        let mut listed = HashSet::new();
        let mut pages = self.records.pages(keys::all_usage(), String::new(), Show::All);
        while let Some(page) = pages.next_written().await? {
            for (key, written) in page {
                let Some(Entry::Usage(repository)) = Entry::parse(key.as_str()) else {
                    continue;
                };
                if since.is_none_or(|since| written >= since) {
                    self.learn(Some(&repository)).await?;
                }
                listed.insert(repository);
            }
        }
        // An empty repository has no record.
        for repository in self.usage.in_use_apart_from(&listed) {
            self.learn(Some(&repository)).await?;
        }
        self.learn(None).await
    }

    async fn learn(&self, repository: Option<&RepositoryName>) -> Result<(), Error> {
        match self.records.read(&key_of(repository)).await {
            // The next difference replaces it.
            Err(why) if why.is_damage() => Ok(()),
            found => {
                let stored = found?.map(|found| found.record).unwrap_or_default();
                self.usage.learn(repository, &stored);
                Ok(())
            }
        }
    }
}

const AT_ONCE: usize = 16;
/// The store's times may have whole seconds, and a record may be written while others are listed.
const OVERLAP: Duration = Duration::from_secs(60);
