//! Starts writing large blobs to the disk early, so that the sync at the end has little left to do. This is
//! the only place with `unsafe`, since no safe crate wraps the call.

use std::fs::File;
use std::io;

/// The size of a piece. A smaller rest waits for the sync.
const PIECE: u64 = 8 << 20;

/// Starts the writeback of the pieces that were completed by writing `from..to`. Nothing is guaranteed. A
/// later error is reported by the sync at the end. An error returned here may not be reported again (a file
/// system that runs out of room drops the bytes), so treat it like an error of that sync.
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
        // The kernel, the file system or a sandbox does not support the call. Nothing was tried.
        Some(libc::ENOSYS | libc::EINVAL | libc::ESPIPE | libc::EOPNOTSUPP | libc::EPERM) => Ok(()),
        _ => Err(error),
    }
}

#[cfg(not(target_os = "linux"))]
fn start(_: &File, _: u64, _: u64) -> io::Result<()> {
    Ok(())
}
