//! A walk through the whole store.

use super::super::Error;
use super::super::keys::{self, Entry, Prefix};
use super::super::states::manifest::ManifestRecord;
use super::Collector;
use super::references::is_unknown;
use super::report::{Notes, Phase};
use super::spot::Spot;
use crate::oci::{Digest, RepositoryName};
use crate::storage::Show;
use std::collections::HashSet;

pub(super) struct Pass<'a> {
    collector: &'a Collector,
}

impl<'a> Pass<'a> {
    pub(super) const fn new(collector: &'a Collector) -> Self {
        Self { collector }
    }

    pub(super) async fn run(&self, notes: &mut Notes<'_>) -> Result<(), Error> {
        notes.begins(Phase::Uploads);
        self.collector.uploads(notes).await?;
        notes.begins(Phase::Repositories);
        self.interrupted(notes).await?;
        let mut after = String::new();
        while let Some(repository) = self.collector.next_repository(&mut after).await? {
            self.repository(&repository, notes).await?;
        }
        self.entries(keys::all_deletions(), notes).await?;
        self.entries(keys::catalog(), notes).await?;
        notes.begins(Phase::Blobs);
        let mut from = Some(Spot::BEGIN);
        while let Some(begin) = from {
            from = self.collector.round(begin, notes).await?;
        }
        Ok(())
    }

    /// Removes what interrupted pushes and deletions of manifests left. Only these are hidden.
    async fn interrupted(&self, notes: &mut Notes<'_>) -> Result<(), Error> {
        let hidden = keys::all_of_repositories::<ManifestRecord>();
        let mut hidden = self.collector.registry.records.keys(hidden, Show::Hidden);
        while let Some(key) = hidden.next().await? {
            notes.looked(1);
            if let Some(Entry::Manifest(repository, digest)) = Entry::parse(key.as_str()) {
                self.collector.examine(&repository, &digest, notes).await?;
            }
        }
        Ok(())
    }

    async fn repository(&self, repository: &RepositoryName, notes: &mut Notes<'_>) -> Result<(), Error> {
        self.entries(keys::everything_of(repository), notes).await?;
        let rules = self.collector.rules.apply_to(repository);
        if rules {
            match self.collector.needed(repository, &HashSet::new()).await {
                Err(why) if is_unknown(&why) => notes.stopped(repository, &why.to_string()),
                read => drop(read?),
            }
        }
        // A dry run also reports what the rules keep.
        if (rules || self.collector.is_dry()) && !notes.is_stopped(repository) {
            self.manifests(repository, notes).await?;
        }
        Ok(())
    }

    async fn manifests(&self, repository: &RepositoryName, notes: &mut Notes<'_>) -> Result<(), Error> {
        let records = &self.collector.registry.records;
        let mut pages = records.pages(keys::manifests(repository), String::new(), Show::Visible);
        while let Some(page) = pages.next().await? {
            notes.looked(page.len() as u64);
            let mut next: Vec<Digest> = page.iter().rev().filter_map(keys::manifest_of).collect();
            // A child follows its index, wherever its key is.
            while let Some(digest) = next.pop() {
                let followers = self.collector.examine(repository, &digest, notes).await?;
                next.extend(followers);
            }
        }
        Ok(())
    }

    async fn entries<T>(&self, prefix: Prefix<T>, notes: &mut Notes<'_>) -> Result<(), Error> {
        let mut pages = self
            .collector
            .registry
            .records
            .pages(prefix, String::new(), Show::All);
        while let Some(page) = pages.next_written().await? {
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
