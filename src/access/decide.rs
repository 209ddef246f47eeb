//! The decisions. [`decide()`] and [`decide_write`] are the only makers of permits.

use super::actions::Actions;
use super::{Action, Create, Delete, Permit, Policy, Read, Write};
use crate::identity::{Identity, Rights, Scope};
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
pub fn decide<A: Kind>(
    policy: &Policy,
    identity: &Identity,
    repository: &RepositoryName,
) -> Result<Permit<A>, Denied> {
    let actions = allowed(policy, identity, repository, |actions| {
        actions.contains(A::ACTION)
    });
    let actions = actions.map_err(|by| by.denied(A::ACTION, policy, identity, repository))?;
    Ok(Permit::new(
        repository.clone(),
        identity.principal().clone(),
        actions,
    ))
}

/// May this identity write a manifest here? It takes the right to create or the right to update; which of the
/// two is needed only the write itself can tell, so the permit carries both.
pub fn decide_write(
    policy: &Policy,
    identity: &Identity,
    repository: &RepositoryName,
) -> Result<Permit<Write>, Denied> {
    let either = |actions: Actions| actions.contains(Action::Create) || actions.contains(Action::Update);
    let actions = allowed(policy, identity, repository, either);
    let actions = actions.map_err(|by| by.denied(Action::Create, policy, identity, repository))?;
    Ok(Permit::new(
        repository.clone(),
        identity.principal().clone(),
        actions,
    ))
}

/// May this identity read the metrics? They belong to no repository, so there is no permit to be had for
/// them.
#[must_use]
pub fn may_read_metrics(policy: &Policy, identity: &Identity) -> bool {
    let whole = identity.cap().is_none() && identity.scope().is_none();
    whole && policy.shows_metrics_to(identity)
}

/// What a token of this identity can be good for in a repository. The scope of the token that it has now
/// counts as well: a token is exchanged for a narrower one only.
#[must_use]
pub fn rights(policy: &Policy, identity: &Identity, repository: &RepositoryName) -> Rights {
    allowed(policy, identity, repository, |_| true)
        .map(Actions::rights)
        .unwrap_or_default()
}

/// The actions that are left of policy's by the credential's cap and the token's scope, if they suffice; else
/// which took them away.
fn allowed(
    policy: &Policy,
    identity: &Identity,
    repository: &RepositoryName,
    suffice: impl Fn(Actions) -> bool,
) -> Result<Actions, DeniedBy> {
    let granted = policy.granted(identity, repository).0;
    let issued = granted.intersection(within(identity.cap(), repository));
    let asked = issued.intersection(within(identity.scope(), repository));
    match (suffice(asked), suffice(issued), suffice(granted)) {
        (true, ..) => Ok(asked),
        (false, true, _) => Err(DeniedBy::Scope),
        (false, false, true) => Err(DeniedBy::Cap),
        (false, false, false) => Err(DeniedBy::Policy),
    }
}

/// What takes an action away that policy grants, if something does.
pub(super) fn taken_away(
    action: Action,
    identity: &Identity,
    repository: &RepositoryName,
) -> Option<DeniedBy> {
    let lacks = |scope: Option<&Scope>| !within(scope, repository).contains(action);
    match (lacks(identity.cap()), lacks(identity.scope())) {
        (true, _) => Some(DeniedBy::Cap),
        (false, true) => Some(DeniedBy::Scope),
        (false, false) => None,
    }
}

fn within(scope: Option<&Scope>, repository: &RepositoryName) -> Actions {
    scope
        .map_or(Actions::ALL, |scope| Actions::within(scope.rights(repository)))
        .union(Actions::BEHAVIOURS)
}

/// This is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    pub action: Action,
    pub repository: RepositoryName,
    /// No credential was presented, so presenting one might help.
    pub anonymous: bool,
    /// The pattern that decided; `None` if none matches the repository.
    pub pattern: Option<String>,
    pub by: DeniedBy,
}

/// What stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeniedBy {
    /// Policy does not grant it.
    Policy,
    /// The credential was issued for another repository.
    Cap,
    /// The token was not asked for it: another token of the same caller could have it.
    Scope,
}

impl DeniedBy {
    fn denied(
        self,
        action: Action,
        policy: &Policy,
        identity: &Identity,
        repository: &RepositoryName,
    ) -> Denied {
        let pattern = policy.granted(identity, repository).1.map(str::to_owned);
        Denied {
            action,
            repository: repository.clone(),
            anonymous: identity.is_anonymous(),
            pattern,
            by: self,
        }
    }
}

impl fmt::Display for Denied {
    /// For the log: it names the pattern, which is nothing for strangers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            action,
            repository,
            anonymous,
            pattern,
            by,
        } = self;
        let who = if *anonymous {
            "a caller without a credential"
        } else {
            "this identity"
        };
        write!(f, "{who} may not {} in {repository}: ", action.as_str())?;
        match (by, pattern) {
            (DeniedBy::Cap, _) => {
                f.write_str("the credential was issued for another repository (its audience names one)")
            }
            (DeniedBy::Scope, _) => f.write_str("the token's scope does not include it"),
            (DeniedBy::Policy, Some(pattern)) => {
                write!(
                    f,
                    "the pattern `{pattern}` applies and does not grant `{}`",
                    action.as_str()
                )
            }
            (DeniedBy::Policy, None) => f.write_str("no pattern of accessControl.repositories matches it"),
        }
    }
}

impl std::error::Error for Denied {}
