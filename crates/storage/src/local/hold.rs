//! Holds removals back while a backup runs. Instead of being removed, a file is moved to a folder `held`,
//! where the copy still finds it. It is removed when the hold ends. The folders `d` and `v` have a hold each,
//! and `held` exists only during a backup. The hold keeps no names in memory, so it has no limit, and the
//! next start removes what a crash left in it.
//!
//! A full disk breaks the hold: the next removal frees its space at once, and the backup fails.

use super::openat::{names, open_file, open_folder};
use super::space::Space;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// The folder for held files. No blob's folder can have this name, since those have two characters.
const HELD: &str = "held";

pub(super) struct Hold {
    root: File,
    space: Arc<Space>,
    state: RwLock<State>,
    /// Whether any file was held since the hold began.
    used: AtomicBool,
}

enum State {
    Off,
    /// The hold lasts, with the open folder `held`.
    On(File),
    Broken,
}

impl Hold {
    /// Creates the hold for the files below the folder `root`, and removes what a crash left.
    pub(super) fn open(root: &File, space: Arc<Space>) -> io::Result<Self> {
        let hold = Self {
            root: root.try_clone()?,
            space,
            state: RwLock::new(State::Off),
            used: AtomicBool::new(false),
        };
        hold.clear();
        Ok(hold)
    }

    /// From now on no file is removed. Removals that began before are complete when this returns.
    pub(super) fn begin(&self) -> io::Result<()> {
        match rustix::fs::mkdirat(&self.root, HELD, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let held = open_folder(&self.root, HELD)?;
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = State::On(held);
        Ok(())
    }

    /// Ends the hold and removes all held files.
    pub(super) fn end(&self) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = State::Off;
        self.clear();
    }

    /// Removes a file, or moves it to `held` while the hold lasts.
    pub(super) fn remove(&self, folder: &File, name: &str) -> Result<(), Errno> {
        let is_held = match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Off | State::Broken => None,
            State::On(_) if self.space.is_full() => Some(false),
            State::On(held) => {
                self.used.store(true, Ordering::SeqCst);
                Some(match rustix::fs::renameat(folder, name, held, name) {
                    Ok(()) => true,
                    Err(Errno::NOENT) => return Err(Errno::NOENT),
                    Err(_) => false,
                })
            }
        };
        match is_held {
            Some(true) => return Ok(()),
            // This comes before the removal, so that a copy that misses the file learns the reason.
            Some(false) => *self.state.write().unwrap_or_else(PoisonError::into_inner) = State::Broken,
            None => {}
        }
        rustix::fs::unlinkat(folder, name, AtFlags::empty())
    }

    /// The folder with the held files.
    pub(super) fn held(&self) -> Result<File, Errno> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::On(held) => held
                .try_clone()
                .map_err(|why| Errno::from_io_error(&why).unwrap_or(Errno::IO)),
            State::Off | State::Broken => Err(Errno::NOENT),
        }
    }

    /// Opens a held file.
    pub(super) fn open_held(&self, name: &str) -> Result<File, Errno> {
        open_file(self.held()?, name, OFlags::RDONLY)
    }

    /// Whether files may have been removed since the hold began, or must be removed now because the disk is
    /// full.
    pub(super) fn is_broken(&self) -> bool {
        let broken = !matches!(
            *self.state.read().unwrap_or_else(PoisonError::into_inner),
            State::On(_)
        );
        broken || (self.used.load(Ordering::SeqCst) && self.space.is_full())
    }

    fn clear(&self) {
        self.used.store(false, Ordering::SeqCst);
        let cleared = open_folder(&self.root, HELD)
            .map_err(io::Error::from)
            .and_then(|held| {
                for name in names(&held)? {
                    rustix::fs::unlinkat(&held, &name, AtFlags::empty())?;
                }
                Ok(rustix::fs::unlinkat(&self.root, HELD, AtFlags::REMOVEDIR)?)
            });
        match cleared {
            Err(why) if why.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(
                    "the files that were held for a backup could not be removed; the next start tries again: {why}"
                );
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn hold(root: &Path) -> (Hold, Arc<Space>) {
        let root = File::open(root).unwrap();
        let space = Arc::new(Space::new(root.try_clone().unwrap()));
        (Hold::open(&root, space.clone()).unwrap(), space)
    }

    /// A folder with three files `a`, `b` and `c`.
    fn with_files() -> (tempfile::TempDir, File) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("ab")).unwrap();
        for name in ["a", "b", "c"] {
            std::fs::write(folder.path().join("ab").join(name), name).unwrap();
        }
        let files = File::open(folder.path().join("ab")).unwrap();
        (folder, files)
    }

    #[test]
    fn a_file_removed_during_the_hold_can_be_read_until_its_end() {
        let (folder, files) = with_files();
        let (hold, _) = hold(folder.path());
        hold.remove(&files, "a").unwrap();
        assert_eq!(hold.open_held("a").unwrap_err(), Errno::NOENT);
        hold.begin().unwrap();
        hold.remove(&files, "b").unwrap();
        assert_eq!(
            open_file(&files, "b", OFlags::RDONLY).unwrap_err(),
            Errno::NOENT,
            "readers of the store cannot open it"
        );
        assert_eq!(io::read_to_string(hold.open_held("b").unwrap()).unwrap(), "b");
        assert_eq!(hold.remove(&files, "b"), Err(Errno::NOENT));
        assert!(!hold.is_broken());
        hold.end();
        assert!(!folder.path().join(HELD).exists());
        hold.remove(&files, "c").unwrap();
        assert_eq!(std::fs::read_dir(folder.path().join("ab")).unwrap().count(), 0);
    }

    #[test]
    fn a_full_disk_breaks_the_hold_and_gets_the_space() {
        let (folder, files) = with_files();
        let (hold, space) = hold(folder.path());
        hold.begin().unwrap();
        hold.remove(&files, "a").unwrap();
        assert!(!hold.is_broken());
        space.fill();
        assert!(hold.is_broken(), "a file is still held");
        hold.remove(&files, "b").unwrap();
        assert_eq!(hold.open_held("b").unwrap_err(), Errno::NOENT);
        assert!(hold.is_broken());
        hold.end();
        assert!(!folder.path().join(HELD).exists());
    }

    #[test]
    fn a_disk_that_was_full_before_does_not_prevent_a_backup() {
        let (folder, _) = with_files();
        let (hold, space) = hold(folder.path());
        space.fill();
        hold.begin().unwrap();
        assert!(!hold.is_broken());
    }

    #[test]
    fn a_log_that_is_too_large_does_not_break_the_hold() {
        let (folder, files) = with_files();
        let (hold, space) = hold(folder.path());
        space.log_is_held(true);
        hold.begin().unwrap();
        hold.remove(&files, "a").unwrap();
        assert_eq!(io::read_to_string(hold.open_held("a").unwrap()).unwrap(), "a");
        assert!(!hold.is_broken());
    }

    #[test]
    fn the_next_start_removes_what_a_crash_left() {
        let (folder, files) = with_files();
        let (crashed, _) = hold(folder.path());
        crashed.begin().unwrap();
        crashed.remove(&files, "a").unwrap();
        drop(crashed);
        assert!(folder.path().join(HELD).join("a").exists());
        hold(folder.path());
        assert!(!folder.path().join(HELD).exists());
    }
}
