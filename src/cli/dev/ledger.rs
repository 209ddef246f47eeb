//! Which files `dev` made, so that it overwrites none that somebody else made or changed.

use super::folder_error::FolderError;
use crate::file_error::FileError;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// One line for each content that was written, as `sha256sum` writes them.
const NAME: &str = ".made-by-dev";
/// How the name of a file ends that takes the place of another.
const AFTER: &str = ".new";

/// What was written into a folder.
pub(super) struct Ledger {
    folder: PathBuf,
    /// The file's name in the folder, and the hash of its content.
    made: BTreeSet<(String, String)>,
}

/// How to know the files of the version that wrote no list.
pub(super) struct Earlier<'a> {
    /// The name of its configuration.
    pub(super) config: &'a str,
    /// How that begins, whether it was changed since or not.
    pub(super) header: &'a str,
    /// Whether it is as it was written.
    pub(super) is_unchanged: fn(&str) -> bool,
}

impl Ledger {
    /// What is known of a folder, in which `dev` makes files with these `names`. The earlier version wrote no
    /// list: its files are taken over as `earlier` says.
    pub(super) fn open(folder: &Path, names: &[&str], earlier: &Earlier<'_>) -> Result<Self, FolderError> {
        for name in names.iter().chain([&NAME]) {
            remove_leftovers(&folder.join(name))?;
        }
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

    /// Takes over what the earlier version made, and notes it at once: the configuration may have been
    /// changed, and be moved away for that.
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
    let beside = path.with_file_name(format!("{}{}{AFTER}", before(path), std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| {
            let written = file
                .write_all(text.as_bytes())
                .and_then(|()| fs::rename(&beside, path));
            if written.is_err() {
                // The first error is the one to tell.
                drop(fs::remove_file(&beside));
            }
            written
        });
    written.map_err(|why| failed(path, &why))
}

/// Removes what [`replace`] left where it was killed: files of this process's id, which a container gives to
/// each, and of processes that are gone.
fn remove_leftovers(path: &Path) -> Result<(), FolderError> {
    let (Some(folder), start) = (path.parent(), before(path)) else {
        return Ok(());
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(why) => return Err(failed(folder, &why)),
    };
    for entry in entries {
        let name = entry.map_err(|why| failed(folder, &why))?.file_name();
        let process = name
            .to_str()
            .and_then(|name| name.strip_prefix(&start)?.strip_suffix(AFTER)?.parse().ok());
        if process.is_some_and(|process| process == std::process::id() || is_gone(process)) {
            let leftover = folder.join(name);
            fs::remove_file(&leftover).map_err(|why| failed(&leftover, &why))?;
        }
    }
    Ok(())
}

fn is_gone(process: u32) -> bool {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    process.is_some_and(|process| test_kill_process(process) == Err(Errno::SRCH))
}

/// How the name of a file begins that takes the place of another; then comes the process's id.
fn before(path: &Path) -> String {
    format!(".{}.", path.file_name().unwrap_or_default().display())
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
