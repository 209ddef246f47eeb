//! The uploads that requests of this process are writing, between two calls. An upload leaves when it is
//! kept, sealed or removed, or after a failure.

use super::writer::Writer;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// An upload that was not written for so long gives its memory to others that need it.
const IDLE: Duration = Duration::from_secs(2);
/// The request of an upload that was not written for so long has ended without a word.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// `None` after a failure. Locked while the memory is taken from it.
type Slot = Arc<tokio::sync::Mutex<Option<Writer>>>;

#[derive(Default)]
pub(super) struct Writers(Mutex<HashMap<String, Slot>>);

impl Writers {
    /// Takes the upload out.
    pub(super) async fn take(&self, name: &str) -> Option<Writer> {
        let slot = self.lock().remove(name)?;
        slot.lock().await.take()
    }

    pub(super) fn put(&self, mut writer: Writer) {
        let now = Instant::now();
        writer.touched = now;
        let mut writers = self.lock();
        writers.retain(|_, slot| !is_since(slot, now, ABANDONED));
        writers.insert(
            writer.name.clone(),
            Arc::new(tokio::sync::Mutex::new(Some(writer))),
        );
    }

    /// Takes the memory from the upload that was written least recently, if that was a while ago. Its bytes
    /// become a rest.
    pub(super) async fn relieve(&self) {
        let Some(slot) = self.idlest() else { return };
        let mut slot = slot.lock().await;
        let Some(writer) = &mut *slot else { return };
        if let Err(why) = writer.lay_down().await {
            tracing::warn!(
                "could not write the bytes of an upload that waits for its client, to use their memory; the upload fails: {why}"
            );
            *slot = None;
        }
    }

    fn idlest(&self) -> Option<Slot> {
        let now = Instant::now();
        let writers = self.lock();
        let idle = writers.values().filter_map(|slot| {
            let found = slot.try_lock().ok()?;
            let writer = found
                .as_ref()
                .filter(|writer| writer.holds_memory() && writer.may_lay_down())?;
            (now - writer.touched >= IDLE).then(|| (writer.touched, slot.clone()))
        });
        idle.min_by_key(|(touched, _)| *touched).map(|(_, slot)| slot)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_since(slot: &Slot, now: Instant, time: Duration) -> bool {
    slot.try_lock()
        .is_ok_and(|writer| writer.as_ref().is_none_or(|writer| now - writer.touched >= time))
}
