//! The log of the local store.

use std::path::Path;

/// How many transactions are in the log. The last frame of each has the table's size in its header (SQLite's
/// file format, section 4.1: a header of 32 bytes, then frames of a 24-byte header and a page).
#[must_use]
pub fn commits(folder: &Path) -> usize {
    const PAGE: usize = 4096;
    let bytes = std::fs::read(folder.join("records.sqlite3-wal")).unwrap();
    if bytes.is_empty() {
        return 0;
    }
    let (frames, rest) = bytes[32..].as_chunks::<{ 24 + PAGE }>();
    assert_eq!(
        (rest.len(), &bytes[8..12]),
        (0, &[0, 0, 16, 0][..]),
        "pages of {PAGE}"
    );
    frames.iter().filter(|frame| frame[4..8] != [0; 4]).count()
}
