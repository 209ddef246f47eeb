//! A cache of decoded records.

use super::super::Error;
use super::super::keys::Key;
use super::super::records::Stored;
use crate::recent::Recent;
use crate::storage::Version;
use bytes::Bytes;
use std::any::{Any, TypeId};
use std::sync::{Arc, Mutex, PoisonError};

/// The sizes of the two caches in bytes.
const LARGE_ROOM: usize = 16 << 20;
const SMALL_ROOM: usize = 8 << 20;
/// The approximate size of an entry in addition to its value.
const OVERHEAD: usize = 512;

/// A part of a record that is cached instead of the whole record.
pub(in crate::registry) trait Extract: Sized + Send + Sync + 'static {
    type Record: Stored;
    const ROOM: Room;

    fn decode(key: &Key<Self::Record>, value: &Bytes) -> Result<Self, Error>;
    /// Its size in memory in bytes.
    fn weight(&self) -> usize;
}

/// The cache that holds a value. There are two, so that large values do not evict small ones.
#[derive(Clone, Copy)]
pub(in crate::registry) enum Room {
    Large,
    Small,
}

type Made = Arc<dyn Any + Send + Sync>;
/// A version identifies one state of one record, and the store says which version is current. So a cached
/// value is never stale.
type Decoded = Mutex<Recent<(Version, TypeId), Made>>;

pub(super) struct Kept {
    large: Decoded,
    small: Decoded,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            large: Mutex::new(Recent::new(LARGE_ROOM)),
            small: Mutex::new(Recent::new(SMALL_ROOM)),
        }
    }
}

impl Kept {
    pub(super) fn get<M: Send + Sync + 'static>(&self, room: Room, version: &Version) -> Option<Arc<M>> {
        let found = self
            .room(room)
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&(version.clone(), TypeId::of::<M>()));
        found.and_then(|found| found.downcast().ok())
    }

    /// `weight` is the value's size in memory in bytes.
    pub(super) fn put<M: Send + Sync + 'static>(
        &self,
        room: Room,
        version: Version,
        made: M,
        weight: usize,
    ) -> Arc<M> {
        let made = Arc::new(made);
        let key = (version, TypeId::of::<M>());
        self.room(room)
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .put(key, made.clone(), weight + OVERHEAD);
        made
    }

    /// Removes everything that was decoded from this state of a record.
    pub(super) fn forget(&self, version: &Version) {
        for room in [&self.large, &self.small] {
            room.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .retain(|(decoded, _)| decoded != version);
        }
    }

    const fn room(&self, room: Room) -> &Decoded {
        match room {
            Room::Large => &self.large,
            Room::Small => &self.small,
        }
    }
}
