//! Lists of keys.

use super::records::Records;
use super::{Failure, Range, Timestamp, Written};
use crate::storage::Show;
use rusqlite::{Row, params};
use std::collections::HashSet;

/// By these queries, whose first parameter is the least key that may be meant and whose second is how many. Each walks along an index, so
/// what it costs depends on what it answers with and on nothing else. `INDEXED BY` makes of an index that is missing an error.
const KEYS: &str = "SELECT key FROM records WHERE key >= ?1 ORDER BY key LIMIT ?2";
const HIDDEN_KEYS: &str = "SELECT key FROM records INDEXED BY hidden WHERE hidden AND key >= ?1 ORDER BY key LIMIT ?2";
const WRITTEN: &str = "SELECT key, written FROM records WHERE key >= ?1 ORDER BY key LIMIT ?2";
const WRITTEN_VISIBLE: &str = "SELECT key, written FROM records WHERE key >= ?1 AND NOT hidden ORDER BY key LIMIT ?2";
const WRITTEN_HIDDEN: &str = "SELECT key, written FROM records INDEXED BY hidden WHERE hidden AND key >= ?1 ORDER BY key LIMIT ?2";
/// The first parameter is the first key, the second is the last.
const HIDDEN_BETWEEN: &str = "SELECT key FROM records INDEXED BY hidden WHERE hidden AND key BETWEEN ?1 AND ?2";

impl Records {
    pub(super) fn list(&self, range: Range<'_>) -> Result<Vec<String>, Failure> {
        match range.show {
            Show::All => self.keys(KEYS, range),
            Show::Hidden => self.keys(HIDDEN_KEYS, range),
            Show::Visible => self.visible(range),
        }
    }

    /// The index of keys does not say which are hidden, and the table would take a look at each row. There are few hidden ones.
    fn visible(&self, range: Range<'_>) -> Result<Vec<String>, Failure> {
        let (mut visible, mut after, mut limit) = (Vec::new(), range.after.to_owned(), range.limit);
        loop {
            let mut page = self.keys(KEYS, Range { after: &after, limit, ..range })?;
            let (Some(first), Some(last)) = (page.first(), page.last()) else { return Ok(visible) };
            let end = page.len() < limit;
            let hidden = self.hidden(first, last)?;
            after.clone_from(last);
            page.retain(|key| !hidden.contains(key));
            visible.append(&mut page);
            if end || visible.len() >= range.limit {
                visible.truncate(range.limit);
                return Ok(visible);
            }
            // Past many hidden ones it goes by ever larger pages.
            limit = (range.limit - visible.len()).max(2 * hidden.len());
        }
    }

    fn hidden(&self, first: &str, last: &str) -> Result<HashSet<String>, Failure> {
        self.read(|db| db.prepare_cached(HIDDEN_BETWEEN)?.query_map([first, last], |row| row.get(0))?.collect())
    }

    fn keys(&self, query: &str, range: Range<'_>) -> Result<Vec<String>, Failure> {
        self.rows(query, range, |row| row.get(0), |key: &String| key)
    }

    pub(super) fn list_written(&self, range: Range<'_>) -> Result<Vec<Written>, Failure> {
        let query = match range.show {
            Show::All => WRITTEN,
            Show::Visible => WRITTEN_VISIBLE,
            Show::Hidden => WRITTEN_HIDDEN,
        };
        let row = |row: &Row<'_>| Ok(Written { key: row.get(0)?, written: Timestamp::from_millis(row.get(1)?) });
        self.rows(query, range, row, |one: &Written| &one.key)
    }

    fn rows<T>(
        &self,
        query: &str,
        Range { prefix, after, limit, .. }: Range<'_>,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
        key: impl Fn(&T) -> &String,
    ) -> Result<Vec<T>, Failure> {
        // The least key that may be meant: the one right after `after`. With two bounds SQLite would seek to one of them and walk.
        let from = if after < prefix { prefix.to_owned() } else { format!("{after}\0") };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|db| {
            let mut select = db.prepare_cached(query)?;
            let mut rows = select.query(params![from, limit])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let one = read(row)?;
                if !key(&one).starts_with(prefix) {
                    break;
                }
                found.push(one);
            }
            Ok(found)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::local::Local;
    use rusqlite::Connection;

    #[test]
    fn every_list_walks_along_an_index_and_none_sorts() {
        let folder = tempfile::tempdir().unwrap();
        drop(Local::open(folder.path()).unwrap());
        let db = Connection::open(folder.path().join("records.sqlite3")).unwrap();
        let plan = |query: &str| {
            let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
            let steps = explain.query_map(["a", "1"], |row| row.get::<_, String>("detail")).unwrap();
            steps.collect::<Result<Vec<_>, _>>().unwrap()
        };
        for (query, step) in [
            (KEYS, "USING COVERING INDEX sqlite_autoindex_records_1 (key>?)"),
            (HIDDEN_KEYS, "USING INDEX hidden (key>?)"),
            (HIDDEN_BETWEEN, "USING INDEX hidden (key>? AND key<?)"),
            (WRITTEN, "USING INDEX sqlite_autoindex_records_1 (key>?)"),
            (WRITTEN_VISIBLE, "USING INDEX sqlite_autoindex_records_1 (key>?)"),
            (WRITTEN_HIDDEN, "USING INDEX hidden (key>?)"),
        ] {
            assert_eq!(plan(query), [format!("SEARCH records {step}")], "{query}");
        }
    }
}
