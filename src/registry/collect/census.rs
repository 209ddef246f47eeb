//! Counts what the store holds, for the quotas.

use super::super::keys::{self, Entry, Prefix};
use super::super::records::{Stored, unless_unreadable};
use super::super::states::manifest::ManifestRecord;
use super::super::{Error, Registry};
use super::{Collector, Options, Pace};
use crate::access::Maintenance;
use crate::storage::Show;

impl Registry {
    /// Counts everything that the store holds, and corrects the counters of the quotas. It reads every link,
    /// blob and manifest. Without quotas it does nothing. A full pass of a collector ends with this too.
    /// Returns `false` without counting if another count is going on.
    pub async fn count_usage(&self, _: &Maintenance, pace: Pace) -> Result<bool, Error> {
        if !self.usage.is_kept() {
            return Ok(true);
        }
        let options = Options {
            pace,
            ..Options::default()
        };
        Collector::new(self, &options).census().await
    }
}

impl Collector {
    /// Returns whether it counted.
    pub(super) async fn census(&self) -> Result<bool, Error> {
        let Some(mut counting) = self.registry.usage.begin_census() else {
            return Ok(false);
        };
        let census = &mut counting.census;
        self.each(keys::all_links(), |entry, link| {
            if let (Entry::Link(_, repository), Some(_)) = (entry, &link.generation) {
                census.link(repository, link.size);
            }
        })
        .await?;
        self.each(keys::blobs(), |_, blob| census.blob(blob.size)).await?;
        let mut after = String::new();
        while let Some(repository) = self.next_repository(&mut after).await? {
            self.each(keys::manifests(&repository), |_, manifest: ManifestRecord| {
                if manifest.is_readable() {
                    census.manifest(repository.clone(), manifest.bytes.len() as u64);
                }
            })
            .await?;
        }
        if self.registry.settings.shared {
            self.registry.usage.end_shared_census(counting);
        } else {
            self.registry.usage.end_census(counting);
        }
        Ok(true)
    }

    /// What cannot be read is not counted.
    async fn each<T: Stored>(&self, prefix: Prefix<T>, mut count: impl FnMut(Entry, T)) -> Result<(), Error> {
        let mut keys = self.registry.records.keys(prefix, Show::All);
        while let Some(key) = keys.next().await? {
            self.breath.take().await;
            let found = unless_unreadable(self.registry.records.read(&key).await)?;
            if let (Some(entry), Some(found)) = (Entry::parse(key.as_str()), found.flatten()) {
                count(entry, found.record);
            }
        }
        Ok(())
    }
}
