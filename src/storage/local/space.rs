//! Space that is kept for what must work on a full disk: deletions, checkpoints of the log, and the opening
//! of the store. There are two reserves. Pushes are refused while less than a part of the disk is free. Other
//! programs do not respect that, so the file `reserve` holds blocks of its own. When the disk is full to the
//! last byte the file is cut shorter, and its blocks are used. It grows again as soon as there is room, and
//! pushes are refused until it is whole.

use super::Failure;
use super::openat::open_file;
use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// This part of the disk stays free …
const PART: u64 = 100;
/// … and at least and at most so many bytes.
const LEAST: u64 = 1 << 20;
const MOST: u64 = 1 << 30;

/// The file has this part of the disk …
const FILE_PART: u64 = 50;
/// … and at least and at most so many bytes. The log has at most half of that before it is moved into the
/// table, which may grow by as much.
const FILE_LEAST: u64 = 1 << 20;
const FILE_MOST: u64 = 16 << 20;
const FILE: &str = "reserve";
/// It gives back so many parts of itself at a time, since another program may take what is free …
const PIECES: u64 = 8;
/// … and at least so many bytes.
const PIECE_LEAST: u64 = 256 << 10;

/// The log may have this part of the disk while something keeps it from being emptied …
const LOG_PART: u64 = 10;
/// … and at least and at most so many bytes.
const LOG_LEAST: u64 = 16 << 20;
const LOG_MOST: u64 = 1 << 30;

/// The log's index grows by so many bytes …
const INDEXED_AT_ONCE: u64 = 32 << 10;
/// … for as many bytes of the log.
const INDEXED: u64 = 16 << 20;

pub(super) struct Space {
    /// The store's.
    folder: File,
    /// The file. It stays open, since a process that has no descriptor left must be able to cut it off. Held
    /// while that is done.
    changing: Mutex<Option<File>>,
    /// How much work is under way with blocks that the file gave back, which it does not take again
    /// meanwhile.
    freeing: AtomicUsize,
    /// Whether an error that may pass was complained about.
    complained: AtomicBool,
    /// Whether the file has its blocks, as far as the disk can give it any.
    whole: AtomicBool,
    /// Bytes in the log that are not in the table yet, which may grow by as many.
    log: AtomicU64,
    /// Something reads an old state of the records without an end, and the log has become too large.
    log_is_held: AtomicBool,
    /// How many backups of this process copy the records, and so keep the log from being emptied.
    copying: AtomicUsize,
    /// Instead of what the disk says: its size, and how much is free.
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
    /// Of the disk that the folder is on.
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

    /// From now on nothing but the reserve is left.
    #[cfg(test)]
    pub(super) fn fill(&self) {
        self.pretend(None, Some(0));
    }

    #[cfg(test)]
    pub(super) fn pretend(&self, size: Option<u64>, free: Option<u64>) {
        *self.disk.lock().unwrap() = (size, free);
    }

