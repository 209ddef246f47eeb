//! Access decisions. Only [`decide()`] and [`decide_write`] make permits.

use super::actions::Actions;
use super::{Action, Create, Delete, Permit, Policy, Read, Write};
use crate::identity::{Identity, Rights, Scope};
use crate::oci::RepositoryName;
use std::fmt;

/// An action that [`decide()`] can check. [`Write`] is not one of them, since it needs one of two actions.
pub trait Kind {
    const ACTION: Action;
    /// Whether it may change tags, so that its permit needs the rules for immutable ones.
    const CHANGES_TAGS: bool = false;
}

impl Kind for Read {
    const ACTION: Action = Action::Read;
}

impl Kind for Create {
    const ACTION: Action = Action::Create;
}

impl Kind for Delete {
    const ACTION: Action = Action::Delete;
    const CHANGES_TAGS: bool = true;
}

/// Decides whether this identity may do `A` on this repository.
pub fn decide<A: Kind>(
    policy: &Policy,
    identity: &Identity,
    repository: &RepositoryName,
) -> Result<Permit<A>, Denied> {
    let actions = allowed(policy, identity, repository, |actions| {
        actions.contains(A::ACTION)
    });
    let actions = actions.map_err(|by| by.denied(A::ACTION, policy, identity, repository))?;
    let immutable = A::CHANGES_TAGS.then(|| policy.immutable_tags(repository).cloned());
    Ok(Permit::new(
        repository.clone(),
        identity.principal().clone(),
        actions,
        immutable.flatten(),
    ))
}

/// Decides whether this identity may write a manifest here. That needs the right to create or to update. Only
/// the write itself knows which of the two, so the permit contains both.
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
        policy.immutable_tags(repository).cloned(),
    ))
}

/// Whether this identity may read the metrics. They belong to no repository, so there is no permit for them.
#[must_use]
pub fn may_read_metrics(policy: &Policy, identity: &Identity) -> bool {
    let whole = identity.cap().is_none() && identity.scope().is_none();
    whole && policy.shows_metrics_to(identity)
}

/// Returns the rights that a new token of this identity may have in a repository. The scope of the presented
/// token limits them, since a token can only be exchanged for a narrower one.
#[must_use]
pub fn rights(policy: &Policy, identity: &Identity, repository: &RepositoryName) -> Rights {
    allowed(policy, identity, repository, |_| true)
        .map(Actions::rights)
        .unwrap_or_default()
}

/// Returns the actions that policy grants and the credential's cap and the token's scope allow. If they do
/// not suffice, returns which of the three denied them.
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

/// Returns what denies the action even if policy grants it: the credential's cap or the token's scope.
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
        .union(Actions::BESIDE)
}

/// A denied action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    pub action: Action,
    pub repository: RepositoryName,
    /// No credential was presented, so presenting one may help.
    pub anonymous: bool,
    /// The pattern that applies. `None` if no pattern matches the repository.
    pub pattern: Option<String>,
    pub by: DeniedBy,
}

/// What denied an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeniedBy {
    /// Policy does not grant it.
    Policy,
    /// The credential was issued for another repository.
    Cap,
    /// The token's scope does not include it. The caller may request another token.
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
    /// For the log only: it names the pattern, which callers must not see.
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
