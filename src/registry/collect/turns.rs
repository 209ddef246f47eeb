//! A pass that an operator requests runs alone in its process, so that its report is complete. Background work
//! of the same process pauses meanwhile, between two of its steps. Safety does not depend on this: the passes
//! of other processes do not wait.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Cheap to clone; all clones share the turns.
#[derive(Clone, Default)]
pub(in crate::registry) struct Turns {
    /// A requested pass holds it for writing. Background work holds it for reading while it works.
    lock: Arc<RwLock<()>>,
    /// How many requested passes run or wait.
    requested: Arc<AtomicUsize>,
}

impl Turns {
    /// Waits until no other collection of this process works, and keeps others waiting. Calls `waiting` first
    /// if another requested pass runs.
    pub(super) async fn alone(&self, waiting: impl FnOnce()) -> Alone {
        if self.requested.fetch_add(1, Ordering::SeqCst) > 0 {
            waiting();
        }
        let requested = Requested(self.requested.clone());
        let lock = self.lock.clone().write_owned().await;
        Alone {
            _lock: lock,
            _requested: requested,
        }
    }

    /// The turn of background work, which waits until no requested pass runs.
    pub(super) async fn background(&self) -> Turn {
        let turn = Turn {
            turns: self.clone(),
            held: Mutex::default(),
        };
        turn.resume().await;
        turn
    }
}

/// The turn of a requested pass. It ends when this is dropped.
pub(super) struct Alone {
    _lock: OwnedRwLockWriteGuard<()>,
    _requested: Requested,
}

struct Requested(Arc<AtomicUsize>);

impl Drop for Requested {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The turn of background work. It ends when this is dropped.
pub(super) struct Turn {
    turns: Turns,
    held: Mutex<Option<OwnedRwLockReadGuard<()>>>,
}

impl Turn {
    /// Whether a requested pass waits for this work to pause.
    pub(super) fn is_wanted(&self) -> bool {
        self.turns.requested.load(Ordering::SeqCst) > 0
    }

    pub(super) fn pause(&self) {
        self.hold(None);
    }

    /// Waits until no requested pass runs.
    pub(super) async fn resume(&self) {
        let lock = self.turns.lock.clone();
        let held = lock.read_owned().await;
        self.hold(Some(held));
    }

    fn hold(&self, held: Option<OwnedRwLockReadGuard<()>>) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
    }
}
