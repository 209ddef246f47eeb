//! Pages of tags and of the catalogue, in the order of their bytes (distribution-spec, Content Discovery).

use super::keys::Prefix;
use super::records::unless_unreadable;
use super::states::tag::TagRecord;
use super::{Error, Registry, keys};
use crate::access::{Permit, Read, Reader};
use crate::oci::{Digest, RepositoryName, Tag};
use crate::storage::Show;
use std::collections::HashSet;

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub entries: Vec<String>,
    /// Whether there are more entries after the last one.
    pub more: bool,
}

impl Registry {
    /// The first `limit` tags after `after`, which need not exist.
    pub async fn tags(&self, permit: &Permit<Read>, after: &str, limit: usize) -> Result<Page, Error> {
        let repository = permit.repository();
        if !self
            .records
            .is_marked(&keys::in_catalog(repository.as_str()))
            .await?
        {
            return Err(Error::RepositoryUnknown);
        }
        if limit == 0 {
            return Ok(Page {
                entries: Vec::new(),
                more: false,
            });
        }
        let prefix = keys::tags(repository);
        let mut from = if after.is_empty() {
            String::new()
        } else {
            prefix.key(after).to_string()
        };
        let mut pages = self
            .records
            .pages(prefix.clone(), from.clone(), Show::Visible)
            .of(limit.saturating_add(1));
        let mut entries = Vec::new();
        while entries.len() <= limit && !pages.is_over() {
            // Read before the tags, because a deletion that ends in between also deletes its marker.
            let deletions = self.deletions(repository).await?;
            let Some(keys) = pages.next().await? else { break };
            let mut tags: Vec<String> = keys.iter().map(|key| prefix.rest(key).to_owned()).collect();
            if !deletions.is_empty() {
                let going = self.going(repository, &tags, &deletions).await?;
                // A tag that was deleted after the first listing no longer points at the manifest, so `going`
                // lacks it. The second listing removes it.
                let there = self.tags_up_to(&prefix, &from, &tags).await?;
                tags.retain(|tag| there.contains(tag) && !going.contains(tag));
            }
            entries.append(&mut tags);
            from = keys.last().map(ToString::to_string).unwrap_or_default();
        }
        let more = entries.len() > limit;
        entries.truncate(limit);
        Ok(Page { entries, more })
    }

    /// Finds those of the sorted `tags` that point at a manifest that is being deleted. Usually there is no
    /// such manifest, and only markers are listed. Otherwise only the tags of that manifest are read.
    async fn going(
        &self,
        repository: &RepositoryName,
        tags: &[String],
        deletions: &[Digest],
    ) -> Result<HashSet<String>, Error> {
        let mut going = HashSet::new();
        for digest in deletions {
            // An unreadable manifest hides no tags.
            if unless_unreadable(self.is_dying(repository, digest).await)? == Some(true) {
                self.add_tags_on(repository, digest, tags, &mut going).await?;
            }
        }
        Ok(going)
    }

    /// The manifests whose deletion may be under way.
    async fn deletions(&self, repository: &RepositoryName) -> Result<Vec<Digest>, Error> {
        let mut deletions = Vec::new();
        let mut markers = self.records.keys(keys::deletions(repository), Show::All);
        while let Some(marker) = markers.next().await? {
            deletions.extend(keys::digest_of(markers.prefix().rest(&marker)));
        }
        Ok(deletions)
    }

    /// The tags after `from`, up to the last one of `tags`.
    async fn tags_up_to(
        &self,
        prefix: &Prefix<TagRecord>,
        from: &str,
        tags: &[String],
    ) -> Result<HashSet<String>, Error> {
        let mut there = HashSet::new();
        let mut pages = self.records.pages(prefix.clone(), from.to_owned(), Show::Visible);
        while let Some(page) = pages.next().await? {
            for name in page.iter().map(|key| prefix.rest(key)) {
                if tags.last().is_none_or(|last| name > last.as_str()) {
                    return Ok(there);
                }
                there.insert(name.to_owned());
            }
        }
        Ok(there)
    }

    async fn add_tags_on(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        tags: &[String],
        found: &mut HashSet<String>,
    ) -> Result<(), Error> {
        let (Some(first), Some(last)) = (tags.first(), tags.last()) else {
            return Ok(());
        };
        let prefix = keys::back_references(repository, digest);
        // A tag without its last character sorts before it.
        let before = first
            .strip_suffix(|_: char| true)
            .map(|shorter| prefix.key(shorter).to_string())
            .unwrap_or_default();
        let mut pages = self.records.pages(prefix, before, Show::All);
        while let Some(page) = pages.next().await? {
            for name in page.iter().map(|key| pages.prefix().rest(key)) {
                if name > last.as_str() {
                    return Ok(());
                }
                let Ok(tag) = name.parse::<Tag>() else { continue };
                if name >= first.as_str()
                    && unless_unreadable(self.tag_target(repository, &tag).await)?
                        .flatten()
                        .as_ref()
                        == Some(digest)
                {
                    found.insert(name.to_owned());
                }
            }
        }
        Ok(())
    }

    /// The first `limit` repositories after `after` that the reader may read.
    pub async fn catalog(&self, reader: &Reader<'_>, after: &str, limit: usize) -> Result<Page, Error> {
        let mut page = Page {
            entries: Vec::new(),
            more: false,
        };
        if limit == 0 {
            return Ok(page);
        }
        let from = if after.is_empty() {
            String::new()
        } else {
            keys::in_catalog(after).to_string()
        };
        let mut pages = self.records.pages(keys::catalog(), from, Show::Visible);
        while let Some(keys) = pages.next().await? {
            for repository in keys
                .iter()
                .filter_map(|key| keys::repository_of(pages.prefix().rest(key)))
            {
                if reader.permit(&repository).is_none() {
                    continue;
                }
                if page.entries.len() == limit {
                    page.more = true;
                    return Ok(page);
                }
                page.entries.push(repository.to_string());
            }
        }
        Ok(page)
    }
}
