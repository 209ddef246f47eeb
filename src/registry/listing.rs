//! Pages of tags and of the catalogue, in the order of their bytes (distribution-spec, Content Discovery).

use super::marks::LISTED;
use super::{Error, Registry, keys};
use crate::access::{Permit, Read, Reader};

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
        if !self.records.is_marked(&keys::catalog(repository.as_str())).await? {
            return Err(Error::RepositoryUnknown);
        }
        if limit == 0 {
            return Ok(Page { entries: Vec::new(), more: false });
        }
        let prefix = keys::tags(repository);
        let from = if after.is_empty() { String::new() } else { format!("{prefix}{after}") };
        let keys = self.records.list(&prefix, &from, limit.saturating_add(1)).await?;
        let more = keys.len() > limit;
        let entries = keys.iter().take(limit).filter_map(|key| key.strip_prefix(&prefix)).map(str::to_owned).collect();
        Ok(Page { entries, more })
    }

    /// The first `limit` repositories after `after` that the reader may read.
    pub async fn catalog(&self, reader: &Reader<'_>, after: &str, limit: usize) -> Result<Page, Error> {
        let mut page = Page { entries: Vec::new(), more: false };
        if limit == 0 {
            return Ok(page);
        }
        let mut from = if after.is_empty() { String::new() } else { keys::catalog(after) };
        loop {
            let keys = self.records.list(keys::CATALOG, &from, LISTED).await?;
            let Some(last) = keys.last().cloned() else { return Ok(page) };
            for repository in keys.iter().filter_map(|key| keys::repository_of(key, keys::CATALOG)) {
                if reader.permit(&repository).is_none() {
                    continue;
                }
                if page.entries.len() == limit {
                    page.more = true;
                    return Ok(page);
                }
                page.entries.push(repository.to_string());
            }
            from = last;
        }
    }
}
