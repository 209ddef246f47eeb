//! A set of actions.

use super::Action;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Actions(u8);

impl Actions {
    pub(super) const ALL: Self = Self(0b1111);

    pub(super) const fn contains(self, action: Action) -> bool {
        self.0 & bit(action) != 0
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
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
    }
}
