//! Checks the quotas, and the limit on repositories, before a push begins and before its content is
//! published. Deletions are never limited.

mod keeping;
mod sharing;

use super::keys::Key;
use super::records::unless_unreadable;
use super::states::mark::Mark;
use super::typed_store::Base;
use super::usage::{Adds, QuotaExceeded, QuotaUse, Reserved};
use super::{Error, Registry, keys};
use crate::oci::{Digest, RepositoryName};
use crate::storage::Show;

impl Registry {
    /// Puts the repository into the catalogue. Fails if that would exceed the limit.
    ///
    /// New repositories are added one at a time, so that two of them cannot both be the last one. A
    /// repository that is removed at the same moment may be counted or not.
    pub(super) async fn enter(&self, repository: &RepositoryName) -> Result<(), Error> {
        let key = keys::in_catalog(repository.as_str());
        match self.settings.repositories {
            // The future of a push is no larger for what a limit needs.
            Some(most) => Box::pin(self.enter_if_few(&key, most)).await,
            None => self.records.mark(&key).await,
        }
    }

    async fn enter_if_few(&self, key: &Key<Mark>, most: usize) -> Result<(), Error> {
        if self.records.is_marked(key).await? {
            return self.records.mark(key).await;
        }
        let _turn = self.entering.lock().await;
        if !self.records.is_marked(key).await? && self.has_repositories(most).await? {
            return Err(Error::TooManyRepositories { most });
        }
        self.records.mark(key).await
    }

    /// Whether there are at least this many repositories.
    async fn has_repositories(&self, many: usize) -> Result<bool, Error> {
        let mut pages = self.records.pages(keys::catalog(), String::new(), Show::All);
        let mut found = 0;
        while found < many {
            match pages.next().await? {
                Some(page) => found += page.len(),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// What a push of the blob would add. Reads nothing if there are no quotas.
    pub(super) async fn adds(&self, repository: &RepositoryName, digest: &Digest) -> Result<Adds, Error> {
        if self.usage.is_kept() {
            Box::pin(self.adds_now(repository, digest)).await
        } else {
            Ok(Adds::PERHAPS)
        }
    }

    async fn adds_now(&self, repository: &RepositoryName, digest: &Digest) -> Result<Adds, Error> {
        let link = unless_unreadable(self.records.look_up(&keys::link(digest, repository)).await)?.flatten();
        if link.is_some_and(|link| link.record.generation.is_some()) {
            return Ok(Adds::NOTHING);
        }
        Ok(Adds {
            to_repository: true,
            to_store: self.size_in_store(digest).await?.is_none(),
        })
    }

    /// Reserves room for a blob whose link is pending. The blob has this `size` if the push brings it;
    /// otherwise the store has it.
    pub(super) async fn room_for_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        size: Option<u64>,
    ) -> Result<Option<Reserved>, Error> {
        if self.usage.is_kept() {
            Box::pin(self.reserve_blob(repository, digest, size)).await
        } else {
            Ok(None)
        }
    }

    async fn reserve_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        size: Option<u64>,
    ) -> Result<Option<Reserved>, Error> {
        let stored = self.size_in_store(digest).await?;
        let adds = Adds {
            to_repository: true,
            to_store: stored.is_none(),
        };
        let size = size.or(stored).unwrap_or(0);
        Ok(self.usage.reserve_blob(repository, digest, adds, size).await?)
    }

    /// The size of the blob if the store has its record. A push replaces the bytes of a damaged blob.
    async fn size_in_store(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        let blob = unless_unreadable(self.records.look_up(&keys::blob(digest)).await)?.flatten();
        Ok(blob.map(|blob| blob.record.size))
    }

    /// Withdraws the announcement of a link for which there is no room. `None` if the link has changed:
    /// another push of the same blob may have succeeded, and then this one needs no room.
    pub(super) async fn without_room<T>(
        &self,
        (repository, digest): (&RepositoryName, &Digest),
        (base, is_new): (&Base, bool),
        why: QuotaExceeded,
    ) -> Result<Option<T>, Error> {
        let key = keys::link(digest, repository);
        let unchanged = if is_new {
            self.records.freeing().delete(&key, &base.version).await?
        } else {
            let found = self.records.read(&key).await?;
            found.is_some_and(|found| found.version == base.version)
        };
        if unchanged { Err(why.into()) } else { Ok(None) }
    }

    /// Each quota with its use. There are none until the use is known.
    #[must_use]
    pub fn quotas(&self) -> Vec<QuotaUse> {
        self.usage.quotas()
    }
}
