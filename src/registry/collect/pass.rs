//! One walk through the whole store.

use super::super::Error;
use super::super::keys::{self, Entry, Prefix};
use super::super::states::manifest::ManifestRecord;
use super::super::states::pass::{Part, PassRecord};
use super::Collector;
use super::report::{Notes, Phase};
use super::spot::Spot;
use crate::oci::RepositoryName;
use crate::storage::Show;
use std::time::Duration;
use tokio::time::Instant;

pub(super) struct Pass<'a> {
    collector: &'a Collector,
    /// Whether it continues where an earlier pass stopped.
    resumes: bool,
}

impl<'a> Pass<'a> {
    pub(super) const fn new(collector: &'a Collector, resumes: bool) -> Self {
        Self { collector, resumes }
    }

    pub(super) async fn run(&self, notes: &mut Notes<'_>) -> Result<(), Error> {
        let position = if self.resumes {
            self.collector.position().await
        } else {
            None
        };
        if position.is_some() {
            notes.resumes();
        }
        let (after, spot) = match position {
            None => (Some(String::new()), Spot::BEGIN),
            Some(PassRecord {
                part: Part::Repositories,
                after,
            }) => (Some(after), Spot::BEGIN),
            Some(PassRecord {
                part: Part::Blobs,
                after,
            }) => (None, after.parse().unwrap_or(Spot::BEGIN)),
        };
        notes.expects(self.count_repositories().await?);
        notes.begins(Phase::Uploads);
        self.collector.uploads(notes).await?;
        if let Some(after) = after {
            notes.begins(Phase::Repositories);
            self.repositories(after, notes).await?;
        }
        let mut from = Some(spot);
        while let Some(begin) = from {
            self.keep(Part::Blobs, begin.to_string()).await?;
            from = self.collector.round(begin, notes).await?;
        }
        self.collector.unnamed(notes).await?;
        if self.resumes {
            self.collector.keep_position(None).await?;
        }
        if self.collector.is_dry() {
            return Ok(());
        }
        self.sweep().await?;
        self.collector.census().await.map(drop)
    }

    /// Lets the store remove what it has for its own use, such as the tombstones in a bucket.
    async fn sweep(&self) -> Result<(), Error> {
        let mut position = Some(String::new());
        while let Some(from) = position {
            self.collector.breath.take().await;
            position = self.collector.registry.records.sweep(&from).await?;
        }
        Ok(())
    }

    async fn repositories(&self, mut after: String, notes: &mut Notes<'_>) -> Result<(), Error> {
        self.interrupted(notes).await?;
        let mut kept = Instant::now();
        while let Some(repository) = self.collector.next_repository(&mut after).await? {
            self.repository(&repository, notes).await?;
            notes.passed_a_repository();
            if kept.elapsed() >= KEEP_EVERY {
                self.keep(Part::Repositories, after.clone()).await?;
                kept = Instant::now();
            }
        }
        self.entries(keys::all_deletions(), notes).await?;
        self.entries(keys::catalog(), notes).await
    }

    /// An estimate, because repositories may come and go meanwhile.
    async fn count_repositories(&self) -> Result<u64, Error> {
        let mut count = 0;
        let mut pages = self
            .collector
            .registry
            .records
            .pages(keys::catalog(), String::new(), Show::All);
        while let Some(page) = pages.next().await? {
            count += page.len() as u64;
        }
        Ok(count)
    }

    async fn keep(&self, part: Part, after: String) -> Result<(), Error> {
        if self.resumes {
            self.collector
                .keep_position(Some(PassRecord { part, after }))
                .await?;
        }
        Ok(())
    }

    /// Removes what interrupted pushes and deletions left. Only such records are hidden.
    async fn interrupted(&self, notes: &mut Notes<'_>) -> Result<(), Error> {
        let hidden = keys::all_of_repositories::<ManifestRecord>();
        let mut hidden = self.collector.registry.records.keys(hidden, Show::Hidden);
        while let Some(key) = hidden.next().await? {
            notes.looked(1);
            match Entry::parse(key.as_str()) {
                Some(Entry::Manifest(repository, digest)) => {
                    let examined = self.collector.examine(&repository, &digest, None, notes);
                    examined.await?;
                }
                Some(Entry::Tag(repository, tag)) => {
                    self.collector.announcement(&repository, &tag, notes).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn repository(&self, repository: &RepositoryName, notes: &mut Notes<'_>) -> Result<(), Error> {
        self.entries(keys::everything_of(repository), notes).await?;
        self.collector.retain(repository, notes).await
    }

    async fn entries<T>(&self, prefix: Prefix<T>, notes: &mut Notes<'_>) -> Result<(), Error> {
        let mut pages = self
            .collector
            .registry
            .records
            .pages(prefix, String::new(), Show::All);
        while let Some(page) = pages.next_written().await? {
            self.collector.breath.take().await;
            notes.looked(page.len() as u64);
            for (key, written) in page {
                if let Some(entry) = Entry::parse(key.as_str()) {
                    self.collector.entry(&entry, written, notes).await?;
                }
            }
        }
        Ok(())
    }
}

/// How often a pass records its position.
const KEEP_EVERY: Duration = Duration::from_secs(30);
