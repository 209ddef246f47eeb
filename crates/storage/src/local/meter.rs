//! Measures how much of its disk a store uses and how much is free. Reads only names and sizes, and does not
//! need the store to be open.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use wharfinger_base::file_error::FileError;

/// Measures the store in one folder. Every call blocks.
#[derive(Clone, Debug)]
pub struct Meter {
    folder: PathBuf,
}

/// The disk that a store is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    pub bytes: u64,
    /// The free space for users other than root.
    pub free_bytes: u64,
    /// `None` where the file system does not count files.
    pub free_files: Option<u64>,
}

/// Files and their content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    pub files: u64,
    pub bytes: u64,
}

impl Amount {
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self {
            files: self.files + other.files,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// A part of a store that consists of many files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The bytes of blobs and of unfinished uploads.
    Blobs,
    /// Large records: manifests, most of them.
    Values,
}

impl Part {
    pub const ALL: [Self; 2] = [Self::Blobs, Self::Values];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blobs => "blobs",
            Self::Values => "values",
        }
    }

    const fn folder(self) -> &'static str {
        match self {
            Self::Blobs => "d",
            Self::Values => "v",
        }
    }
}

impl Meter {
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// `None` where the file system does not report its size.
    pub fn disk(&self) -> Result<Option<Disk>, FileError> {
        let disk =
            rustix::fs::statvfs(&self.folder).map_err(|why| FileError::new(&self.folder, &why.into()))?;
        let bytes = disk.f_blocks.saturating_mul(disk.f_frsize);
        let free_files = (disk.f_files > 0).then_some(disk.f_favail);
        Ok((bytes > 0).then_some(Disk {
            bytes,
            free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
            free_files,
        }))
    }

    /// The sizes of the database and of its write-ahead log, in bytes.
    pub fn database(&self) -> Result<(u64, u64), FileError> {
        let size = |name: &str| {
            let path = self.folder.join(name);
            match path.symlink_metadata() {
                Ok(about) => Ok(about.len()),
                Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(0),
                Err(why) => Err(FileError::new(&path, &why)),
            }
        };
        Ok((size("records.sqlite3")?, size("records.sqlite3-wal")?))
    }

    /// The folders of a part, at most a few hundred. [`count`] counts one of them.
    pub fn folders(&self, part: Part) -> Result<Vec<PathBuf>, FileError> {
        let path = self.folder.join(part.folder());
        let read = || {
            fs::read_dir(&path)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<io::Result<_>>()
        };
        read().map_err(|why| FileError::new(&path, &why))
    }
}

/// Counts the files in one folder. A file that disappears meanwhile is not counted.
pub fn count(folder: &Path) -> Result<Amount, FileError> {
    let mut amount = Amount::default();
    let mut read = || {
        for entry in fs::read_dir(folder)? {
            match entry?.metadata() {
                Ok(about) => {
                    amount = amount.with(Amount {
                        files: 1,
                        bytes: about.len(),
                    })
                }
                Err(why) if why.kind() == io::ErrorKind::NotFound => {}
                Err(why) => return Err(why),
            }
        }
        Ok(amount)
    };
    read().map_err(|why: io::Error| FileError::new(folder, &why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_with_their_bytes_and_a_store_without_a_log_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let meter = Meter::new(folder.path());
        assert_eq!(meter.database().unwrap(), (0, 0));
        assert!(meter.folders(Part::Blobs).unwrap_err().is_missing());
        for (path, bytes) in [
            ("d/00/a", 3),
            ("d/00/b", 4),
            ("d/ff/c", 5),
            ("v/07/d", 6),
            ("records.sqlite3", 7),
            ("records.sqlite3-wal", 8),
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![0; bytes]).unwrap();
        }
        let of = |part| {
            let folders = meter.folders(part).unwrap();
            folders
                .iter()
                .fold(Amount::default(), |all, folder| all.with(count(folder).unwrap()))
        };
        assert_eq!(of(Part::Blobs), Amount { files: 3, bytes: 12 });
        assert_eq!(of(Part::Values), Amount { files: 1, bytes: 6 });
        assert_eq!(meter.database().unwrap(), (7, 8));
        let disk = meter.disk().unwrap().unwrap();
        assert!(disk.bytes >= disk.free_bytes && disk.bytes > 0, "{disk:?}");
    }
}
