//! Pushing a manifest with a tag. On a shared store each request takes long, so independent ones run side by side;
//! `docs/design/protocol.md`, "Several processes on one store", says why that is safe.

use super::manifests::Pushing;
use super::omitted::Step;
use super::records::unless_unreadable;
use super::tags::SeenTag;
use super::typed_store::{Base, until_settled};
use super::{Error, Registry, keys};
use crate::access::{Permit, Write};
use crate::oci::{Condition, Digest, RepositoryName, Tag};
use crate::storage::Version;
use futures_util::future::join;
use std::sync::atomic::{AtomicBool, Ordering};

impl Registry {
    pub(super) async fn commit_with_tag(
        &self,
        condition: &Condition,
        permit: &Permit<Write>,
        tag: &Tag,
        digest: &Digest,
        pushed: &Pushing,
    ) -> Result<Vec<Digest>, Error> {
        let met = Condition::default();
        let written = AtomicBool::new(false);
        let (mut seen, mut announced) = self.begin_tagged(condition, permit, tag, digest, pushed).await?;
        until_settled(|| {
            let seen = seen.take();
            let announced = announced.take();
            let met = &met;
            let written = &written;
            async move {
                // After the first write the tag is this push's own, so the condition must not be checked again.
                let condition = if written.load(Ordering::SeqCst) {
                    met
                } else {
                    condition
                };
                // The creation of an immutable tag has more steps.
                let early = Some(tag).filter(|tag| seen.is_some() && !permit.is_immutable(tag));
                let committed = self
                    .commit(permit.repository(), digest, pushed, early, announced)
                    .await?;
                if let (Some(seen), Some(back)) = (seen, committed.back) {
                    let placed = self.place_tag(condition, permit, tag, digest, seen).await?;
                    let Some(previous) = placed else { return Ok(None) };
                    written.store(true, Ordering::SeqCst);
                    let stays = self.stays_tagged(permit.repository(), digest, tag, &back).await;
                    self.leave_previous(permit.repository(), previous, tag).await?;
                    return Ok(stays?.then_some(committed.missing));
                }
                if !self.write_tag(condition, permit, tag, digest).await? {
                    return Ok(None);
                }
                written.store(true, Ordering::SeqCst);
                // If the manifest was deleted meanwhile, the push starts again.
                let stays = self.stays(permit.repository(), digest).await?;
                Ok(stays.then_some(committed.missing))
            }
        })
        .await
    }

    /// Checks whether the tag may be written, which rejects most pushes before the manifest is stored. The write of
    /// the tag checks again. On a shared store each request takes long, so the manifest is announced meanwhile, on the
    /// guess that it is new.
    async fn begin_tagged(
        &self,
        condition: &Condition,
        permit: &Permit<Write>,
        tag: &Tag,
        digest: &Digest,
        pushed: &Pushing,
    ) -> Result<(Option<SeenTag>, Option<Base>), Error> {
        let check = self.check_tag(condition, permit, tag, digest);
        if !self.settings.shared || self.omitted.has(Step::Announcing) {
            return Ok((check.await?, None));
        }
        let key = keys::manifest(permit.repository(), digest);
        let (checked, announced) = join(check, self.records.create(&key, &pushed.record)).await;
        let announced = announced.map(|version| version.map(Base::created));
        match (checked, announced) {
            (Ok(seen), announced) => Ok((seen, announced?)),
            (Err(refused), Ok(Some(base))) => {
                let withdrawn = self.give_up(permit.repository(), digest, &base, &pushed.record);
                if let Err(why) = Box::pin(withdrawn).await {
                    tracing::warn!(repo.name = %permit.repository(), manifest.digest = %digest, "could not remove the announcement of a rejected push; the garbage collector removes it: {why}");
                }
                Err(refused)
            }
            (Err(refused), _) => Err(refused),
        }
    }

    /// Whether the manifest of a tag that was just written still exists, and has the tag's back reference. The two
    /// reads may run side by side, because a back reference that has not changed since it was written was there for
    /// every deletion that may have hidden the manifest in between.
    async fn stays_tagged(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        tag: &Tag,
        back: &Version,
    ) -> Result<bool, Error> {
        let key = keys::back_reference(repository, digest, tag);
        let (is_still, stays) = join(self.records.is_still(&key, back), self.stays(repository, digest)).await;
        if unless_unreadable(is_still)? == Some(true) {
            return stays;
        }
        // A clearing that began before the tag was written has condemned or deleted it since.
        self.records.mark(&key).await?;
        self.stays(repository, digest).await
    }

    /// Clears the back reference of the manifest at which the tag pointed before. It is only a hint, so on a shared
    /// store the client does not wait for it.
    async fn leave_previous(
        &self,
        repository: &RepositoryName,
        previous: Option<Digest>,
        tag: &Tag,
    ) -> Result<(), Error> {
        let Some(previous) = previous else { return Ok(()) };
        if !self.settings.shared {
            return self.is_off(repository, &previous, tag).await;
        }
        let registry = self.clone();
        let repository = repository.clone();
        let tag = tag.clone();
        tokio::spawn(async move {
            if let Err(why) = registry.is_off(&repository, &previous, &tag).await {
                tracing::debug!(repo.name = %repository, "an outdated entry of a tag remains until the garbage collector clears it: {why}");
            }
        });
        Ok(())
    }
}
