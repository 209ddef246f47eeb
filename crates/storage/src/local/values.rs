//! Large values of records, one file each. In the table they would delay every neighbour: 238 values of 1 MiB
//! a second and 31 ms for a small value in the table, against 683 and 4 ms beside it. A file is named for the
//! version of its record, so it is never written twice. It is durable before its record is, and is removed
//! after the record has changed.

use super::folder::Folder;
use super::hold::Hold;
use super::openat::{names, open_file, open_folder};
use super::space::Space;
use super::{Disk, Failure, Number, OpenError};
use bytes::Bytes;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Smaller values stay in the table.
pub(super) const LARGE: usize = 64 << 10;

pub(super) struct Values {
    root: File,
    hold: Hold,
    /// The existing folders, by the first byte of the version.
    shards: Mutex<HashSet<u8>>,
    /// The files that this process made, until the files that a crash left are removed.
    made: Mutex<Option<HashSet<Number>>>,
    disk: Disk,
    /// Keeps the folder locked until the last change has ended.
    folder: Arc<Folder>,
}

impl Values {
    pub(super) fn open(folder: Arc<Folder>, space: Arc<Space>, disk: Disk) -> Result<Self, OpenError> {
        let root = folder.folder("v")?;
        let hold = Hold::open(&root, space).map_err(folder.failed("v"))?;
        let values = Self {
            root,
            hold,
            shards: Mutex::default(),
            made: Mutex::new(Some(HashSet::new())),
            disk,
            folder,
        };
        let failed = |source| OpenError::Folder {
            folder: values.folder.path().to_owned(),
            file: "v",
            source,
        };
        let names = names(&values.root).map_err(failed)?;
        // After this sync, folders that a crash left are durable too.
        values.root.sync_all().map_err(failed)?;
        values
            .shards()
            .extend(names.iter().filter_map(|name| u8::from_str_radix(name, 16).ok()));
        Ok(values)
    }

    /// Returns when the value survives a power cut.
    pub(super) fn write(&self, version: Number, value: &[u8]) -> Result<(), Failure> {
        // Everything that can fail for another reason than the disk, such as too many open files, comes
        // first.
        let folder = self.made_folder(&shard(version)).map_err(io::Error::from)?;
        if let Some(made) = &mut *self.made() {
            made.insert(version);
        }
        let mut file = open_file(
            &folder,
            &name(version),
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL,
        )
        .map_err(io::Error::from)?;
        if let Err(failure) = file.write_all(value) {
            self.unlink(version);
            return Err(failure.into());
        }
        self.sync(version, &folder, &file).inspect_err(|failure| {
            self.unlink(version);
            if !matches!(failure, Failure::Full) {
                self.disk.stop(failure);
            }
        })
    }

    pub(super) fn probe(&self) -> Result<(), Failure> {
        self.folder.probe("v", &self.root)
    }

    /// [`Failure::Missing`] if there is none.
    pub(super) fn read(&self, version: Number) -> Result<Bytes, Failure> {
        let opened = open_folder(&self.root, &shard(version))
            .and_then(|shard| open_file(shard, &name(version), OFlags::RDONLY));
        match opened {
            Ok(mut file) => {
                let mut value = Vec::new();
                file.read_to_end(&mut value)?;
                Ok(value.into())
            }
            Err(Errno::NOENT) => Err(Failure::Missing),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }

    /// Removes the value of a record that has changed. A file that cannot be removed only takes up space.
    pub(super) fn remove(&self, version: Number) {
        if self.shards().contains(&first_byte(version)) {
            self.unlink(version);
        }
    }

    fn unlink(&self, version: Number) {
        let shard = shard(version);
        let name = name(version);
        match open_folder(&self.root, &shard).and_then(|folder| self.hold.remove(&folder, &name)) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(why) => {
                tracing::warn!("the file v/{shard}/{name} could not be removed and takes up space: {why}")
            }
        }
    }

