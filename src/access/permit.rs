//! Proof that policy allows an identity an action on a repository. Made by [`super::decide()`] only.

use super::action::Action;
use super::actions::Actions;
use crate::identity::Principal;
use crate::oci::RepositoryName;
use std::marker::PhantomData;

/// Marks a permit to read manifests, blobs, tags and referrers.
#[derive(Clone, Copy, Debug)]
pub struct Read;
/// Marks a permit to upload blobs and to mount them.
#[derive(Clone, Copy, Debug)]
pub struct Create;
/// Marks a permit to write a manifest; the permit says whether tags may be created and whether they may be
/// moved.
#[derive(Clone, Copy, Debug)]
pub struct Write;
/// Marks a permit to delete.
#[derive(Clone, Copy, Debug)]
pub struct Delete;

/// Policy allows this principal the action `A` on this repository now. Every registry method reads the
/// repository from its permit, so no handler can name one repository to policy and another to the core.
#[derive(Clone, Debug)]
pub struct Permit<A> {
    repository: RepositoryName,
    principal: Principal,
    actions: Actions,
    action: PhantomData<A>,
}

impl<A> Permit<A> {
    pub(in crate::access) fn new(repository: RepositoryName, principal: Principal, actions: Actions) -> Self {
        Self {
            repository,
            principal,
            actions,
            action: PhantomData,
        }
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
    /// A tag that does not exist may be made.
    #[must_use]
    pub const fn may_create(&self) -> bool {
        self.actions.contains(Action::Create)
    }

    /// A tag that exists may be moved.
    #[must_use]
    pub const fn may_update(&self) -> bool {
        self.actions.contains(Action::Update)
    }
}

impl Permit<Delete> {
    /// A manifest that several tags lead to must not be deleted by its digest.
    #[must_use]
    pub const fn detects_collisions(&self) -> bool {
        self.actions.contains(Action::DetectManifestCollision)
    }
}

#[cfg(test)]
impl<A> Permit<A> {
    /// A permit that no policy gave, for the tests of the core.
    pub(crate) fn for_test(repository: &str, principal: Principal) -> Self {
        Self::new(repository.parse().unwrap(), principal, Actions::ALL)
    }

    /// The same for somebody whose deletions must not take several tags along.
    pub(crate) fn for_test_detecting(repository: &str, principal: Principal) -> Self {
        let actions = [Action::Delete, Action::DetectManifestCollision].iter().collect();
        Self::new(repository.parse().unwrap(), principal, actions)
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
        Self::new(repository.parse().unwrap(), principal, actions)
    }
}
