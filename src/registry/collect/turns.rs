//! A pass that an operator asks for runs alone in its process, so that its report is complete. Background work
//! of the same process pauses meanwhile, between two of its steps. Safety does not depend on this: the passes
//! of other processes do not wait.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Cheap to clone; all clones share the turns.
#[derive(Clone, Default)]
pub(in crate::registry) struct Turns {
    /// A pass that was asked for holds it for writing. Background work holds it for reading while it works.
    lock: Arc<RwLock<()>>,
    /// How many passes that were asked for run or wait.
    asked: Arc<AtomicUsize>,
}

impl Turns {
    /// Waits until no other collection of this process works, and keeps them waiting. Calls `waiting` first
    /// if another pass that was asked for runs.
    pub(super) async fn alone(&self, waiting: impl FnOnce()) -> Alone {
        if self.asked.fetch_add(1, Ordering::SeqCst) > 0 {
            waiting();
        }
        let asked = Asked(self.asked.clone());
        let lock = self.lock.clone().write_owned().await;
        Alone {
            _lock: lock,
            _asked: asked,
        }
    }

    /// The turn of background work, which waits until no pass that was asked for runs.
    pub(super) async fn background(&self) -> Turn {
        let turn = Turn {
            turns: self.clone(),
            held: Mutex::default(),
        };
        turn.resume().await;
        turn
    }
}

/// The turn of a pass that was asked for. It ends when this is dropped.
pub(super) struct Alone {
    _lock: OwnedRwLockWriteGuard<()>,
    _asked: Asked,
}

struct Asked(Arc<AtomicUsize>);

impl Drop for Asked {
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
    /// Whether a pass that was asked for waits for this work to pause.
    pub(super) fn is_wanted(&self) -> bool {
        self.turns.asked.load(Ordering::SeqCst) > 0
    }

    pub(super) fn pause(&self) {
        self.hold(None);
    }

    /// Waits until no pass that was asked for runs.
    pub(super) async fn resume(&self) {
        let lock = self.turns.lock.clone();
        let held = lock.read_owned().await;
        self.hold(Some(held));
    }

    fn hold(&self, held: Option<OwnedRwLockReadGuard<()>>) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
    }
}
