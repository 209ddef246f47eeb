//! Why the folder of `wharfinger dev` cannot be used.

use super::pki::PkiError;
use crate::file_error::FileError;
use std::fmt::Write as _;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    #[error("{}: {why}; --folder names another folder", path.display())]
    Io { path: PathBuf, why: FileError },
    #[error("{}: {why}; remove the folder to begin anew", path.display())]
    Pki { path: PathBuf, why: PkiError },
    #[error("{}: holds no certificate; remove the folder to begin anew", path.display())]
    NoCertificate { path: PathBuf },
    #[error(
        "`wharfinger dev` did not make these files, or they were changed since, and it would overwrite them:{}\n\
         Move them away, or name another folder with --folder. `wharfinger serve` takes a changed config.yaml as it is.",
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
