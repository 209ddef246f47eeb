//! An entry of an index: a back reference, a referrer, a child's index, a repository in the catalogue, or a
//! deletion that is under way. It is only a hint: the record that it points at decides.

use super::{Condemnable, Next};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::registry) struct Mark {
    pub state: MarkState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::registry) enum MarkState {
    Live,
    Cond,
}

impl Mark {
    pub(in crate::registry) const LIVE: Self = Self {
        state: MarkState::Live,
    };

    /// Makes the entry live. That also stops a clearing that is under way.
    pub(in crate::registry) fn wanted(found: Option<Self>) -> Next<Self, ()> {
        match found {
            Some(Self {
                state: MarkState::Live,
            }) => Next::Keep(()),
            Some(Self {
                state: MarkState::Cond,
            })
            | None => Next::Write(Self::LIVE, ()),
        }
    }
}

impl Condemnable for Mark {
    fn is_condemned(&self) -> bool {
        self.state == MarkState::Cond
    }

    fn condemned(&self) -> Self {
        Self {
            state: MarkState::Cond,
        }
    }

    fn rescued(&self) -> Self {
        Self::LIVE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wanted_entry_becomes_live() {
        let cond = Mark::LIVE.condemned();
        for (found, next) in [
            (None, Next::Write(Mark::LIVE, ())),
            (Some(Mark::LIVE), Next::Keep(())),
            (Some(cond.clone()), Next::Write(Mark::LIVE, ())),
        ] {
            assert_eq!(Mark::wanted(found), next);
        }
        assert!(cond.is_condemned() && !Mark::LIVE.is_condemned());
        assert_eq!(cond.rescued(), Mark::LIVE);
    }
}
