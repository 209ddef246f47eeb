//! How many uploads each caller has open: their number is bounded, since each takes a record, a file and room
//! in every walk until it expires.
//!
//! The count is in memory. A process that has the store to itself counts what it begins and what ends, and at
//! the start what is there. Processes that share a store would each count their own part: there a record for
//! each caller, changed with each session, would have to hold the count.

use super::super::keys::Entry;
use super::super::upload_id::UploadId;
use super::super::{Error, Registry, keys, to_its_end};
use super::Upload;
use super::taken::Taken;
use crate::access::{Create, Permit};
use crate::oci::Algorithm;
use crate::storage::Show;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Clones share it.
#[derive(Clone, Debug, Default)]
pub(in crate::registry) struct OpenUploads(Arc<Mutex<Counted>>);

#[derive(Debug, Default)]
struct Counted {
    callers: HashMap<UploadId, Arc<str>>,
    counts: HashMap<Arc<str>, usize>,
}

impl OpenUploads {
    /// Says whether the caller may have one more.
    fn begins(&self, caller: &str, id: &UploadId, most: usize) -> bool {
        let mut counted = self.lock();
        let Counted { callers, counts } = &mut *counted;
        // The walk at the start meets what began since.
        if callers.contains_key(id) {
            return true;
        }
        let (caller, count) = counts
            .get_key_value(caller)
            .map_or_else(|| (caller.into(), 0), |(caller, count)| (caller.clone(), *count));
        if count >= most {
            return false;
        }
        callers.insert(id.clone(), caller.clone());
        counts.insert(caller, count + 1);
        true
    }

    /// Its record is gone. Changes nothing for one that is not counted.
    pub(super) fn ended(&self, id: &UploadId) {
        let mut counted = self.lock();
        let Counted { callers, counts } = &mut *counted;
        let Some(caller) = callers.remove(id) else { return };
        match counts.get_mut(&caller) {
            Some(count @ 2..) => *count -= 1,
            _ => drop(counts.remove(&caller)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// [`start_upload`](Self::start_upload) for a client that comes back for it. It counts for `caller`: the
    /// principal, or for the anonymous what tells them apart.
    pub async fn begin_upload(
        &self,
        permit: &Permit<Create>,
        algorithm: Option<Algorithm>,
        caller: &str,
    ) -> Result<Upload, Error> {
        let Some(most) = self.settings.open_uploads else {
            return self.start_upload(permit, algorithm).await;
        };
        let id = UploadId::random()?;
        if !self.open.begins(caller, &id, most) {
            return Err(Error::TooManyUploads { most });
        }
        let registry = self.clone();
        let permit = permit.clone();
        // To its end, so that a client that hangs up leaves no upload that is not counted.
        to_its_end(async move {
            let started = registry.start(&permit, algorithm, id.clone()).await;
            if started.is_err() {
                registry.open.ended(&id);
            }
            started
        })
        .await
    }

    /// Counts the uploads that were open before the process began. Those of the anonymous count for nobody
    /// any more.
    pub async fn count_open_uploads(&self) -> Result<(), Error> {
        let mut pages = self.records.pages(keys::all_uploads(), String::new(), Show::All);
        while let Some(page) = pages.next().await? {
            for key in page {
                let Some(Entry::Upload(repository, id)) = Entry::parse(key.as_str()) else {
                    continue;
                };
                let Ok(upload) = Taken::read(&self.records, &repository, &id).await else {
                    continue;
                };
                self.open.begins(&upload.session.owner, &id, usize::MAX);
                // It may have ended in between.
                if let Err(Error::UploadUnknown) = Taken::read(&self.records, &repository, &id).await {
                    self.open.ended(&id);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_has_its_own_bound_and_gets_back_what_ended() {
        let open = OpenUploads::default();
        let ids = [(); 3].map(|()| UploadId::random().unwrap());
        assert!(open.begins("a", &ids[0], 2) && open.begins("a", &ids[1], 2));
        assert!(!open.begins("a", &ids[2], 2), "a third one");
        assert!(open.begins("b", &ids[2], 2));
        open.ended(&ids[0]);
        open.ended(&ids[0]);
        let more = [(); 2].map(|()| UploadId::random().unwrap());
        assert!(
            open.begins("a", &more[0], 2) && !open.begins("a", &more[1], 2),
            "one ended, not two"
        );
        ids.iter().chain(&more).for_each(|id| open.ended(id));
        let counted = open.lock();
        assert_eq!((counted.callers.len(), counted.counts.len()), (0, 0));
    }

    #[test]
    fn what_began_before_the_walk_at_the_start_met_it_is_counted_once() {
        let open = OpenUploads::default();
        let id = UploadId::random().unwrap();
        assert!(open.begins("anonymous at a", &id, 2) && open.begins("anonymous", &id, usize::MAX));
        open.ended(&id);
        let counted = open.lock();
        assert_eq!((counted.callers.len(), counted.counts.len()), (0, 0));
    }
}
