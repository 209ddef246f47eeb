//! Lists of records, from the names and the sizes of their objects.

use super::{Records, body, names};
use crate::Failure;
use crate::contract::{Range, Written};

/// The most names of objects in one answer of a store.
const PAGE: usize = 1000;
/// How many names are asked for beyond the limit, since a few may be those of tombstones.
const MORE: usize = 16;

impl Records {
    /// The keys of the range. A run of tombstones or of records that are not shown takes more requests, but no
    /// more memory.
    pub(crate) async fn list(&self, range: Range<'_>) -> Result<Vec<Written>, Failure> {
        let prefix = names::prefix(range.prefix);
        let mut after = names::prefix(range.after);
        let mut found = Vec::new();
        let mut asked = range.limit.saturating_add(MORE).min(PAGE);
        while found.len() < range.limit {
            let page = self
                .objects
                .list(&prefix, &after, asked)
                .await
                .map_err(|why| self.objects.failure(why))?;
            let last = page.len() < asked;
            for entry in page {
                if entry.key <= after {
                    return Err(self.objects.failure(OutOfOrder {
                        name: entry.key,
                        after,
                    }));
                }
                if body::is_shown(entry.size, range.show)
                    && let Some(key) = names::key(&entry.key)
                {
                    found.push(Written {
                        key,
                        written: entry.written,
                    });
                }
                after = entry.key;
            }
            if last {
                break;
            }
            asked = PAGE;
        }
        found.truncate(range.limit);
        Ok(found)
    }
}

#[derive(Debug, thiserror::Error)]
#[error(
    "it lists {name} after {after}, but the registry needs lists in the order of the keys: use another store"
)]
struct OutOfOrder {
    name: String,
    after: String,
}
