//! What was decoded lately.

use super::super::Error;
use super::super::keys::Key;
use super::super::records::Stored;
use crate::recent::Recent;
use crate::storage::Version;
use bytes::Bytes;
use std::any::{Any, TypeId};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of what is kept in each room.
const LARGE_ROOM: usize = 16 << 20;
const SMALL_ROOM: usize = 8 << 20;
/// Roughly what an entry costs beside its bytes.
const OVERHEAD: usize = 512;

/// What is kept in place of a record of which only a part is needed.
pub(in crate::registry) trait Extract: Sized + Send + Sync + 'static {
    type Record: Stored;
    const ROOM: Room;

    fn decode(key: &Key<Self::Record>, value: &Bytes) -> Result<Self, Error>;
    /// Bytes of memory.
    fn weight(&self) -> usize;
}

/// Where it is kept. Large things do not displace small ones.
#[derive(Clone, Copy)]
pub(in crate::registry) enum Room {
    Large,
    Small,
}

type Made = Arc<dyn Any + Send + Sync>;
/// A version names one state of one record, and the store says which version is current. So nothing in here
/// is ever stale.
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

    /// `weight` is the bytes that it has in memory.
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

    const fn room(&self, room: Room) -> &Decoded {
        match room {
            Room::Large => &self.large,
            Room::Small => &self.small,
        }
    }
}
