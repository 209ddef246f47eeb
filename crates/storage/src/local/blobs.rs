//! The bytes of blobs, one file each, written in place. Blocking work runs on the runtime's blocking threads.

use super::buffers::Buffers;
use super::folder::Folder;
use super::hold::Hold;
use super::openat::{names, open_cached, open_file, open_folder};
use super::reading::OpenBlob;
use super::space::Space;
use super::{Disk, Failure, Look, OpenError, Timestamp, Written, writeback};
use crate::blocking::blocking;
use crate::contract::{Unlisted, check_name};
use bytes::Bytes;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use wharfinger_base::recent::Recent;

/// How many files of unsealed blobs are kept open.
const WRITTEN: usize = 512;

pub(super) struct Blobs {
    shards: Arc<Shards>,
    turns: Turns,
    disk: Disk,
    buffers: Buffers,
}

impl Blobs {
    pub(super) fn open(folder: Arc<Folder>, space: Arc<Space>, disk: Disk) -> Result<Self, OpenError> {
        let root = folder.folder("d")?;
        let hold = Hold::open(&root, space).map_err(folder.failed("d"))?;
        let shards = Shards {
            root,
            hold,
            durable: Mutex::default(),
            written: Mutex::new(Recent::new(WRITTEN)),
            folder,
        };
        Ok(Self {
            shards: Arc::new(shards),
            turns: Turns::default(),
            disk,
            buffers: Buffers::default(),
        })
    }

    /// The folder with the bytes, and the hold on removals from it.
    pub(super) fn files(&self) -> (&File, &Hold) {
        (&self.shards.root, &self.shards.hold)
    }

    pub(super) async fn write(
        &self,
        name: &str,
        offset: u64,
        chunks: Vec<Bytes>,
        look: Look,
    ) -> Result<(), Failure> {
        self.change(name, move |shards, name, disk| {
            shards.write(name, offset, &chunks, look, disk)
        })
        .await
    }

    /// Returns when the bytes and the name survive a power cut.
    pub(super) async fn sync(&self, name: &str, size: u64) -> Result<(), Failure> {
        self.change(name, move |shards, name, disk| shards.sync(name, size, disk))
            .await
    }

    pub(super) async fn remove(&self, name: &str) -> Result<(), Failure> {
        self.change(name, |shards, name, _| shards.remove(name)).await
    }

    pub(super) async fn probe(&self) -> Result<(), Failure> {
        let shards = self.shards.clone();
        blocking(move || shards.folder.probe("d", &shards.root)).await
    }

    /// See [`crate::BlobStore::list_bytes`].
    pub(super) async fn list(&self, after: &str, limit: usize) -> Result<Vec<Written>, Failure> {
        let shards = self.shards.clone();
        let after = after.to_owned();
        blocking(move || shards.list(&after, limit)).await
    }

    pub(super) async fn open_blob(&self, name: &str) -> Result<OpenBlob, Failure> {
        check_name(name)?;
        let opened = |file: File| {
            let size = file.metadata()?.len();
            Ok(OpenBlob {
                file: Arc::new(file),
                size,
                buffers: self.buffers.clone(),
            })
        };
        if let Some(file) = open_cached(&self.shards.root, &format!("{}/{name}", shard(name))) {
            return opened(file);
        }
        let shards = self.shards.clone();
        let name = name.to_owned();
        opened(blocking(move || shards.open(&name, OFlags::RDONLY)).await?)
    }

    /// Runs `change` when no other change of that blob is running. It cannot be cancelled: if this future is
    /// dropped, the change continues, and the next one waits for it.
    async fn change(
        &self,
        name: &str,
        change: impl FnOnce(&Shards, &str, &Disk) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), Failure> {
        check_name(name)?;
        let turn = self.turns.of(name).lock_owned().await;
        self.disk.check()?;
        let shards = self.shards.clone();
        let disk = self.disk.clone();
        let name = name.to_owned();
        blocking(move || {
            let _turn = turn;
            change(&shards, &name, &disk)
        })
        .await
    }
}

