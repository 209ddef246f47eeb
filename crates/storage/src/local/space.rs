//! Reserved space for what must work on a full disk: deletions, checkpoints of the log, and opening the
//! store. There are two reserves. First, pushes are rejected while less than a fraction of the disk is free.
//! Other programs do not respect that, so second, the file `reserve` holds blocks of its own. When the disk
//! is completely full, the file is truncated step by step and its blocks are used. It grows again as soon as
//! there is room, and pushes are rejected until it has its full size.

use super::Failure;
use super::openat::open_file;
use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The free reserve is `1 / PART` of the disk, between `LEAST` and `MOST` bytes.
const PART: u64 = 100;
const LEAST: u64 = 1 << 20;
const MOST: u64 = 1 << 30;

/// The file is `1 / FILE_PART` of the disk, between `FILE_LEAST` and `FILE_MOST` bytes. Before the log is
/// larger than half of the file, it is moved into the table, which may grow by as much.
const FILE_PART: u64 = 50;
const FILE_LEAST: u64 = 1 << 20;
const FILE_MOST: u64 = 16 << 20;
const FILE: &str = "reserve";
/// The file is truncated by `1 / PIECES` of its size at a time, at least by `PIECE_LEAST` bytes, since
/// another program may take what is free.
const PIECES: u64 = 8;
const PIECE_LEAST: u64 = 256 << 10;

/// While a reader keeps the log from being emptied, it may take `1 / LOG_PART` of the disk, between
/// `LOG_LEAST` and `LOG_MOST` bytes.
const LOG_PART: u64 = 10;
const LOG_LEAST: u64 = 16 << 20;
const LOG_MOST: u64 = 1 << 30;

/// The log's index grows by `INDEXED_AT_ONCE` bytes for every `INDEXED` bytes of the log.
const INDEXED_AT_ONCE: u64 = 32 << 10;
const INDEXED: u64 = 16 << 20;

pub(super) struct Space {
    /// The store's folder.
    folder: File,
    /// The file `reserve`. It stays open, so that it can be truncated even when the process has no descriptor
    /// left. The lock is held while the size changes.
    changing: Mutex<Option<File>>,
    /// How many operations are using blocks that the file gave up. It does not grow meanwhile.
    freeing: AtomicUsize,
    /// Whether a warning about a temporary error was logged.
    complained: AtomicBool,
    /// Whether the file has its full size, as far as the disk allows.
    whole: AtomicBool,
    /// Bytes in the log that are not in the table yet. The table may grow by as many.
    log: AtomicU64,
    /// Whether another program keeps a read open and the log has become too large.
    log_is_held: AtomicBool,
    /// How many backups of this process are copying the records, which keeps the log from being emptied.
    copying: AtomicUsize,
    /// Replaces the size of the disk and its free space.
    #[cfg(test)]
    disk: Mutex<(Option<u64>, Option<u64>)>,
}

/// How large the disk is, and how much of it is free, in bytes.
#[derive(Clone, Copy)]
struct Measure {
    size: u64,
    free: u64,
}

impl Space {
    /// Measures the disk that the folder is on.
    pub(super) fn new(folder: File) -> Self {
        Self {
            folder,
            changing: Mutex::default(),
            freeing: AtomicUsize::new(0),
            complained: AtomicBool::new(false),
            whole: AtomicBool::new(false),
            log: AtomicU64::new(0),
            log_is_held: AtomicBool::new(false),
            copying: AtomicUsize::new(0),
            #[cfg(test)]
            disk: Mutex::default(),
        }
    }

    /// Simulates a disk where only the reserve is left.
    #[cfg(test)]
    pub(super) fn fill(&self) {
        self.pretend(None, Some(0));
    }

    #[cfg(test)]
    pub(super) fn pretend(&self, size: Option<u64>, free: Option<u64>) {
        *self.disk.lock().unwrap() = (size, free);
    }

