//! Walks through many records, by pages or one key at a time.

use super::super::Error;
use super::super::keys::{Key, Prefix};
use super::{LISTED, TypedStore};
use crate::clock::Timestamp;
use crate::storage::{Range, RecordStore, Show};
use std::collections::VecDeque;
use std::sync::Arc;

impl TypedStore {
    /// The records as the store has them.
    pub(in crate::registry) const fn raw(&self) -> &Arc<dyn RecordStore> {
        &self.store
    }

    /// The keys with this prefix that come after `after`, page by page.
    pub(in crate::registry) fn pages<T>(&self, prefix: Prefix<T>, after: String, show: Show) -> Pages<'_, T> {
        Pages {
            records: self,
            prefix,
            after,
            show,
            limit: LISTED,
            end: false,
        }
    }

    pub(in crate::registry) fn keys<T>(&self, prefix: Prefix<T>, show: Show) -> Keys<'_, T> {
        self.keys_after(prefix, String::new(), show)
    }

    /// The keys with this prefix that come after `after`, one at a time.
    pub(in crate::registry) fn keys_after<T>(
        &self,
        prefix: Prefix<T>,
        after: String,
        show: Show,
    ) -> Keys<'_, T> {
        Keys {
            pages: self.pages(prefix, after, show),
            page: VecDeque::new(),
        }
    }
}

/// A walk through keys, a page at a time.
pub(in crate::registry) struct Pages<'a, T> {
    records: &'a TypedStore,
    prefix: Prefix<T>,
    after: String,
    show: Show,
    limit: usize,
    end: bool,
}

impl<T> Pages<'_, T> {
    /// Limits the keys in a page.
    pub(in crate::registry) const fn of(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    pub(in crate::registry) const fn prefix(&self) -> &Prefix<T> {
        &self.prefix
    }

    /// Whether the page before was the last one.
    pub(in crate::registry) const fn is_over(&self) -> bool {
        self.end
    }

    /// The next page, which is never empty. `None` at the end.
    pub(in crate::registry) async fn next(&mut self) -> Result<Option<Vec<Key<T>>>, Error> {
        if self.end {
            return Ok(None);
        }
        let keys = self.records.store.list(self.range()).await?;
        Ok(self
            .turn(keys.len(), keys.last())
            .then(|| keys.into_iter().map(Key::new).collect()))
    }

    /// Like [`next`](Self::next), with the time at which the store accepted each record.
    pub(in crate::registry) async fn next_written(
        &mut self,
    ) -> Result<Option<Vec<(Key<T>, Timestamp)>>, Error> {
        if self.end {
            return Ok(None);
        }
        let keys = self.records.store.list_written(self.range()).await?;
        let more = self.turn(keys.len(), keys.last().map(|last| &last.key));
        Ok(more.then(|| {
            keys.into_iter()
                .map(|one| (Key::new(one.key), one.written))
                .collect()
        }))
    }

    fn range(&self) -> Range<'_> {
        Range {
            prefix: self.prefix.as_str(),
            after: &self.after,
            limit: self.limit,
            show: self.show,
        }
    }

    /// Moves behind the page. Returns whether the page holds anything.
    fn turn(&mut self, found: usize, last: Option<&String>) -> bool {
        self.end = found < self.limit;
        if let Some(last) = last {
            self.after.clone_from(last);
        }
        last.is_some()
    }
}

/// A walk through keys, one key at a time.
pub(in crate::registry) struct Keys<'a, T> {
    pages: Pages<'a, T>,
    page: VecDeque<Key<T>>,
}

impl<T> Keys<'_, T> {
    pub(in crate::registry) const fn prefix(&self) -> &Prefix<T> {
        self.pages.prefix()
    }

    pub(in crate::registry) async fn next(&mut self) -> Result<Option<Key<T>>, Error> {
        if self.page.is_empty() {
            self.page = self.pages.next().await?.unwrap_or_default().into();
        }
        Ok(self.page.pop_front())
    }
}
