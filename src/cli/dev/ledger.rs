//! Which files `dev` made, so that it overwrites none that somebody else made or changed.

use super::folder::FolderError;
use crate::file_error::FileError;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// One line for each content that was written, as `sha256sum` writes them.
const NAME: &str = ".made-by-dev";

/// What was written into a folder.
pub(super) struct Ledger {
    folder: PathBuf,
    /// The file's name in the folder, and the hash of its content.
    made: BTreeSet<(String, String)>,
}

impl Ledger {
    /// What is known of a folder. Of a folder of an earlier version, whose configuration begins with
    /// `header`, these `names` are taken over.
    pub(super) fn open(folder: &Path, names: &[&str], header: &str) -> Result<Self, FolderError> {
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
                if fs::read_to_string(folder.join("config.yaml"))
                    .is_ok_and(|config| config.starts_with(header))
                {
                    for name in names {
                        ledger
                            .made
                            .extend(ledger.present(name)?.map(|hash| ((*name).to_owned(), hash)));
                    }
                }
            }
            Err(why) => return Err(failed(&folder.join(NAME), &why)),
        }
        ledger.forget_the_past()?;
        Ok(ledger)
    }

    /// Nothing was made here.
    pub(super) fn is_empty(&self) -> bool {
        self.made.is_empty()
    }

    /// Those of these files that are there and were not made by `dev`, or not like this.
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

    /// Replaces a file that is not foreign. A stop in between leaves the old one; only its owner can read it.
    pub(super) fn write(&mut self, name: &str, text: &str) -> Result<(), FolderError> {
        // First, so that no stop leaves a file of which nothing is known.
        self.made.insert((name.to_owned(), hash(text.as_bytes())));
        self.save()?;
        replace(&self.folder.join(name), text)
    }

    /// The hash of what is there now.
    fn present(&self, name: &str) -> Result<Option<String>, FolderError> {
        let path = self.folder.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(hash(&bytes))),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(failed(&path, &why)),
        }
    }

    /// Keeps what is true of the files as they are, or the list would grow with every start.
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
    let name = path.file_name().unwrap_or_default().display().to_string();
    let beside = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let written = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&beside, path)
    };
    written().map_err(|why| failed(path, &why))
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