    /// Fails with [`Failure::Full`] if only the reserve is left. Call this before writing anything that frees
    /// no space.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.has_held_log() {
            return Err(Failure::LogHeld);
        }
        self.has_room()
    }

    /// Whether only the reserve is left, regardless of the log.
    pub(super) fn is_full(&self) -> bool {
        matches!(self.has_room(), Err(Failure::Full))
    }

    fn has_room(&self) -> Result<(), Failure> {
        if !self.whole.load(Ordering::SeqCst) && !self.grow(self.measure()?) {
            return Err(Failure::Full);
        }
        let disk = self.measure()?;
        let needed = disk.reserve() + self.log.load(Ordering::SeqCst);
        if disk.has(needed) {
            Ok(())
        } else {
            Err(Failure::Full)
        }
    }

    /// The free bytes without the reserve. `None` where the file system does not report its size.
    pub(super) fn left(&self) -> Result<Option<u64>, Failure> {
        let disk = self.measure()?;
        Ok((disk.size > 0).then(|| disk.free.saturating_sub(disk.reserve())))
    }

    /// Frees space for opening records whose log has so many bytes, if there is next to none. Returns whether
    /// there is room for the log's index then. The index is mapped into memory, and the process is killed if
    /// a page of it finds no block.
    pub(super) fn make_room_to_open(&self, log: u64) -> bool {
        let has_room = || {
            let needed = PIECE_LEAST + index_of(log);
            self.measure().map_or(true, |disk| disk.has(needed))
        };
        while !has_room() {
            if !self.release() {
                return false;
            }
        }
        true
    }

    /// The size of the index of the largest log, on file systems that create it with holes.
    pub(super) fn index_with_holes(&self) -> Option<u64> {
        let disk = rustix::fs::fstatvfs(&self.folder).ok()?;
        (disk.f_frsize < INDEXED_AT_ONCE / 8).then(|| index_of(self.most_log()))
    }

    /// Creates the file, as large as there is room.
    pub(super) fn prepare(&self) -> Result<(), Failure> {
        self.grow(self.measure()?);
        Ok(())
    }

    /// Repeats the work with blocks of the reserve while the disk is too full for it.
    pub(super) fn or_from_reserve<T, E>(
        &self,
        mut work: impl FnMut() -> Result<T, E>,
        is_full: impl Fn(&E) -> bool,
    ) -> Result<T, E> {
        let mut done = work();
        let _freeing = done.as_ref().is_err_and(&is_full).then(|| self.freeing());
        while done.as_ref().is_err_and(&is_full) && self.release() {
            done = work();
        }
        done
    }

    /// Until this is dropped, the blocks that the file gave up stay free for the operation.
    pub(super) fn freeing(&self) -> Counted<'_> {
        Counted::new(&self.freeing)
    }

    /// Truncates the file by one piece. `false` if nothing is left of it.
    pub(super) fn release(&self) -> bool {
        let mut open = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_none() {
            *open = open_file(&self.folder, FILE, OFlags::WRONLY).ok();
        }
        let Some(file) = &*open else { return false };
        let size = file.metadata().map_or(0, |file| file.len());
        let piece = self.measure().map_or(0, Measure::file) / PIECES;
        if self.whole.swap(false, Ordering::SeqCst) && size > 0 {
            tracing::warn!(
                "the disk is full: the store uses its reserve, accepts deletions and rejects pushes until there is room again"
            );
        }
        let shorter = file.set_len(size.saturating_sub(piece.max(PIECE_LEAST)));
        if let Err(why) = &shorter {
            tracing::error!("the disk is full, and the store's file `{FILE}` cannot be truncated: {why}");
        }
        shorter.is_ok() && size > 0
    }

    /// How many pages the log may have before a checkpoint, so that the reserve is enough for it.
    pub(super) fn most_pages(&self) -> usize {
        let file = self.measure().map_or(0, Measure::file);
        if file == 0 {
            usize::MAX
        } else {
            usize::try_from(file / 2 / 4096).unwrap_or(usize::MAX)
        }
    }

    /// Sets how many bytes are in the log and not in the table.
    pub(super) fn log_has(&self, bytes: u64) {
        self.log.store(bytes, Ordering::SeqCst);
    }

    pub(super) fn log_is_held(&self, held: bool) {
        self.log_is_held.store(held, Ordering::SeqCst);
    }

    pub(super) fn has_held_log(&self) -> bool {
        self.log_is_held.load(Ordering::SeqCst)
    }

    /// Until this is dropped, this process is the one that keeps the log from being emptied. That ends by
    /// itself.
    pub(super) fn copying(&self) -> Counted<'_> {
        Counted::new(&self.copying)
    }

    pub(super) fn is_copying(&self) -> bool {
        self.copying.load(Ordering::SeqCst) > 0
    }

    /// How large the log may become while a reader keeps it from being emptied.
    pub(super) fn most_log(&self) -> u64 {
        self.measure().map_or(LOG_LEAST, |disk| {
            (disk.size / LOG_PART).clamp(LOG_LEAST, LOG_MOST)
        })
    }

    /// Returns whether the file has its full size now.
    fn grow(&self, disk: Measure) -> bool {
        let mut open = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let size = disk.file();
        if self.whole.load(Ordering::SeqCst) || size == 0 {
            return true;
        }
        if self.freeing.load(Ordering::SeqCst) > 0 {
            return false;
        }
        let file = match open_file(&self.folder, FILE, OFlags::RDWR | OFlags::CREATE) {
            Ok(file) => file,
            Err(Errno::NOSPC | Errno::DQUOT) => return false,
            Err(why) => return self.go_without(&io::Error::from(why)),
        };
        let file = &*open.insert(file);
        // A copied file may have no blocks, and may have the size for another disk.
        let kept = blocks(file).min(size);
        let grown = file
            .set_len(kept)
            .map_err(Failure::from)
            .and_then(|()| fill(file, kept, size.min(kept.saturating_add(disk.free))));
        match grown {
            Err(Failure::Io(why)) => return self.go_without(&*why),
            Err(_) => return false,
            Ok(()) => {}
        }
        let whole = file.metadata().is_ok_and(|file| file.len() == size);
        self.whole.store(whole, Ordering::SeqCst);
        whole
    }

    /// Without the file, the free fraction of the disk is still reserved. After a temporary error the next
    /// check tries again.
    fn go_without(&self, why: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
        let for_good = why.downcast_ref().is_some_and(is_for_good);
        if for_good || !self.complained.swap(true, Ordering::SeqCst) {
            tracing::warn!(
                "the store's file `{FILE}` cannot be created, so deletions may fail when the disk is completely full: {why}"
            );
        }
        self.whole.store(for_good, Ordering::SeqCst);
        true
    }

    fn measure(&self) -> Result<Measure, Failure> {
        let disk = rustix::fs::fstatvfs(&self.folder).map_err(io::Error::from)?;
        let measure = Measure {
            size: disk.f_blocks.saturating_mul(disk.f_frsize),
            free: disk.f_bavail.saturating_mul(disk.f_frsize),
        };
        #[cfg(test)]
        let measure = {
            let (size, free) = *self.disk.lock().unwrap();
            Measure {
                size: size.unwrap_or(measure.size),
                free: free.unwrap_or(measure.free),
            }
        };
        Ok(measure)
    }
}

