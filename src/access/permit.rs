//! Proof that policy allows an identity an action on a repository. Only [`super::decide()`] and
//! [`super::decide_write`] make it.

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
    /// Whether a tag that does not exist may be created.
    #[must_use]
    pub const fn may_create(&self) -> bool {
        self.actions.contains(Action::Create)
    }

    /// Whether an existing tag may be moved.
    #[must_use]
    pub const fn may_update(&self) -> bool {
        self.actions.contains(Action::Update)
    }
}

impl Permit<Delete> {
    /// Whether a manifest with several tags must not be deleted by its digest.
    #[must_use]
    pub const fn detects_collisions(&self) -> bool {
        self.actions.contains(Action::DetectManifestCollision)
    }
}

#[cfg(test)]
impl<A> Permit<A> {
    /// A permit without a policy, for tests of the registry core.
    pub(crate) fn for_test(repository: &str, principal: Principal) -> Self {
        Self::new(repository.parse().unwrap(), principal, Actions::ALL)
    }

    /// The same for a caller whose deletions must not take several tags along.
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