    /// The folder with the values, and the hold on removals from it.
    pub(super) const fn files(&self) -> (&File, &Hold) {
        (&self.root, &self.hold)
    }

    /// The versions of all files, and the folders that cannot be read, in words.
    pub(super) fn versions(&self) -> (Vec<Number>, Vec<String>) {
        let mut versions = Vec::new();
        let mut wrong = Vec::new();
        let shards: Vec<u8> = self.shards().iter().copied().collect();
        for shard in shards.iter().map(|shard| format!("{shard:02x}")) {
            match open_folder(&self.root, &shard)
                .map_err(io::Error::from)
                .and_then(|folder| names(&folder))
            {
                Ok(found) => {
                    let bits = found.iter().filter_map(|name| u64::from_str_radix(name, 16).ok());
                    versions.extend(bits.map(|bits| Number(bits.cast_signed())));
                }
                Err(why) => wrong.push(format!("the folder v/{shard} cannot be read: {why}")),
            }
        }
        (versions, wrong)
    }

    /// The files of earlier processes, some of which may belong to no record. Empty after
    /// [`Values::forget_made`].
    pub(super) fn of_earlier_processes(&self) -> HashSet<Number> {
        let (found, _) = self.versions();
        // A file is noted before it is made, so every listed file of this process is noted by now.
        match &*self.made() {
            Some(made) => found
                .into_iter()
                .filter(|version| !made.contains(version))
                .collect(),
            None => HashSet::new(),
        }
    }

    pub(super) fn forget_made(&self) {
        *self.made() = None;
    }

    /// The versions of all files, and how many bytes each has.
    pub(super) fn sizes(&self) -> Result<Vec<(Number, u64)>, Failure> {
        let shards: Vec<u8> = self.shards().iter().copied().collect();
        let mut sizes = Vec::new();
        for shard in shards {
            let folder = open_folder(&self.root, &format!("{shard:02x}")).map_err(io::Error::from)?;
            for name in names(&folder)? {
                let file =
                    rustix::fs::statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from)?;
                if let Ok(bits) = u64::from_str_radix(&name, 16) {
                    sizes.push((Number(bits.cast_signed()), file.st_size.unsigned_abs()));
                }
            }
        }
        Ok(sizes)
    }

    fn made_folder(&self, shard: &str) -> Result<File, Errno> {
        match open_folder(&self.root, shard) {
            Err(Errno::NOENT) => {}
            opened => return opened,
        }
        match rustix::fs::mkdirat(&self.root, shard, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => open_folder(&self.root, shard),
            Err(error) => Err(error),
        }
    }

    fn sync(&self, version: Number, folder: &File, file: &File) -> Result<(), Failure> {
        let first = first_byte(version);
        if self.disk.is_durable() {
            file.sync_data()?;
            folder.sync_all()?;
            if !self.shards().contains(&first) {
                self.root.sync_all()?;
            }
        }
        self.shards().insert(first);
        Ok(())
    }

    fn made(&self) -> MutexGuard<'_, Option<HashSet<Number>>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shards(&self) -> MutexGuard<'_, HashSet<u8>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says which file should exist, and why it cannot be read.
pub(super) fn lost(version: Number, why: &Failure) -> String {
    let place = place(version);
    match why {
        Failure::Missing => format!("its file {place} is missing"),
        why => format!("its file {place} cannot be read: {why}"),
    }
}

/// The path of a value's file in the store.
pub(super) fn place(version: Number) -> String {
    format!("v/{}/{}", shard(version), name(version))
}

pub(super) fn name(version: Number) -> String {
    format!("{:016x}", version.0.cast_unsigned())
}

pub(super) fn shard(version: Number) -> String {
    format!("{:02x}", first_byte(version))
}

fn first_byte(version: Number) -> u8 {
    let [first, ..] = version.0.to_be_bytes();
    first
}