impl Measure {
    /// True where the file system does not report its size.
    const fn has(self, bytes: u64) -> bool {
        self.size == 0 || self.free >= bytes
    }

    fn reserve(self) -> u64 {
        (self.size / PART).clamp(LEAST, MOST)
    }

    fn file(self) -> u64 {
        if self.size == 0 {
            0
        } else {
            (self.size / FILE_PART).clamp(FILE_LEAST, FILE_MOST)
        }
    }
}

/// The size of the index of a log of so many bytes, with some margin.
const fn index_of(log: u64) -> u64 {
    (log / INDEXED + 2) * INDEXED_AT_ONCE
}

/// An operation that lasts until this is dropped.
pub(super) struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Whether the error is permanent: the disk will never have such a file.
fn is_for_good(why: &io::Error) -> bool {
    const FOR_GOOD: [Errno; 7] = [
        Errno::OPNOTSUPP,
        Errno::NOSYS,
        Errno::INVAL,
        Errno::ROFS,
        Errno::ACCESS,
        Errno::PERM,
        Errno::FBIG,
    ];
    Errno::from_io_error(why).is_some_and(|why| FOR_GOOD.contains(&why))
}

/// The bytes of the file that have blocks. A copy may have none.
fn blocks(file: &File) -> u64 {
    use std::os::unix::fs::MetadataExt;
    file.metadata()
        .map_or(0, |file| file.len().min(file.blocks().saturating_mul(512)))
}

