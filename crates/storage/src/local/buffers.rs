//! Buffers that downloads are read into. They are reused, since a fresh one would be zeroed, and paged in by
//! the kernel, for every 256 KiB that are sent.

use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};

/// The size of a buffer, which is also the most that one read returns.
pub(super) const SIZE: usize = 256 << 10;
/// How many unused buffers are kept: 8 MiB.
const KEPT: usize = 32;
/// Smaller reads get memory of their own, since a whole buffer would wait in a socket for a few bytes.
const SMALL: usize = 32 << 10;

/// Cheap to clone; all clones share the buffers.
#[derive(Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Box<[u8]>>>>);

/// Memory for one read. It returns to its pool when the last [`Bytes`] of it is dropped.
pub(super) struct Buffer {
    memory: Box<[u8]>,
    length: usize,
    home: Buffers,
}

impl Buffers {
    /// Room for `most` bytes or for [`SIZE`], whichever is less.
    pub(super) fn take(&self, most: usize) -> Buffer {
        let length = most.min(SIZE);
        let size = if length <= SMALL { length } else { SIZE };
        let idle = if size == SIZE {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
        } else {
            None
        };
        Buffer {
            memory: idle.unwrap_or_else(|| vec![0; size].into_boxed_slice()),
            length,
            home: self.clone(),
        }
    }

    fn give_back(&self, memory: Box<[u8]>) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(memory);
        }
    }
}

impl Buffer {
    pub(super) fn room(&mut self) -> &mut [u8] {
        self.memory.get_mut(..self.length).unwrap_or_default()
    }

    /// The first `length` bytes of it.
    pub(super) fn filled(mut self, length: usize) -> Bytes {
        self.length = length.min(self.length);
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.memory.get(..self.length).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.memory.len() == SIZE {
            self.home.give_back(std::mem::take(&mut self.memory));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle(buffers: &Buffers) -> usize {
        buffers.0.lock().unwrap().len()
    }

    #[test]
    fn a_buffer_comes_back_when_the_last_of_its_bytes_is_dropped() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take(usize::MAX);
        buffer.room()[..3].copy_from_slice(b"abc");
        let bytes = buffer.filled(3);
        let part = bytes.slice(1..);
        drop(bytes);
        assert_eq!((&part[..], idle(&buffers)), (&b"bc"[..], 0));
        drop(part);
        assert_eq!(idle(&buffers), 1);
        assert_eq!(buffers.take(SIZE).room().len(), SIZE);
        assert_eq!(
            buffers.take(100_000).room().len(),
            100_000,
            "never more than was asked for"
        );
        assert_eq!(idle(&buffers), 1, "the same one");
    }

    #[test]
    fn small_reads_hold_what_they_need_and_few_buffers_are_kept() {
        let buffers = Buffers::default();
        assert_eq!(buffers.take(10).memory.len(), 10);
        let many: Vec<_> = (0..KEPT + 5).map(|_| buffers.take(SIZE)).collect();
        drop(many);
        assert_eq!(idle(&buffers), KEPT);
    }
}
