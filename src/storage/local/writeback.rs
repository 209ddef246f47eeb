//! Large blobs are on their way to the disk before anybody waits for it: the sync at the end then finds little left to do. It is the one
//! place with `unsafe`, since no safe crate wraps the call.

use std::fs::File;

/// So much at once, and nothing of what is smaller.
const PIECE: u64 = 8 << 20;

/// To be called after `from..to` was written: begins to write back the pieces that were completed. Nothing is promised and no error
/// is told; that is for the sync at the end, to which an error that happens meanwhile stays to be told.
pub(super) fn begin(file: &File, from: u64, to: u64) {
    let (from, to) = (from / PIECE * PIECE, to / PIECE * PIECE);
    if from < to {
        start(file, from, to - from);
    }
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no safe crate wraps sync_file_range(2)")]
fn start(file: &File, from: u64, length: u64) {
    use std::os::fd::AsRawFd;
    let (Ok(from), Ok(length)) = (from.try_into(), length.try_into()) else { return };
    // SAFETY: the call takes no memory of ours, only numbers and a descriptor, which is open for as long as `file` is borrowed.
    let _ = unsafe { libc::sync_file_range(file.as_raw_fd(), from, length, libc::SYNC_FILE_RANGE_WRITE) };
}

#[cfg(not(target_os = "linux"))]
fn start(_: &File, _: u64, _: u64) {}
