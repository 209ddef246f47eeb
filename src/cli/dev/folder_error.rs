//! Why the folder of `wharfinger dev` cannot be used.

use super::pki::PkiError;
use crate::file_error::FileError;
use std::fmt::Write as _;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    #[error("{}: {why}; choose another folder with --folder", path.display())]
    Io { path: PathBuf, why: FileError },
    #[error(
        "{}: another `wharfinger dev` uses this folder; stop it, or choose another folder with --folder",
        path.display()
    )]
    InUse { path: PathBuf },
    #[error("{}: {why}; remove the folder to start again", path.display())]
    Pki { path: PathBuf, why: PkiError },
    #[error("{}: the file holds no certificate; remove the folder to start again", path.display())]
    NoCertificate { path: PathBuf },
    #[error(
        "`wharfinger dev` would overwrite these files, which it did not make or which were changed since:{}\n\
         Move them away, or choose another folder with --folder. To use a changed config.yaml, run `wharfinger serve`.",
        listed(.paths)
    )]
    Foreign { paths: Vec<PathBuf> },
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().fold(String::new(), |mut list, path| {
        let _ = write!(list, "\n  {}", path.display());
        list
    })
}
