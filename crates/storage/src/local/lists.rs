//! Lists of keys.

use super::records::Records;
use super::{Failure, Range, Timestamp, Written};
use crate::Show;
use rusqlite::{Connection, Row, params};
use std::collections::HashSet;

/// The queries. The first parameter is the smallest key that may match, the second is the limit. Each walks
/// along an index, so its cost depends only on what it returns. `INDEXED BY` turns a missing index into an
/// error.
const KEYS: &str = "SELECT key FROM records WHERE key >= ?1 ORDER BY key LIMIT ?2";
const HIDDEN_KEYS: &str =
    "SELECT key FROM records INDEXED BY hidden WHERE hidden AND key >= ?1 ORDER BY key LIMIT ?2";
const WRITTEN: &str = "SELECT key, written FROM records WHERE key >= ?1 ORDER BY key LIMIT ?2";
const WRITTEN_VISIBLE: &str =
    "SELECT key, written FROM records WHERE key >= ?1 AND NOT hidden ORDER BY key LIMIT ?2";
const WRITTEN_HIDDEN: &str =
    "SELECT key, written FROM records INDEXED BY hidden WHERE hidden AND key >= ?1 ORDER BY key LIMIT ?2";
/// The first parameter is the first key, the second is the last.
const HIDDEN_BETWEEN: &str =
    "SELECT key FROM records INDEXED BY hidden WHERE hidden AND key BETWEEN ?1 AND ?2";

/// The least number of keys to read once hidden ones were found.
const MANY: usize = 1000;

impl Records {
    pub(super) fn list(&self, range: Range<'_>) -> Result<Vec<String>, Failure> {
        self.read(|db| match range.show {
            Show::All => keys(db, KEYS, range),
            Show::Hidden => keys(db, HIDDEN_KEYS, range),
            Show::Visible => visible(db, range, || ()),
        })
    }

    pub(super) fn list_written(&self, range: Range<'_>) -> Result<Vec<Written>, Failure> {
        let query = match range.show {
            Show::All => WRITTEN,
            Show::Visible => WRITTEN_VISIBLE,
            Show::Hidden => WRITTEN_HIDDEN,
        };
        let row = |row: &Row<'_>| {
            Ok(Written {
                key: row.get(0)?,
                written: Timestamp::from_millis(row.get(1)?),
            })
        };
        self.read(|db| rows(db, query, range, row, |one: &Written| &one.key))
    }
}

/// The index of keys does not show which are hidden, and the table would have to be read row by row. But
/// there are few hidden records, so their keys are read separately and removed from the list. Both reads use
/// one snapshot. Otherwise a hidden record that is deleted `between` them would be shown.
fn visible(db: &Connection, range: Range<'_>, between: impl Fn()) -> rusqlite::Result<Vec<String>> {
    let snapshot = db.unchecked_transaction()?;
    let mut visible = Vec::new();
    let mut after = range.after.to_owned();
    let mut limit = range.limit;
    loop {
        let mut page = keys(
            &snapshot,
            KEYS,
            Range {
                after: &after,
                limit,
                ..range
            },
        )?;
        let (Some(first), Some(last)) = (page.first(), page.last()) else {
            return Ok(visible);
        };
        let end = page.len() < limit;
        between();
        let hidden: HashSet<String> = snapshot
            .prepare_cached(HIDDEN_BETWEEN)?
            .query_map([first, last], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        after.clone_from(last);
        page.retain(|key| !hidden.contains(key));
        visible.append(&mut page);
        if end || visible.len() >= range.limit {
            visible.truncate(range.limit);
            return Ok(visible);
        }
        limit = (range.limit - visible.len()).max(2 * hidden.len()).max(MANY);
    }
}

fn keys(db: &Connection, query: &str, range: Range<'_>) -> rusqlite::Result<Vec<String>> {
    rows(db, query, range, |row| row.get(0), |key: &String| key)
}

fn rows<T>(
    db: &Connection,
    query: &str,
    Range {
        prefix, after, limit, ..
    }: Range<'_>,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    key: impl Fn(&T) -> &String,
) -> rusqlite::Result<Vec<T>> {
    // The smallest key that may match is the one right after `after`. With two bounds SQLite would seek to
    // one of them and walk.
    let from = if after < prefix {
        prefix.to_owned()
    } else {
        format!("{after}\0")
    };
    let mut select = db.prepare_cached(query)?;
    let mut rows = select.query(params![from, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let one = read(row)?;
        if !key(&one).starts_with(prefix) {
            break;
        }
        found.push(one);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::Local;

    #[test]
    fn every_list_uses_an_index_and_none_sorts() {
        let folder = tempfile::tempdir().unwrap();
        drop(Local::open(folder.path()).unwrap());
        let db = Connection::open(folder.path().join("records.sqlite3")).unwrap();
        let plan = |query: &str| {
            let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
            let steps = explain
                .query_map(["a", "1"], |row| row.get::<_, String>("detail"))
                .unwrap();
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

    #[test]
    fn a_list_is_read_from_one_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        drop(Local::open(folder.path()).unwrap());
        let open = || Connection::open(folder.path().join("records.sqlite3")).unwrap();
        let reader = open();
        let writer = open();
        writer.pragma_update(None, "journal_mode", "WAL").unwrap();
        writer
            .execute_batch(
                "INSERT INTO records VALUES ('a', 1, 0, 0, ''), ('b', 2, 1, 0, ''), ('c', 3, 0, 0, '')",
            )
            .unwrap();
        let range = Range {
            prefix: "",
            after: "",
            limit: 10,
            show: Show::Visible,
        };
        let delete = || {
            writer
                .execute_batch("DELETE FROM records WHERE key = 'b'")
                .unwrap()
        };
        assert_eq!(visible(&reader, range, delete).unwrap(), ["a", "c"]);
    }

    #[test]
    fn a_run_of_hidden_records_takes_few_reads() {
        let folder = tempfile::tempdir().unwrap();
        drop(Local::open(folder.path()).unwrap());
        let mut db = Connection::open(folder.path().join("records.sqlite3")).unwrap();
        let changes = db.transaction().unwrap();
        for number in 0..5000 {
            changes
                .execute(
                    "INSERT INTO records VALUES (?1, 1, 1, 0, '')",
                    [format!("{number:04}")],
                )
                .unwrap();
        }
        changes
            .execute("INSERT INTO records VALUES ('z', 1, 0, 0, '')", [])
            .unwrap();
        changes.commit().unwrap();
        let reads = std::cell::Cell::new(0);
        let range = Range {
            prefix: "",
            after: "",
            limit: 1,
            show: Show::Visible,
        };
        assert_eq!(visible(&db, range, || reads.set(reads.get() + 1)).unwrap(), ["z"]);
        assert!(reads.get() <= 5, "{}", reads.get());
    }
}
