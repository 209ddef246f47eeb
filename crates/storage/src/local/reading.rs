//! Reads blobs: on the calling thread if the page cache has the data, otherwise on a blocking thread. A check
//! of a whole blob leaves the page cache as it was.

use super::buffers::Buffers;
use super::{Answer, BlobFile, Failure};
use crate::blocking::blocking;
use bytes::Bytes;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

pub(super) struct OpenBlob {
    pub file: Arc<File>,
    pub size: u64,
    pub buffers: Buffers,
}

impl OpenBlob {
    /// The largest number of bytes that a read at `offset` may return.
    fn room(&self, offset: u64, most: usize) -> usize {
        usize::try_from(self.size.saturating_sub(offset))
            .unwrap_or(usize::MAX)
            .min(most)
    }
}

impl BlobFile for OpenBlob {
    fn size(&self) -> u64 {
        self.size
    }

    fn at_hand(&self, offset: u64, most: usize) -> Option<Bytes> {
        let room = self.room(offset, most);
        if room == 0 {
            return None;
        }
        let mut buffer = self.buffers.take(room);
        match read_cached(&self.file, buffer.room(), offset) {
            Some(read) if read > 0 => Some(buffer.filled(read)),
            _ => None,
        }
    }

    fn read(&self, offset: u64, most: usize) -> Answer<'_, Bytes> {
        let room = self.room(offset, most);
        let file = self.file.clone();
        let buffers = self.buffers.clone();
        Box::pin(async move {
            if room == 0 {
                return Ok(Bytes::new());
            }
            blocking(move || {
                let mut buffer = buffers.take(room);
                match file.read_at(buffer.room(), offset)? {
                    0 => Err(Failure::Missing), // shorter than it was
                    read => Ok(buffer.filled(read)),
                }
            })
            .await
        })
    }

    fn read_once(&self, offset: u64, most: usize) -> Answer<'_, Bytes> {
        let room = self.room(offset, most);
        let file = self.file.clone();
        let buffers = self.buffers.clone();
        Box::pin(async move {
            if room == 0 {
                return Ok(Bytes::new());
            }
            blocking(move || {
                let mut buffer = buffers.take(room);
                if let Some(read) = read_cached(&file, buffer.room(), offset).filter(|read| *read > 0) {
                    return Ok(buffer.filled(read));
                }
                let read = read_uncached(&file, buffer.room(), offset)?;
                match read {
                    0 => Err(Failure::Missing), // shorter than it was
                    read => Ok(buffer.filled(read)),
                }
            })
            .await
        })
    }
}

/// Reads without reading ahead, and removes what was read from the page cache. The advice is only a hint, so
/// a failure of it does not matter.
#[cfg(target_os = "linux")]
fn read_uncached(file: &File, room: &mut [u8], offset: u64) -> std::io::Result<usize> {
    use rustix::fs::{Advice, fadvise};
    let _ = fadvise(file, 0, None, Advice::Random);
    let read = file.read_at(room, offset)?;
    let length = std::num::NonZeroU64::new(read as u64);
    let _ = length.map(|length| fadvise(file, offset, Some(length), Advice::DontNeed));
    Ok(read)
}

#[cfg(not(target_os = "linux"))]
fn read_uncached(file: &File, room: &mut [u8], offset: u64) -> std::io::Result<usize> {
    file.read_at(room, offset)
}

/// Reads what the page cache has. `None` also where the file system does not support this (`EOPNOTSUPP`), and
/// on any other error: the next ordinary read reports it.
#[cfg(target_os = "linux")]
fn read_cached(file: &File, room: &mut [u8], offset: u64) -> Option<usize> {
    rustix::io::preadv2(
        file,
        &mut [std::io::IoSliceMut::new(room)],
        offset,
        rustix::io::ReadWriteFlags::NOWAIT,
    )
    .ok()
}

#[cfg(not(target_os = "linux"))]
fn read_cached(_: &File, _: &mut [u8], _: u64) -> Option<usize> {
    None
}