/// The folders with the files, by the first two characters of the name.
struct Shards {
    root: File,
    hold: Hold,
    /// The folders whose own names are known to survive a power cut.
    durable: Mutex<HashSet<String>>,
    /// The open files of unsealed blobs. They stay open because the kernel reports a failed write for certain
    /// only to those who had the file open at the time.
    written: Mutex<Recent<String, Arc<File>>>,
    /// Keeps the folder locked until the last change has ended.
    folder: Arc<Folder>,
}

impl Shards {
    fn write(
        &self,
        name: &str,
        offset: u64,
        chunks: &[Bytes],
        mut look: Look,
        disk: &Disk,
    ) -> Result<(), Failure> {
        let file = self.open_for_writing(name, offset)?;
        let size = file.metadata()?.len();
        if size < offset {
            return Err(Failure::Missing);
        }
        if size > offset {
            file.set_len(offset)?;
        }
        let mut rest = chunks;
        let mut at = offset;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(piece(rest));
            piece.iter().for_each(|chunk| look(chunk));
            at += write_all(&file, piece, at)?;
            rest = after;
        }
        if disk.is_durable() {
            // If writing fails, all unsealed bytes are suspect: the caller continues from what was kept
            // before, and that cuts off the rest.
            writeback::begin(&file, offset, at)
                .map_err(Failure::from)
                .inspect_err(|failure| {
                    if !matches!(failure, Failure::Full) {
                        disk.stop(failure);
                    }
                })?;
        }
        Ok(())
    }

    fn sync(&self, name: &str, size: u64, disk: &Disk) -> Result<(), Failure> {
        // Everything that can fail for another reason than the disk, such as too many open files, comes
        // first.
        let folder = self.folder(name)?;
        let written = self.written().get(name);
        let file = written.map_or_else(|| open_in(&folder, name, OFlags::WRONLY).map(Arc::new), Ok)?;
        if file.metadata()?.len() != size {
            return Err(Failure::Missing);
        }
        self.written().remove(name);
        if !disk.is_durable() {
            return Ok(());
        }
        self.sync_file(shard(name), &folder, &file)
            .inspect_err(|failure| {
                // What could not be written is lost, and another sync would not report it. So remove the
                // file: nothing must be left that could be sealed.
                if !matches!(failure, Failure::Full) || self.remove(name).is_err() {
                    disk.stop(failure);
                }
            })
    }

    fn sync_file(&self, shard: &str, folder: &File, file: &File) -> Result<(), Failure> {
        file.sync_data()?;
        folder.sync_all()?;
        let known = self
            .durable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(shard);
        if !known {
            self.root.sync_all()?;
            self.durable
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(shard.to_owned());
        }
        Ok(())
    }

    /// Lists one folder at a time, since their order is the order of the names in them. Foreign files are
    /// skipped. But anything that may hide blobs, such as a link in place of a folder, is an error.
    fn list(&self, after: &str, limit: usize) -> Result<Vec<Written>, Failure> {
        let mut shards = names(&self.root)?;
        // `~` after the name of a folder means that the list continues with the next folder.
        shards.retain(|shard| {
            is_shard(shard)
                && (shard.as_str() > after || after.strip_prefix(shard).is_some_and(|rest| rest != "~"))
        });
        shards.sort_unstable();
        let mut found = Vec::new();
        for shard in shards {
            let folder = match open_folder(&self.root, &shard) {
                Ok(folder) => folder,
                Err(_) if written(&self.root, &shard)?.is_some() => continue,
                Err(error) => return Err(unlisted(&shard, found, error)),
            };
            let mut names = names(&folder)?;
            names
                .retain(|name| name.as_str() > after && check_name(name).is_ok() && name.starts_with(&shard));
            names.sort_unstable();
            for name in names {
                if found.len() == limit {
                    return Ok(found);
                }
                if let Some(written) = written(&folder, &name)? {
                    found.push(Written { key: name, written });
                }
            }
        }
        Ok(found)
    }

    fn remove(&self, name: &str) -> Result<(), Failure> {
        self.written().remove(name);
        let removed = open_folder(&self.root, shard(name)).and_then(|shard| self.hold.remove(&shard, name));
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }

    fn open(&self, name: &str, flags: OFlags) -> Result<File, Failure> {
        open_in(&self.folder(name)?, name, flags)
    }

    fn open_for_writing(&self, name: &str, offset: u64) -> Result<Arc<File>, Failure> {
        let written = self.written().get(name);
        if let Some(file) = written {
            return Ok(file);
        }
        let file = Arc::new(if offset == 0 {
            self.create(name)?
        } else {
            self.open(name, OFlags::WRONLY)?
        });
        self.written().put(name.to_owned(), file.clone(), 1);
        Ok(file)
    }

    fn written(&self) -> MutexGuard<'_, Recent<String, Arc<File>>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn folder(&self, name: &str) -> Result<File, Failure> {
        open_folder(&self.root, shard(name)).map_err(not_opened)
    }

    fn create(&self, name: &str) -> Result<File, Failure> {
        let flags = OFlags::WRONLY | OFlags::CREATE;
        match self.open(name, flags) {
            Err(Failure::Missing) => {}
            opened => return opened,
        }
        match rustix::fs::mkdirat(&self.root, shard(name), Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => self.open(name, flags),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }
}

