//! Why a store cannot be opened, in the words that an operator reads.

use crate::file_error::FileError;
use std::path::{Path, PathBuf};

/// The layout that this program reads and writes.
pub(super) const VERSION: u32 = 2;
/// The one that it can convert.
pub(super) const OLD: u32 = 1;
/// What the file `format` says before the version.
pub(super) const TITLE: &str = "wharfinger store ";

/// Why a folder could not be opened as a store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the store in {} cannot be opened: {file}: {}", folder.display(), explained(folder, file, source))]
    Folder {
        folder: PathBuf,
        file: &'static str,
        source: std::io::Error,
    },
    #[error("the store in {} is in use by {}: only one process at a time may have it open; stop that one, or use another folder", folder.display(), holder(*pid))]
    InUse { folder: PathBuf, pid: Option<u32> },
    #[error("the store in {} has format {found}, and this program knows formats up to {known}: use the newer program that wrote it", folder.display())]
    Newer { folder: PathBuf, found: u32, known: u32 },
    #[error("the store in {} has format {OLD}, and this program works with format {VERSION}: `wharfinger serve` (or `wharfinger dev`) converts the store when it starts. Nothing was changed", folder.display())]
    Older { folder: PathBuf },
    #[error("the conversion of the store in {} to format {VERSION} was interrupted at its end: `wharfinger serve` (or `wharfinger dev`) completes it when it starts. Nothing was changed", folder.display())]
    Unfinished { folder: PathBuf },
    #[error("the file {} does not say \"{TITLE}{VERSION}\": it is damaged, or belongs to another program", file.display())]
    UnknownFormat { file: PathBuf },
    #[error("the folder {} has a `{holds}` but no file `format`: it is no store, or not a whole one; use an empty folder, or restore it in full", folder.display())]
    NotAStore { folder: PathBuf, holds: &'static str },
    #[error("the backup in {} is unfinished: run the same `wharfinger backup` again to finish it, and start on the folder then", folder.display())]
    UnfinishedBackup { folder: PathBuf },
    #[error("there is no store in {}", folder.display())]
    NoStore { folder: PathBuf },
    #[error("the folder {} is missing: the store has lost {}; restore the whole store. If this folder was empty and a copy left it out, make it again with `mkdir`", folder.display(), if folder.ends_with("d") { "the bytes of its blobs" } else { "its large manifests" })]
    NoFolder { folder: PathBuf },
    #[error("the file {} is missing: the store has lost its records, and without them nothing in it can be found; restore the folder in full", file.display())]
    NoRecords { file: PathBuf },
    #[error("the disk is full, and the records in {} cannot even be opened: make some MB of room on it", file.display())]
    Full { file: PathBuf },
    #[error("the records in {} cannot be opened: {source}", file.display())]
    Records { file: PathBuf, source: rusqlite::Error },
}

fn explained(folder: &Path, file: &str, source: &std::io::Error) -> FileError {
    // What is no name of a file in the folder stands for the folder.
    let path = if file.contains(' ') {
        folder.to_owned()
    } else {
        folder.join(file)
    };
    FileError::new(&path, source)
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
