//! The decisions. [`decide()`] and [`decide_write`] are the only makers of permits.

use super::{Action, Create, Delete, Permit, Policy, Read, Write};
use crate::identity::Identity;
use crate::oci::RepositoryName;
use std::fmt;

/// What a permit may be asked for by [`decide`]. [`Write`] is none of these, as it takes one of two actions.
pub trait Kind {
    const ACTION: Action;
}

impl Kind for Read {
    const ACTION: Action = Action::Read;
}

impl Kind for Create {
    const ACTION: Action = Action::Create;
}

impl Kind for Delete {
    const ACTION: Action = Action::Delete;
}

/// May this identity do `A` on this repository?
pub fn decide<A: Kind>(policy: &Policy, identity: &Identity, repository: &RepositoryName) -> Result<Permit<A>, Denied> {
    let (actions, pattern) = policy.granted(identity, repository);
    if !actions.contains(A::ACTION) {
        return Err(Denied::new(A::ACTION, identity, repository, pattern));
    }
    Ok(Permit::new(repository.clone(), identity.principal().clone(), false, false))
}

/// May this identity write a manifest here? It takes the right to create or the right to update; which of the two is needed only the
/// write itself can tell, so the permit carries both.
pub fn decide_write(policy: &Policy, identity: &Identity, repository: &RepositoryName) -> Result<Permit<Write>, Denied> {
    let (actions, pattern) = policy.granted(identity, repository);
    let (create, update) = (actions.contains(Action::Create), actions.contains(Action::Update));
    if !create && !update {
        return Err(Denied::new(Action::Create, identity, repository, pattern));
    }
    Ok(Permit::new(repository.clone(), identity.principal().clone(), create, update))
}

/// May this identity read the metrics? They belong to no repository, so there is no permit to be had for them.
#[must_use]
pub fn may_read_metrics(policy: &Policy, identity: &Identity) -> bool {
    policy.shows_metrics_to(identity)
}

/// Policy does not grant this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    pub action: Action,
    pub repository: RepositoryName,
    /// No credential was presented, so presenting one might help.
    pub anonymous: bool,
    /// The pattern that decided; `None` if none matches the repository.
    pub pattern: Option<String>,
}

impl Denied {
    fn new(action: Action, identity: &Identity, repository: &RepositoryName, pattern: Option<&str>) -> Self {
        let (repository, pattern) = (repository.clone(), pattern.map(str::to_owned));
        Self { action, repository, anonymous: identity.is_anonymous(), pattern }
    }
}

impl fmt::Display for Denied {
    /// For the log: it names the pattern, which is nothing for strangers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { action, repository, anonymous, pattern } = self;
        let who = if *anonymous { "a caller without a credential" } else { "this identity" };
        write!(f, "{who} may not {} in {repository}: ", action.as_str())?;
        match pattern {
            Some(pattern) => write!(f, "the pattern `{pattern}` decides, and grants them no `{}`", action.as_str()),
            None => f.write_str("no pattern of accessControl.repositories matches it"),
        }
    }
}

impl std::error::Error for Denied {}
