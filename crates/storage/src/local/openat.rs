//! Opens and lists what is in an open folder. No symbolic link is followed.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::AsFd;

/// Opens `name` in the folder `at` without following a link. A new file is readable by its owner only.
pub(super) fn open_file(at: impl AsFd, name: &str, flags: OFlags) -> Result<File, Errno> {
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::openat(at, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, mode).map(File::from)
}

pub(super) fn open_folder(at: impl AsFd, name: &str) -> Result<File, Errno> {
    open_file(at, name, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Opens the file `path` below `at` for reading if the kernel can do so without waiting for the disk. No link
/// on the way is followed. `None` says nothing about the file, not even that it is missing.
#[cfg(target_os = "linux")]
pub(super) fn open_cached(at: impl AsFd, path: &str) -> Option<File> {
    use rustix::fs::ResolveFlags;
    let resolve = ResolveFlags::CACHED | ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(at, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty(), resolve)
        .ok()
        .map(File::from)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn open_cached(_: impl AsFd, _: &str) -> Option<File> {
    None
}

/// The names of what is in a folder, without `.` and `..`. Names that are not UTF-8 are skipped.
pub(super) fn names(folder: &File) -> Result<Vec<String>, std::io::Error> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder)? {
        let entry = entry?;
        match entry.file_name().to_str() {
            Ok("." | "..") | Err(_) => {}
            Ok(name) => names.push(name.to_owned()),
        }
    }
    Ok(names)
}
