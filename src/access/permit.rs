//! Proof that policy allows an identity an action on a repository. Only [`super::decide()`] and
//! [`super::decide_write`] make it.

use super::action::Action;
use super::actions::Actions;
use super::immutable::{ImmutableTag, ImmutableTags};
use crate::identity::Principal;
use crate::oci::{RepositoryName, Tag};
use std::marker::PhantomData;
use std::sync::Arc;

/// Marks a permit to read manifests, blobs, tags and referrers.
#[derive(Clone, Copy, Debug)]
pub struct Read;
/// Marks a permit to upload blobs and to mount them.
#[derive(Clone, Copy, Debug)]
pub struct Create;
/// Marks a permit to write a manifest. The permit says whether tags may be created and whether they may be
/// moved.
#[derive(Clone, Copy, Debug)]
pub struct Write;
/// Marks a permit to delete.
#[derive(Clone, Copy, Debug)]
pub struct Delete;

/// Policy allows this principal the action `A` on this repository now. Registry methods take the repository
/// from the permit, so a handler cannot check one repository and use another.
#[derive(Clone, Debug)]
pub struct Permit<A> {
    repository: RepositoryName,
    principal: Principal,
    actions: Actions,
    /// The repository's rules for immutable tags, if it has any. Permits that change no tags have none.
    immutable: Option<Arc<ImmutableTags>>,
    action: PhantomData<A>,
}

impl<A> Permit<A> {
    pub(in crate::access) fn new(
        repository: RepositoryName,
        principal: Principal,
        actions: Actions,
        immutable: Option<Arc<ImmutableTags>>,
    ) -> Self {
        Self {
            repository,
            principal,
            actions,
            immutable,
            action: PhantomData,
        }
    }

    /// The rule that forbids this caller to move or delete the tag.
    fn forbids(&self, tag: &Tag) -> Option<ImmutableTag> {
        let rules = self.immutable.as_ref()?;
        if self.actions.contains(Action::Override) {
            return None;
        }
        rules.rule(tag)
    }

    #[must_use]
    pub const fn repository(&self) -> &RepositoryName {
        &self.repository
    }

    #[must_use]
    pub const fn principal(&self) -> &Principal {
        &self.principal
    }
}

impl Permit<Write> {
    /// Whether a tag that does not exist may be created.
    #[must_use]
    pub const fn may_create(&self) -> bool {
        self.actions.contains(Action::Create)
    }

    /// Fails if this caller may not move the tag, which exists.
    pub fn may_move(&self, tag: &Tag) -> Result<(), Unmovable> {
        if !self.actions.contains(Action::Update) {
            return Err(Unmovable::NoUpdate);
        }
        self.forbids(tag)
            .map_or(Ok(()), |rule| Err(Unmovable::Immutable(rule)))
    }

    /// Whether a rule makes the tag immutable. The right `override` makes no difference here.
    #[must_use]
    pub fn is_immutable(&self, tag: &Tag) -> bool {
        self.immutable
            .as_ref()
            .is_some_and(|rules| rules.rule(tag).is_some())
    }
}

/// Why a caller may not move a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmovable {
    /// The caller lacks the right `update`.
    NoUpdate,
    /// The tag is immutable, and the caller lacks the right `override`.
    Immutable(ImmutableTag),
}

impl Permit<Delete> {
    /// Whether a manifest with several tags must not be deleted by its digest.
    #[must_use]
    pub const fn detects_collisions(&self) -> bool {
        self.actions.contains(Action::DetectManifestCollision)
    }

    /// Fails if this caller may not delete the tag, not even with its manifest.
    pub fn may_delete(&self, tag: &Tag) -> Result<(), ImmutableTag> {
        self.forbids(tag).map_or(Ok(()), Err)
    }

    /// Whether every tag may be deleted.
    #[must_use]
    pub fn may_delete_every_tag(&self) -> bool {
        self.immutable.is_none() || self.actions.contains(Action::Override)
    }
}

#[cfg(test)]
impl<A> Permit<A> {
    /// A permit without a policy, for tests of the registry core.
    pub(crate) fn for_test(repository: &str, principal: Principal) -> Self {
        Self::new(repository.parse().unwrap(), principal, Actions::ALL, None)
    }

    /// The same with immutable tags.
    pub(crate) fn for_test_immutable(repository: &str, principal: Principal, patterns: &[&str]) -> Self {
        let patterns: Vec<String> = patterns.iter().map(|one| (*one).to_owned()).collect();
        let rules = ImmutableTags::compile("**", &patterns).unwrap().map(Arc::new);
        Self::new(repository.parse().unwrap(), principal, Actions::ALL, rules)
    }

    pub(crate) fn overriding(mut self) -> Self {
        self.actions = self.actions.union([Action::Override].iter().collect());
        self
    }

    /// The same for a caller whose deletions must not take several tags along.
    pub(crate) fn for_test_detecting(repository: &str, principal: Principal) -> Self {
        let actions = [Action::Delete, Action::DetectManifestCollision].iter().collect();
        Self::new(repository.parse().unwrap(), principal, actions, None)
    }

    pub(crate) fn for_test_limited(
        repository: &str,
        principal: Principal,
        may_create: bool,
        may_update: bool,
    ) -> Self {
        let actions = [(may_create, Action::Create), (may_update, Action::Update)];
        let actions = actions
            .iter()
            .filter(|(may, _)| *may)
            .map(|(_, action)| action)
            .collect();
        Self::new(repository.parse().unwrap(), principal, actions, None)
    }
}
