//! Why a store cannot be opened, in the words that an operator reads.

use std::path::{Path, PathBuf};
use wharfinger_base::file_error::FileError;

/// The version of the layout that this program reads and writes.
pub(super) const VERSION: u32 = 2;
/// The older version that it can convert.
pub(super) const OLD: u32 = 1;
/// The text in the file `format` before the version.
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
    #[error("the store in {} is in use by {}: only one process at a time may have it open. Stop that process, or use another folder", folder.display(), holder(*pid))]
    InUse { folder: PathBuf, pid: Option<u32> },
    #[error("the store in {} has format {found}, and this version of wharfinger supports formats up to {known}: use the newer version that wrote it", folder.display())]
    Newer { folder: PathBuf, found: u32, known: u32 },
    #[error("the store in {} has format {OLD}, and this version of wharfinger uses format {VERSION}: `wharfinger serve` (or `wharfinger dev`) converts the store when it starts. Nothing was changed", folder.display())]
    Older { folder: PathBuf },
    #[error("the conversion of the store in {} to format {VERSION} was interrupted in its last steps: `wharfinger serve` (or `wharfinger dev`) completes it when it starts. Nothing was changed", folder.display())]
    Unfinished { folder: PathBuf },
    #[error("the file {} should say \"{TITLE}{VERSION}\" and does not: it is damaged, or another program wrote it", file.display())]
    UnknownFormat { file: PathBuf },
    #[error("the folder {} contains `{holds}` but no file `format`, so it is not a complete store: use an empty folder, or restore the whole store", folder.display())]
    NotAStore { folder: PathBuf, holds: &'static str },
    #[error("the backup in {} is unfinished: run the same `wharfinger backup` again to finish it before you use the folder as a store", folder.display())]
    UnfinishedBackup { folder: PathBuf },
    #[error("there is no store in {}", folder.display())]
    NoStore { folder: PathBuf },
    #[error("the folder {} is missing, and with it {}: restore the whole store. If the folder was empty and a copy left it out, create it with `mkdir`", folder.display(), if folder.ends_with("d") { "the bytes of the store's blobs" } else { "the store's large manifests" })]
    NoFolder { folder: PathBuf },
    #[error("the file {} is missing. It holds the store's records, without which no image can be found: restore the whole store", file.display())]
    NoRecords { file: PathBuf },
    #[error("the disk is full, and the records in {} cannot be opened: free a few MB on it", file.display())]
    Full { file: PathBuf },
    #[error("the records in {} cannot be opened: {source}", file.display())]
    Records { file: PathBuf, source: rusqlite::Error },
}

fn explained(folder: &Path, file: &str, source: &std::io::Error) -> FileError {
    // A text with a space, such as "the folder", means the folder itself.
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
