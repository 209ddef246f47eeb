//! A set of actions.

use super::action::Action;
use crate::identity::Rights;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Actions(u8);

impl Actions {
    /// The four actions that permit something by themselves.
    pub(super) const ALL: Self = Self(0b1111);
    /// An administrator's deletions have no behaviours.
    pub(super) const BEHAVIOURS: Self = Self(bit(Action::DetectManifestCollision));
    /// The actions that only change the meaning of other actions. Caps and scopes do not remove them: a
    /// limited token must not be able to delete more, and the protocol of tokens has no word for `override`.
    pub(super) const BESIDE: Self = Self::BEHAVIOURS.union(Self(bit(Action::Override)));

    pub(super) const fn contains(self, action: Action) -> bool {
        self.0 & bit(action) != 0
    }

    /// Whether this set permits nothing.
    pub(super) const fn is_empty(self) -> bool {
        self.intersection(Self::ALL).0 == 0
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the actions that these rights of the token protocol can include at most. A push may create and
    /// move tags.
    pub(super) fn within(rights: Rights) -> Self {
        let some = |allowed: bool, actions: &[Action]| {
            if allowed {
                actions.iter().collect()
            } else {
                Self::default()
            }
        };
        let push = some(rights.push, &[Action::Create, Action::Update]);
        some(rights.pull, &[Action::Read])
            .union(push)
            .union(some(rights.delete, &[Action::Delete]))
    }

    /// Returns the rights for which a token may be issued. A push may succeed with either of its two actions.
    pub(super) const fn rights(self) -> Rights {
        let push = self.contains(Action::Create) || self.contains(Action::Update);
        Rights {
            pull: self.contains(Action::Read),
            push,
            delete: self.contains(Action::Delete),
        }
    }
}

impl<'a> FromIterator<&'a Action> for Actions {
    fn from_iter<I: IntoIterator<Item = &'a Action>>(actions: I) -> Self {
        Self(actions.into_iter().fold(0, |bits, action| bits | bit(*action)))
    }
}

const fn bit(action: Action) -> u8 {
    match action {
        Action::Read => 1,
        Action::Create => 2,
        Action::Update => 4,
        Action::Delete => 8,
        Action::DetectManifestCollision => 16,
        Action::Override => 32,
    }
}
