//! Reading across repositories: the catalogue, and a mount that does not name its source.

use super::{Permit, Policy, Read, decide};
use crate::identity::Identity;
use crate::oci::RepositoryName;
use std::borrow::Cow;

/// Makes read permits one by one, so that a walk over all repositories shows only those that the caller may
/// read.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    policy: &'a Policy,
    identity: Cow<'a, Identity>,
}

impl<'a> Reader<'a> {
    /// Limits reads to the scope of the caller's token, so that a mount cannot bypass it.
    #[must_use]
    pub const fn new(policy: &'a Policy, identity: &'a Identity) -> Self {
        Self {
            policy,
            identity: Cow::Borrowed(identity),
        }
    }

    /// For the catalogue, which has its own scope (`registry:catalog:*`). It shows every repository that
    /// policy lets the caller read.
    pub fn catalog(policy: &'a Policy, identity: &'a Identity) -> Result<Self, BeyondScope> {
        match identity.scope() {
            None => Ok(Self::new(policy, identity)),
            Some(scope) if scope.catalog() => Ok(Self {
                policy,
                identity: Cow::Owned(identity.clone().unscoped()),
            }),
            Some(_) => Err(BeyondScope),
        }
    }

    #[must_use]
    pub fn permit(&self, repository: &RepositoryName) -> Option<Permit<Read>> {
        decide(self.policy, &self.identity, repository).ok()
    }
}

/// The token's scope does not include the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token's scope does not include the catalogue: request registry:catalog:*")]
pub struct BeyondScope;