fn open_in(folder: &File, name: &str, flags: OFlags) -> Result<File, Failure> {
    open_file(folder, name, flags).map_err(not_opened)
}

fn not_opened(error: Errno) -> Failure {
    if error == Errno::NOENT {
        Failure::Missing
    } else {
        io::Error::from(error).into()
    }
}

/// How many chunks are hashed and written together. For a larger write the kernel looks for larger pieces of
/// free memory, and on a machine with a long uptime it moves others' memory to make them. That was a third of
/// the CPU time of a push in a measurement.
fn piece(chunks: &[Bytes]) -> usize {
    const ENOUGH: usize = 64 << 10;
    /// The limit of one call (`IOV_MAX`).
    const MOST: usize = 1024;
    let mut size = 0;
    let smaller = chunks.iter().take(MOST - 1).take_while(|chunk| {
        size += chunk.len();
        size < ENOUGH
    });
    (smaller.count() + 1).min(chunks.len())
}

/// Returns the number of bytes written.
fn write_all(file: &File, chunks: &[Bytes], offset: u64) -> Result<u64, Failure> {
    let mut slices: Vec<_> = chunks.iter().map(|chunk| IoSlice::new(chunk)).collect();
    let mut left = &mut slices[..];
    let mut written = 0;
    IoSlice::advance_slices(&mut left, 0); // skips empty chunks
    while !left.is_empty() {
        match rustix::io::pwritev(file, left, offset + written) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
            Ok(more) => {
                written += more as u64;
                IoSlice::advance_slices(&mut left, more);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
    Ok(written)
}

fn unlisted(shard: &str, found: Vec<Written>, error: Errno) -> Failure {
    // Every name in the folder sorts before this.
    let next = format!("{shard}~");
    Failure::Io(Arc::new(Unlisted {
        found,
        place: format!("the folder d/{shard}"),
        next,
        source: error.into(),
    }))
}

pub(super) fn shard(name: &str) -> &str {
    name.get(..2).unwrap_or(name)
}

fn is_shard(name: &str) -> bool {
    name.len() == 2
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// When the file was last written. `None` if there is no file of that name.
fn written(folder: &File, name: &str) -> Result<Option<Timestamp>, Failure> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) if FileType::from_raw_mode(status.st_mode) == FileType::RegularFile => {
            Ok(Some(Timestamp::from_secs(status.st_mtime)))
        }
        Ok(_) | Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(io::Error::from(error).into()),
    }
}

/// One queue per blob, for the changes of that blob.
#[derive(Default)]
struct Turns(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    fn of(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        const MANY: usize = 1024;
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(name).and_then(Weak::upgrade) {
            return turn;
        }
        if turns.len() >= MANY && turns.len() == turns.capacity() {
            turns.retain(|_, turn| turn.strong_count() > 0); // before the map would grow
        }
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        turns.insert(name.to_owned(), Arc::downgrade(&turn));
        turn
    }
}
