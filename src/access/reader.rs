//! Reading across repositories: the catalogue, and a mount that names no source.

use super::{Permit, Policy, Read, decide};
use crate::identity::Identity;
use crate::oci::RepositoryName;

/// Makes read permits one by one, so that whoever walks over all repositories sees those that its caller may read.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    policy: &'a Policy,
    identity: &'a Identity,
}

impl<'a> Reader<'a> {
    #[must_use]
    pub const fn new(policy: &'a Policy, identity: &'a Identity) -> Self {
        Self { policy, identity }
    }

    #[must_use]
    pub fn permit(&self, repository: &RepositoryName) -> Option<Permit<Read>> {
        decide(self.policy, self.identity, repository).ok()
    }
}
