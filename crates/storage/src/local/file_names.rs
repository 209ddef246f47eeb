//! The names of single files in a store's folder.

/// The store's format.
pub(super) const FORMAT: &str = "format";
/// The records. While the store is in use, only SQLite may open this file: see `can_clone` in
/// `backup/target.rs`.
pub(super) const RECORDS: &str = "records.sqlite3";
/// The new table while a store of format 1 is converted, and when it is whole.
pub(super) const CONVERTING: &str = "records.converting";
pub(super) const CONVERTED: &str = "records.converted";
/// Names the store that the folder is a backup of. It is written first, and removed when the folder is served
/// as a store.
pub(super) const BACKUP: &str = "backup";