    /// [`Failure::Full`] if nothing but the reserve is left. To be asked before anything is written that
    /// frees no space.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.has_held_log() {
            return Err(Failure::LogHeld);
        }
        self.has_room()
    }

    /// Whether nothing but the reserve is left, whatever the log may do.
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

    /// How many bytes there are beside the reserve. `None` where the file system does not say.
    pub(super) fn left(&self) -> Result<Option<u64>, Failure> {
        let disk = self.measure()?;
        Ok((disk.size > 0).then(|| disk.free.saturating_sub(disk.reserve())))
    }

    /// Makes room for the opening of records whose log has so many bytes, if there is next to none. Whether there is enough then for the log's
    /// index, which is mapped into memory: where that finds no block the process dies.
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

    /// How large the index of the largest log is, where it is made with holes.
    pub(super) fn index_with_holes(&self) -> Option<u64> {
        let disk = rustix::fs::fstatvfs(&self.folder).ok()?;
        (disk.f_frsize < INDEXED_AT_ONCE / 8).then(|| index_of(self.most_log()))
    }

    /// Makes the file, as large as there is room.
    pub(super) fn prepare(&self) -> Result<(), Failure> {
        self.grow(self.measure()?);
        Ok(())
    }

    /// Does the work again with blocks of the reserve while the disk is too full for it.
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

    /// Until this is dropped, what the file gives back stays free for the work that needs it.
    pub(super) fn freeing(&self) -> Counted<'_> {
        Counted::new(&self.freeing)
    }

    /// Gives a piece of the file back to the disk. `false` if nothing is left of it.
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
                "the disk is full: the store uses its reserve, takes deletions and refuses pushes until there is room again"
            );
        }
        let shorter = file.set_len(size.saturating_sub(piece.max(PIECE_LEAST)));
        if let Err(why) = &shorter {
            tracing::error!("the disk is full, and the file {FILE} in the store cannot be cut off: {why}");
        }
        shorter.is_ok() && size > 0
    }

    /// So many pages in the log are moved into the table, so that the reserve is enough for that.
    pub(super) fn most_pages(&self) -> usize {
        let file = self.measure().map_or(0, Measure::file);
        if file == 0 {
            usize::MAX
        } else {
            usize::try_from(file / 2 / 4096).unwrap_or(usize::MAX)
        }
    }

    /// What the log holds and the table does not.
    pub(super) fn log_has(&self, bytes: u64) {
        self.log.store(bytes, Ordering::SeqCst);
    }

    pub(super) fn log_is_held(&self, held: bool) {
        self.log_is_held.store(held, Ordering::SeqCst);
    }

    pub(super) fn has_held_log(&self) -> bool {
        self.log_is_held.load(Ordering::SeqCst)
    }

    /// Until this is dropped, it is this process that reads an old state of the records. That ends by itself.
    pub(super) fn copying(&self) -> Counted<'_> {
        Counted::new(&self.copying)
    }

    pub(super) fn is_copying(&self) -> bool {
        self.copying.load(Ordering::SeqCst) > 0
    }

    /// How large the log may become while something keeps it from being emptied.
    pub(super) fn most_log(&self) -> u64 {
        self.measure().map_or(LOG_LEAST, |disk| {
            (disk.size / LOG_PART).clamp(LOG_LEAST, LOG_MOST)
        })
    }

    /// Whether the file is whole now.
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
        // What has no blocks was copied so, and what is too large is of another disk.
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

    /// A disk that cannot keep such a file still has the part that stays free.
    /// After another error the next check tries again.
    fn go_without(&self, why: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
        let for_good = why.downcast_ref().is_some_and(is_for_good);
        if for_good || !self.complained.swap(true, Ordering::SeqCst) {
            tracing::warn!(
                "the file {FILE} in the store cannot be made, so deletions may fail on a disk that is full to the last byte: {why}"
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
    /// Some file systems say nothing of their size.
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

/// How large the index is of a log of so many bytes, and some more.
const fn index_of(log: u64) -> u64 {
    (log / INDEXED + 2) * INDEXED_AT_ONCE
}

/// Work that is under way until this is dropped.
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

/// Whether the disk will never have such a file, rather than only not now.
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

/// How much of its size the file has blocks for. A copy may have none.
fn blocks(file: &File) -> u64 {
    use std::os::unix::fs::MetadataExt;
    file.metadata()
        .map_or(0, |file| file.len().min(file.blocks().saturating_mul(512)))
}

/// Makes the file so large, with blocks behind `from`.
fn fill(file: &File, from: u64, to: u64) -> Result<(), Failure> {
    if from >= to {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::empty(), from, to - from) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            // Some file systems keep no blocks for what can be compressed.
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
    fn a_part_is_kept_of_small_and_of_large_disks() {
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
    fn the_file_has_blocks_is_cut_off_when_the_disk_is_full_and_comes_back() {
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
            "what there is room for: {}",
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
    fn what_a_deletion_got_from_the_file_stays_free_until_it_is_done() {
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
    fn an_error_that_passes_keeps_the_file_from_being_made_only_until_then() {
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
        // It can be cut off although it cannot be opened, as when no descriptor is left.
        std::fs::remove_file(&file).unwrap();
        assert!(space.release());
    }

    #[test]
    fn what_the_table_still_has_to_take_from_the_log_is_spoken_for() {
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
