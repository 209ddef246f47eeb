//! A reserve of free space. On a disk that is full to the last byte even a deletion fails, which needs room in the log; so blobs are
//! and new large values are refused while there still is some.

use super::Failure;
use std::fs::File;
use std::io;

/// The reserve is this part of the disk …
const PART: u64 = 100;
/// … and at least and at most so many bytes.
const LEAST: u64 = 1 << 20;
const MOST: u64 = 1 << 30;

pub(super) struct Space {
    folder: File,
    #[cfg(test)]
    full: std::sync::atomic::AtomicBool,
}

impl Space {
    /// Of the disk that the folder is on.
    pub(super) fn new(folder: File) -> Self {
        Self {
            folder,
            #[cfg(test)]
            full: Default::default(),
        }
    }

    /// From now on nothing but the reserve is left.
    #[cfg(test)]
    pub(super) fn fill(&self) {
        self.full.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    /// [`Failure::Full`] if nothing but the reserve is left.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let (size, left) = self.measure()?;
        if is_reserve(size, left) { Err(Failure::Full) } else { Ok(()) }
    }

    /// How many bytes there are beside the reserve. `None` where the file system does not say.
    pub(super) fn left(&self) -> Result<Option<u64>, Failure> {
        let (size, left) = self.measure()?;
        Ok((size > 0).then(|| left.saturating_sub(reserve(size))))
    }

    /// How large the disk is, and how much of it is free.
    fn measure(&self) -> Result<(u64, u64), Failure> {
        #[cfg(test)]
        if self.full.load(std::sync::atomic::Ordering::SeqCst) {
            return Ok((u64::MAX, 0));
        }
        let disk = rustix::fs::fstatvfs(&self.folder).map_err(io::Error::from)?;
        Ok((disk.f_blocks.saturating_mul(disk.f_frsize), disk.f_bavail.saturating_mul(disk.f_frsize)))
    }
}

/// Whether what is `left` of a disk of `size` bytes is the reserve.
fn is_reserve(size: u64, left: u64) -> bool {
    // Some file systems say nothing of their size.
    size > 0 && left < reserve(size)
}

fn reserve(size: u64) -> u64 {
    (size / PART).clamp(LEAST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundredth_is_kept_of_small_and_of_large_disks() {
        const GIB: u64 = 1 << 30;
        for (size, left, reserve) in [
            (8 << 20, 1 << 20, false),
            (8 << 20, (1 << 20) - 1, true),
            (10 * GIB, GIB / 10, false),
            (10 * GIB, GIB / 10 - 1, true),
            (1000 * GIB, GIB, false),
            (1000 * GIB, GIB - 1, true),
            (0, 0, false),
        ] {
            assert_eq!(is_reserve(size, left), reserve, "{left} of {size}");
        }
    }
}
