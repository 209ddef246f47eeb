//! Limits how many open uploads each caller has, because an upload costs a record, a file and time in every
//! walk until it expires.
//!
//! The count is in memory. A process that has the store to itself counts uploads as they begin and end, and
//! counts the existing ones when it starts. Processes that share a store would each see only their own
//! uploads. They would need a record with the count for each caller, changed together with each session.

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

/// All clones share the count.
#[derive(Clone, Debug, Default)]
pub(in crate::registry) struct OpenUploads(Arc<Mutex<Counted>>);

#[derive(Debug, Default)]
struct Counted {
    callers: HashMap<UploadId, Arc<str>>,
    counts: HashMap<Arc<str>, usize>,
}

impl OpenUploads {
    /// Counts an upload. Returns `false` if the caller already has `most`.
    fn begins(&self, caller: &str, id: &UploadId, most: usize) -> bool {
        let mut counted = self.lock();
        let Counted { callers, counts } = &mut *counted;
        // The count at the start also finds uploads that have begun since.
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

    /// Call this when an upload's record is gone. Does nothing for an upload that was not counted.
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
    /// Like [`start_upload`](Self::start_upload), for an upload that takes several requests. It is counted
    /// for `caller`: the principal, or a name that distinguishes anonymous callers.
    pub async fn begin_upload(
        &self,
        permit: &Permit<Create>,
        algorithm: Option<Algorithm>,
        caller: &str,
    ) -> Result<Upload, Error> {
        let Some(most) = self.settings.open_uploads else {
            return self.start_upload(permit, algorithm).await;
        };
        self.usage.check_begin(permit.repository())?;
        let id = self.ids.next()?;
        if !self.open.begins(caller, &id, most) {
            return Err(Error::TooManyUploads { most });
        }
        let registry = self.clone();
        let permit = permit.clone();
        // Run to the end, so that a client that disconnects leaves no uncounted upload.
        to_its_end(async move {
            let started = registry.start(&permit, algorithm, id.clone()).await;
            if started.is_err() {
                registry.open.ended(&id);
            }
            started
        })
        .await
    }

    /// Counts the uploads that were open before the process started. Anonymous callers can no longer be
    /// distinguished then, so their old uploads do not limit them.
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
    fn each_caller_has_its_own_limit_and_an_ended_upload_is_released() {
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
    fn an_upload_that_began_before_the_count_at_the_start_is_counted_once() {
        let open = OpenUploads::default();
        let id = UploadId::random().unwrap();
        assert!(open.begins("anonymous at a", &id, 2) && open.begins("anonymous", &id, usize::MAX));
        open.ended(&id);
        let counted = open.lock();
        assert_eq!((counted.callers.len(), counted.counts.len()), (0, 0));
    }
}
