//! Limits how many open uploads each caller has, because an upload costs a record, a file and time in every
//! walk until it expires.
//!
//! The count is in memory. A process that has the store to itself counts uploads as they begin and end, and
//! counts the existing ones when it starts. Processes that share a store each count only the uploads that began with
//! them, so a caller may have as many of them as the limit allows times the number of processes. When a caller
//! reaches the limit, and every ten minutes, uploads that have ended in another process are forgotten.

use super::super::keys::Entry;
use super::super::upload_id::UploadId;
use super::super::{Error, Registry, keys, to_its_end};
use super::Upload;
use super::taken::Taken;
use crate::access::{Create, Permit};
use crate::oci::{Algorithm, RepositoryName};
use crate::storage::Show;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All clones share the count.
#[derive(Clone, Debug, Default)]
pub(in crate::registry) struct OpenUploads(Arc<Mutex<Counted>>);

#[derive(Debug, Default)]
struct Counted {
    callers: HashMap<UploadId, (RepositoryName, Arc<str>)>,
    counts: HashMap<Arc<str>, usize>,
}

impl OpenUploads {
    /// Counts an upload. Returns `false` if the caller already has `most`.
    fn begins(&self, caller: &str, repository: &RepositoryName, id: &UploadId, most: usize) -> bool {
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
        callers.insert(id.clone(), (repository.clone(), caller.clone()));
        counts.insert(caller, count + 1);
        true
    }

    /// Call this when an upload's record is gone. Does nothing for an upload that was not counted.
    pub(super) fn ended(&self, id: &UploadId) {
        let mut counted = self.lock();
        let Counted { callers, counts } = &mut *counted;
        let Some((_, caller)) = callers.remove(id) else {
            return;
        };
        match counts.get_mut(&caller) {
            Some(count @ 2..) => *count -= 1,
            _ => drop(counts.remove(&caller)),
        }
    }

    /// The counted uploads, of one caller or of all.
    fn counted(&self, caller: Option<&str>) -> Vec<(RepositoryName, UploadId)> {
        let counted = self.lock();
        let of = counted.callers.iter();
        let of = of.filter(|(_, (_, owner))| caller.is_none_or(|caller| caller == &**owner));
        of.map(|(id, (repository, _))| (repository.clone(), id.clone()))
            .collect()
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
        if !self.open.begins(caller, permit.repository(), &id, most) {
            // The client does not wait long for this, since the number of its uploads is limited.
            let ended = self.settings.shared && Box::pin(self.forget_ended(Some(caller))).await?;
            if !ended || !self.open.begins(caller, permit.repository(), &id, most) {
                return Err(Error::TooManyUploads { most });
            }
        }
        let registry = self.clone();
        let permit = permit.clone();
        // Run to the end, so that a client that disconnects leaves no uncounted upload.
        to_its_end(async move {
            let started = registry.start(&permit, algorithm, id.clone()).await;
            if started.is_err() {
                registry.open.ended(&id);
            }
            Ok(started?.into())
        })
        .await
    }

    /// Forgets counted uploads, of one caller or of all, that have ended in another process. Returns whether there was
    /// one.
    pub(super) async fn forget_ended(&self, caller: Option<&str>) -> Result<bool, Error> {
        let mut any = false;
        for (repository, id) in self.open.counted(caller) {
            if let Err(Error::UploadUnknown) = Taken::read(&self.records, &repository, &id).await {
                self.open.ended(&id);
                any = true;
            }
        }
        Ok(any)
    }

    /// Counts the uploads that were open before the process started. Anonymous callers can no longer be
    /// distinguished then, so their old uploads do not limit them. On a shared store they belong to all processes, and
    /// none counts them.
    pub async fn count_open_uploads(&self) -> Result<(), Error> {
        if self.settings.shared {
            return Ok(());
        }
        let mut pages = self.records.pages(keys::all_uploads(), String::new(), Show::All);
        while let Some(page) = pages.next().await? {
            for key in page {
                let Some(Entry::Upload(repository, id)) = Entry::parse(key.as_str()) else {
                    continue;
                };
                let Ok(upload) = Taken::read(&self.records, &repository, &id).await else {
                    continue;
                };
                self.open
                    .begins(&upload.session.owner, &repository, &id, usize::MAX);
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

    fn r() -> RepositoryName {
        "team/app".parse().unwrap()
    }

    #[test]
    fn each_caller_has_its_own_limit_and_an_ended_upload_is_released() {
        let open = OpenUploads::default();
        let ids = [(); 3].map(|()| UploadId::random().unwrap());
        assert!(open.begins("a", &r(), &ids[0], 2) && open.begins("a", &r(), &ids[1], 2));
        assert!(!open.begins("a", &r(), &ids[2], 2), "a third one");
        assert!(open.begins("b", &r(), &ids[2], 2));
        open.ended(&ids[0]);
        open.ended(&ids[0]);
        let more = [(); 2].map(|()| UploadId::random().unwrap());
        assert!(
            open.begins("a", &r(), &more[0], 2) && !open.begins("a", &r(), &more[1], 2),
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
        assert!(
            open.begins("anonymous at a", &r(), &id, 2) && open.begins("anonymous", &r(), &id, usize::MAX)
        );
        open.ended(&id);
        let counted = open.lock();
        assert_eq!((counted.callers.len(), counted.counts.len()), (0, 0));
    }
}
