//! The bytes of blobs, a file each, written in place. What blocks runs on the runtime's blocking threads.

use super::folder::{Folder, open_file, open_folder};
use super::{Answer, BlobFile, Disk, Failure, OpenError};
use crate::storage::contract::check_name;
use bytes::Bytes;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The most that one read answers with, however much was asked for.
const LARGEST_READ: usize = 1 << 20;

pub(super) struct Blobs {
    shards: Arc<Shards>,
    turns: Turns,
    disk: Disk,
}

impl Blobs {
    pub(super) fn open(folder: Arc<Folder>, disk: Disk) -> Result<Self, OpenError> {
        let root = folder.folder("d")?;
        let shards = Shards { root, durable: Mutex::default(), _folder: folder };
        Ok(Self { shards: Arc::new(shards), turns: Turns::default(), disk })
    }

    pub(super) async fn write(&self, name: &str, offset: u64, chunks: Vec<Bytes>) -> Result<(), Failure> {
        self.change(name, move |shards, name, _| shards.write(name, offset, &chunks)).await
    }

    pub(super) async fn seal(&self, name: &str, size: u64) -> Result<(), Failure> {
        self.change(name, move |shards, name, disk| shards.seal(name, size, disk)).await
    }

    pub(super) async fn remove(&self, name: &str) -> Result<(), Failure> {
        self.change(name, |shards, name, _| shards.remove(name)).await
    }

    pub(super) async fn open_blob(&self, name: &str) -> Result<OpenBlob, Failure> {
        check_name(name)?;
        let (shards, name) = (self.shards.clone(), name.to_owned());
        blocking(move || {
            let file = shards.open(&name, OFlags::RDONLY)?;
            let size = file.metadata()?.len();
            Ok(OpenBlob { file: Arc::new(file), size })
        })
        .await
    }

    /// Runs `change` when no other one of that blob is running. It cannot be called back: if this future is dropped, the change
    /// goes on, and the next one waits for it.
    async fn change(
        &self,
        name: &str,
        change: impl FnOnce(&Shards, &str, &Disk) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), Failure> {
        check_name(name)?;
        let turn = self.turns.of(name).lock_owned().await;
        self.disk.check()?;
        let (shards, disk, name) = (self.shards.clone(), self.disk.clone(), name.to_owned());
        blocking(move || {
            let _turn = turn;
            change(&shards, &name, &disk)
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Failure::Io(Arc::new(error))))
}

/// The folders that the files lie in, by the first two characters of the name.
struct Shards {
    root: File,
    /// Those whose own name is known to survive a power cut.
    durable: Mutex<HashSet<String>>,
    /// Keeps it locked until the last change has ended.
    _folder: Arc<Folder>,
}

impl Shards {
    fn write(&self, name: &str, offset: u64, chunks: &[Bytes]) -> Result<(), Failure> {
        let file = if offset == 0 { self.create(name)? } else { self.open(name, OFlags::WRONLY)? };
        let size = file.metadata()?.len();
        if size < offset {
            return Err(Failure::Missing);
        }
        if size > offset {
            file.set_len(offset)?;
        }
        let mut at = offset;
        for chunk in chunks {
            file.write_all_at(chunk, at)?;
            at += chunk.len() as u64;
        }
        Ok(())
    }

    fn seal(&self, name: &str, size: u64, disk: &Disk) -> Result<(), Failure> {
        let file = self.open(name, OFlags::WRONLY)?;
        if file.metadata()?.len() != size {
            return Err(Failure::Missing);
        }
        self.sync(name, &file).inspect_err(|failure| match failure {
            // What could not be written is lost, and another sync would not say so: leave nothing that could be sealed.
            Failure::Full => drop(self.remove(name)),
            _ => disk.stop(failure),
        })
    }

    fn sync(&self, name: &str, file: &File) -> Result<(), Failure> {
        file.sync_data()?;
        let shard = shard(name);
        open_folder(&self.root, shard).map_err(io::Error::from)?.sync_all()?;
        let known = self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(shard);
        if !known {
            self.root.sync_all()?;
            self.durable.lock().unwrap_or_else(PoisonError::into_inner).insert(shard.to_owned());
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), Failure> {
        let removed = open_folder(&self.root, shard(name)).and_then(|shard| rustix::fs::unlinkat(shard, name, AtFlags::empty()));
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }

    fn open(&self, name: &str, flags: OFlags) -> Result<File, Failure> {
        match open_folder(&self.root, shard(name)).and_then(|shard| open_file(shard, name, flags)) {
            Ok(file) => Ok(file),
            Err(Errno::NOENT) => Err(Failure::Missing),
            Err(error) => Err(io::Error::from(error).into()),
        }
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

fn shard(name: &str) -> &str {
    name.get(..2).unwrap_or(name)
}

/// Who may change which blob, in the order they asked.
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

pub(super) struct OpenBlob {
    file: Arc<File>,
    size: u64,
}

impl BlobFile for OpenBlob {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, offset: u64, most: usize) -> Answer<'_, Bytes> {
        Box::pin(async move {
            let rest = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
            let buffer = vec![0; rest.min(most).min(LARGEST_READ)];
            if buffer.is_empty() {
                return Ok(Bytes::new());
            }
            let file = self.file.clone();
            let bytes = match read_cached(&file, buffer, offset) {
                Ok(bytes) => bytes,
                Err(mut buffer) => {
                    blocking(move || {
                        let read = file.read_at(&mut buffer, offset)?;
                        buffer.truncate(read);
                        Ok(buffer)
                    })
                    .await?
                }
            };
            if bytes.is_empty() { Err(Failure::Missing) } else { Ok(bytes.into()) }
        })
    }
}

/// What the page cache has, without waiting for the disk; `Err` gives the buffer back if that is nothing.
#[cfg(target_os = "linux")]
fn read_cached(file: &File, mut buffer: Vec<u8>, offset: u64) -> Result<Vec<u8>, Vec<u8>> {
    let read = rustix::io::preadv2(file, &mut [io::IoSliceMut::new(&mut buffer)], offset, rustix::io::ReadWriteFlags::NOWAIT);
    match read {
        Ok(read) if read > 0 => {
            buffer.truncate(read);
            Ok(buffer)
        }
        _ => Err(buffer),
    }
}

#[cfg(not(target_os = "linux"))]
fn read_cached(_: &File, buffer: Vec<u8>, _: u64) -> Result<Vec<u8>, Vec<u8>> {
    Err(buffer)
}
