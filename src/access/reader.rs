//! Reading across repositories: the catalogue, and a mount that names no source.

use super::{Permit, Policy, Read, decide};
use crate::identity::Identity;
use crate::oci::RepositoryName;
use std::borrow::Cow;

/// Makes read permits one by one, so that whoever walks over all repositories sees those that its caller may
/// read.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    policy: &'a Policy,
    identity: Cow<'a, Identity>,
}

impl<'a> Reader<'a> {
    /// For what the caller's token names: a mount is no way around its scope.
    #[must_use]
    pub const fn new(policy: &'a Policy, identity: &'a Identity) -> Self {
        Self {
            policy,
            identity: Cow::Borrowed(identity),
        }
    }

    /// For the catalogue, which is a scope of its own (`registry:catalog:*`): it shows whatever policy lets
    /// the caller read.
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

/// The token's scope does not name the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token's scope does not include the catalogue: request registry:catalog:*")]
pub struct BeyondScope;
