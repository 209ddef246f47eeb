//! Large blobs are on their way to the disk before anybody waits for it: the sync at the end then finds
//! little left to do. It is the one place with `unsafe`, since no safe crate wraps the call.

use std::fs::File;
use std::io;

/// So much at once, and nothing of what is smaller.
const PIECE: u64 = 8 << 20;

/// To be called after `from..to` was written: begins to write back the pieces that were completed. Nothing is
/// promised. An error that happens later stays to be told by the sync at the end; one that is told here is
/// told nowhere else for certain (a file system that finds no room only now drops the bytes), and is to be
/// taken like one of that sync.
pub(super) fn begin(file: &File, from: u64, to: u64) -> io::Result<()> {
    let from = from / PIECE * PIECE;
    let to = to / PIECE * PIECE;
    if from < to {
        start(file, from, to - from)
    } else {
        Ok(())
    }
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no safe crate wraps sync_file_range(2)")]
fn start(file: &File, from: u64, length: u64) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let (Ok(from), Ok(length)) = (from.try_into(), length.try_into()) else {
        return Ok(());
    };
    // SAFETY: the call takes no memory of ours, only numbers and a descriptor, which is open for as long as
    // `file` is borrowed.
    if unsafe { libc::sync_file_range(file.as_raw_fd(), from, length, libc::SYNC_FILE_RANGE_WRITE) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // The kernel, the file system or a sandbox does not know or not allow the call: nothing was tried.
        Some(libc::ENOSYS | libc::EINVAL | libc::ESPIPE | libc::EOPNOTSUPP | libc::EPERM) => Ok(()),
        _ => Err(error),
    }
}

#[cfg(not(target_os = "linux"))]
fn start(_: &File, _: u64, _: u64) -> io::Result<()> {
    Ok(())
}