/// Extends the file to `to` bytes, with blocks from `from` on.
fn fill(file: &File, from: u64, to: u64) -> Result<(), Failure> {
    if from >= to {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::empty(), from, to - from) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            // Random bytes, since some file systems store compressible data without blocks.
            let mut bytes = vec![0; 64 << 10];
            let mut random = fastrand::Rng::new();
            let mut at = from;
            while at < to {
                random.fill(&mut bytes);
                let piece = usize::try_from(to - at)
                    .ok()
                    .and_then(|left| bytes.get(..left))
                    .unwrap_or(&bytes);
                file.write_all_at(piece, at)?;
                at += piece.len() as u64;
            }
            Ok(file.sync_data()?)
        }
        Err(why) => Err(io::Error::from(why).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    const GIB: u64 = 1 << 30;

    #[test]
    fn a_part_of_small_and_of_large_disks_is_reserved() {
        for (size, reserve, file) in [
            (8 << 20, 1 << 20, 1 << 20),
            (400 << 20, 4 << 20, 8 << 20),
            (10 * GIB, GIB / 10, 16 << 20),
            (1000 * GIB, GIB, 16 << 20),
        ] {
            let disk = |free| Measure { size, free };
            assert_eq!(
                (disk(0).reserve().next_multiple_of(1 << 10), disk(0).file()),
                (reserve.next_multiple_of(1 << 10), file),
                "{size}"
            );
            assert!(
                disk(reserve).has(disk(0).reserve()) && !disk(reserve - 1024).has(disk(0).reserve()),
                "{size}"
            );
        }
        let silent = Measure { size: 0, free: 0 };
        assert!(silent.has(LEAST) && silent.file() == 0);
    }

    #[test]
    fn the_file_has_blocks_shrinks_when_the_disk_is_full_and_grows_back() {
        let folder = tempfile::tempdir().unwrap();
        let space = Space::new(File::open(folder.path()).unwrap());
        let blocks = || {
            folder
                .path()
                .join(FILE)
                .metadata()
                .map_or(0, |file| file.blocks() * 512)
        };
        space.check().unwrap();
        assert!(blocks() >= FILE_LEAST, "{}", blocks());
        let full = space.or_from_reserve(|| Err::<(), _>(Failure::Full), |why| matches!(why, Failure::Full));
        assert!(
            matches!(full, Err(Failure::Full)) && blocks() == 0,
            "tried until nothing was left: {full:?}"
        );
        assert!(!space.release());
        let size = space.measure().unwrap().file();
        space.pretend(None, Some(size / 2));
        assert!(matches!(space.check(), Err(Failure::Full)));
        assert!(
            (size / 2..size).contains(&blocks()),
            "as many as there is room for: {}",
            blocks()
        );
        space.pretend(None, None);
        space.check().unwrap();
        assert!(blocks() >= size, "{}", blocks());
        assert!(
            space.release() && blocks() < size && blocks() >= size - size / 4,
            "a piece at a time: {}",
            blocks()
        );
        space.check().unwrap();
        // A copy may have lost the blocks.
        std::fs::write(folder.path().join(FILE), "").unwrap();
        File::options()
            .write(true)
            .open(folder.path().join(FILE))
            .unwrap()
            .set_len(size)
            .unwrap();
        Space::new(File::open(folder.path()).unwrap()).prepare().unwrap();
        assert!(blocks() >= size, "{}", blocks());
    }

    #[test]
    fn blocks_that_a_deletion_uses_stay_free_until_it_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let space = Space::new(File::open(folder.path()).unwrap());
        let blocks = || {
            folder
                .path()
                .join(FILE)
                .metadata()
                .map_or(0, |file| file.blocks() * 512)
        };
        space.check().unwrap();
        let whole = blocks();
        let size = space.measure().unwrap().file();
        let mut tried = 0;
        let work = || {
            let given = whole - blocks();
            space.pretend(None, Some(given));
            // A push meanwhile.
            assert!(matches!(space.check(), Err(Failure::Full)));
            assert_eq!(whole - blocks(), given, "taken back");
            tried += 1;
            if tried > 3 { Ok(()) } else { Err(Failure::Full) }
        };
        space
            .or_from_reserve(work, |why| matches!(why, Failure::Full))
            .unwrap();
        space.pretend(None, None);
        space.check().unwrap();
        assert!(blocks() >= size, "{}", blocks());
    }

    #[test]
    fn the_file_is_created_once_a_temporary_error_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        let space = Space::new(File::open(folder.path()).unwrap());
        std::os::unix::fs::symlink("elsewhere", &file).unwrap();
        space.check().unwrap();
        std::fs::remove_file(&file).unwrap();
        space.check().unwrap();
        assert!(file.metadata().unwrap().blocks() * 512 >= FILE_LEAST);
        assert!(
            is_for_good(&Errno::ROFS.into())
                && !is_for_good(&Errno::MFILE.into())
                && !is_for_good(&Errno::IO.into())
        );
        // It can be truncated although it cannot be opened, as when no descriptor is left.
        std::fs::remove_file(&file).unwrap();
        assert!(space.release());
    }

    #[test]
    fn the_space_that_the_next_checkpoint_needs_is_not_given_away() {
        let folder = tempfile::tempdir().unwrap();
        let space = Space::new(File::open(folder.path()).unwrap());
        space.prepare().unwrap();
        let reserve = space.measure().unwrap().reserve();
        space.pretend(None, Some(reserve + 1000));
        space.check().unwrap();
        space.log_has(1001);
        assert!(matches!(space.check(), Err(Failure::Full)));
        space.log_has(1000);
        space.check().unwrap();
        space.log_is_held(true);
        assert!(matches!(space.check(), Err(Failure::LogHeld)));
    }
}
