//! The list of files that `dev` made. `dev` overwrites no file that is not on it or was changed since.

use super::folder_error::FolderError;
use crate::file_error::FileError;
use crate::owner_file;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The file that lists each written content, one per line, in the format of `sha256sum`.
const NAME: &str = ".made-by-dev";

/// The files that `dev` wrote into a folder.
pub(super) struct Ledger {
    folder: PathBuf,
    /// The file's name in the folder, and the hash of its content.
    made: BTreeSet<(String, String)>,
}

/// How to recognise the files of the earlier version, which wrote no list.
pub(super) struct Earlier<'a> {
    /// The name of its configuration.
    pub(super) config: &'a str,
    /// How that file begins, even if it was changed since.
    pub(super) header: &'a str,
    /// Whether its content is unchanged.
    pub(super) is_unchanged: fn(&str) -> bool,
}

impl Ledger {
    /// Reads the list of a folder in which `dev` makes files with these `names`. If there is no list, files of
    /// the earlier version are recognised with `earlier`.
    pub(super) fn open(folder: &Path, names: &[&str], earlier: &Earlier<'_>) -> Result<Self, FolderError> {
        let mut ledger = Self {
            folder: folder.to_owned(),
            made: BTreeSet::new(),
        };
        match fs::read_to_string(folder.join(NAME)) {
            Ok(text) => {
                let lines = text.lines().filter_map(|line| line.split_once("  "));
                ledger
                    .made
                    .extend(lines.map(|(hash, name)| (name.to_owned(), hash.to_owned())));
            }
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                ledger.take_over(names, earlier)?;
            }
            Err(why) => return Err(failed(&folder.join(NAME), &why)),
        }
        ledger.forget_the_past()?;
        Ok(ledger)
    }

    /// Adds the files of the earlier version to the list and saves it at once. If the user changed the
    /// configuration and then moves it away, the other files must still be known.
    fn take_over(&mut self, names: &[&str], earlier: &Earlier<'_>) -> Result<(), FolderError> {
        let Ok(config) = fs::read_to_string(self.folder.join(earlier.config)) else {
            return Ok(());
        };
        if !config.starts_with(earlier.header) {
            return Ok(());
        }
        for name in names {
            if *name != earlier.config || (earlier.is_unchanged)(&config) {
                self.made
                    .extend(self.present(name)?.map(|hash| ((*name).to_owned(), hash)));
            }
        }
        self.save()
    }

    /// Whether `dev` made no file here.
    pub(super) fn is_empty(&self) -> bool {
        self.made.is_empty()
    }

    /// The files among `names` that exist, but that `dev` did not make or that were changed since.
    pub(super) fn foreign(&self, names: &[&str]) -> Result<Vec<PathBuf>, FolderError> {
        let mut foreign = Vec::new();
        for name in names {
            if self
                .present(name)?
                .is_some_and(|hash| !self.made.contains(&((*name).to_owned(), hash)))
            {
                foreign.push(self.folder.join(name));
            }
        }
        Ok(foreign)
    }

    /// Replaces a file that is not foreign. An interruption leaves the old file. Only its owner can read it.
    pub(super) fn write(&mut self, name: &str, text: &str) -> Result<(), FolderError> {
        // The list is saved first, so that an interruption leaves no unknown file.
        self.made.insert((name.to_owned(), hash(text.as_bytes())));
        self.save()?;
        replace(&self.folder.join(name), text)
    }

    /// Removes what a killed start left of these files. Only for a folder that is locked and has no foreign
    /// files.
    pub(super) fn remove_leftovers(&self, names: &[&str]) -> Result<(), FolderError> {
        names.iter().chain([&NAME]).try_for_each(|name| {
            let path = self.folder.join(name);
            owner_file::remove_leftover(&path).map_err(|why| FolderError::Io { path, why })
        })
    }

    /// The hash of the file's present content.
    fn present(&self, name: &str) -> Result<Option<String>, FolderError> {
        let path = self.folder.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(hash(&bytes))),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(failed(&path, &why)),
        }
    }

    /// Drops entries that match no present file. Otherwise the list would grow with every start.
    fn forget_the_past(&mut self) -> Result<(), FolderError> {
        let mut kept = BTreeSet::new();
        for (name, hash) in &self.made {
            if self.present(name)?.as_ref() == Some(hash) {
                kept.insert((name.clone(), hash.clone()));
            }
        }
        self.made = kept;
        Ok(())
    }

    fn save(&self) -> Result<(), FolderError> {
        let text: String = self
            .made
            .iter()
            .map(|(name, hash)| format!("{hash}  {name}\n"))
            .collect();
        replace(&self.folder.join(NAME), &text)
    }
}

fn replace(path: &Path, text: &str) -> Result<(), FolderError> {
    owner_file::replace(path, text.as_bytes()).map_err(|why| FolderError::Io {
        path: path.to_owned(),
        why,
    })
}

fn failed(path: &Path, why: &io::Error) -> FolderError {
    FolderError::Io {
        path: path.to_owned(),
        why: FileError::new(path, why),
    }
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
