//! Pages of tags and of the catalogue, in the order of their bytes (distribution-spec, Content Discovery).

use super::{Error, Registry, keys};
use crate::access::{Permit, Read, Reader};
use crate::storage::Show;

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub entries: Vec<String>,
    /// There are entries behind the last one.
    pub more: bool,
}

impl Registry {
    /// The first `limit` tags after `after`, which need not exist.
    pub async fn tags(&self, permit: &Permit<Read>, after: &str, limit: usize) -> Result<Page, Error> {
        let repository = permit.repository();
        if !self.records.is_marked(&keys::in_catalog(repository.as_str())).await? {
            return Err(Error::RepositoryUnknown);
        }
        if limit == 0 {
            return Ok(Page { entries: Vec::new(), more: false });
        }
        let prefix = keys::tags(repository);
        let from = if after.is_empty() { String::new() } else { prefix.key(after).to_string() };
        let mut pages = self.records.pages(prefix, from, Show::Visible).of(limit.saturating_add(1));
        let keys = pages.next().await?.unwrap_or_default();
        let more = keys.len() > limit;
        let entries = keys.iter().take(limit).map(|key| pages.prefix().rest(key).to_owned()).collect();
        Ok(Page { entries, more })
    }

    /// The first `limit` repositories after `after` that the reader may read.
    pub async fn catalog(&self, reader: &Reader<'_>, after: &str, limit: usize) -> Result<Page, Error> {
        let mut page = Page { entries: Vec::new(), more: false };
        if limit == 0 {
            return Ok(page);
        }
        let from = if after.is_empty() { String::new() } else { keys::in_catalog(after).to_string() };
        let mut pages = self.records.pages(keys::catalog(), from, Show::Visible);
        while let Some(keys) = pages.next().await? {
            for repository in keys.iter().filter_map(|key| keys::repository_of(pages.prefix().rest(key))) {
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
