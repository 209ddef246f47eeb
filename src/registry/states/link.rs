//! A link: a repository may serve a blob.

use super::{Condemnable, Next};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::registry) struct LinkRecord {
    pub state: LinkState,
    /// The name of the bytes. Absent until the link has been live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    pub size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::registry) enum LinkState {
    /// A push is about to publish the blob in this repository.
    Pend,
    Live,
    Cond,
}

/// What a push finds when it announces a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::registry) enum Announced {
    /// The link is pending, because of this announcement (`new`) or an earlier one.
    Pending { new: bool },
    /// The link is already live and names these bytes.
    Live { generation: String, size: u64 },
}

impl LinkRecord {
    pub(in crate::registry) const PENDING: Self = Self {
        state: LinkState::Pend,
        generation: None,
        size: 0,
    };

    pub(in crate::registry) const fn live(generation: String, size: u64) -> Self {
        Self {
            state: LinkState::Live,
            generation: Some(generation),
            size,
        }
    }

    /// The name and size of the bytes that the repository may serve. `None` until the link has been live.
    pub(in crate::registry) fn bytes(&self) -> Option<(String, u64)> {
        Some((self.generation.clone()?, self.size))
    }

    /// Announces the link, so that a collector that looks at the blob after this finds it.
    pub(in crate::registry) fn announce(found: Option<Self>) -> Next<Self, Announced> {
        match found {
            None => Next::Write(Self::PENDING, Announced::Pending { new: true }),
            Some(link) if link.state == LinkState::Cond => Next::Again(link.rescued()),
            Some(Self {
                generation: Some(generation),
                size,
                ..
            }) => Next::Keep(Announced::Live { generation, size }),
            Some(_) => Next::Keep(Announced::Pending { new: false }),
        }
    }

    /// Keeps the blob in the repository because a manifest is about to refer to it. Returns whether the blob
    /// is there.
    pub(in crate::registry) fn hold(found: Option<Self>) -> Next<Self, bool> {
        match found {
            Some(link) if link.state == LinkState::Live => Next::Keep(true),
            Some(link) if link.generation.is_some() => Next::Write(link.rescued(), true),
            _ => Next::Keep(false),
        }
    }

    /// Like [`hold`](Self::hold), for a client that is about to learn that the blob exists. An `old` record
    /// is written again.
    pub(in crate::registry) fn rely(found: Option<Self>, old: bool) -> Next<Self, bool> {
        match found {
            Some(link) if link.state == LinkState::Live && old => Next::Write(link, true),
            other => Self::hold(other),
        }
    }

    /// Only a link that has been live can be deleted by request.
    pub(in crate::registry) const fn can_be_deleted(&self) -> bool {
        self.generation.is_some()
    }
}

impl Condemnable for LinkRecord {
    fn is_condemned(&self) -> bool {
        self.state == LinkState::Cond
    }

    fn condemned(&self) -> Self {
        Self {
            state: LinkState::Cond,
            ..self.clone()
        }
    }

    fn rescued(&self) -> Self {
        let state = if self.generation.is_some() {
            LinkState::Live
        } else {
            LinkState::Pend
        };
        Self {
            state,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> LinkRecord {
        LinkRecord::live("g".to_owned(), 7)
    }

    #[test]
    fn a_condemned_link_is_rescued_to_what_it_was() {
        for link in [LinkRecord::PENDING, live()] {
            assert!(link.condemned().is_condemned() && !link.is_condemned());
            assert_eq!(link.condemned().rescued(), link);
        }
    }

    #[test]
    fn announcing() {
        for (found, next) in [
            (
                None,
                Next::Write(LinkRecord::PENDING, Announced::Pending { new: true }),
            ),
            (
                Some(LinkRecord::PENDING),
                Next::Keep(Announced::Pending { new: false }),
            ),
            (
                Some(LinkRecord::PENDING.condemned()),
                Next::Again(LinkRecord::PENDING),
            ),
            (
                Some(live()),
                Next::Keep(Announced::Live {
                    generation: "g".to_owned(),
                    size: 7,
                }),
            ),
            (Some(live().condemned()), Next::Again(live())),
        ] {
            assert_eq!(LinkRecord::announce(found.clone()), next, "{found:?}");
        }
    }

    #[test]
    fn holding_and_relying() {
        for (found, hold, rely_when_old) in [
            (None, Next::Keep(false), Next::Keep(false)),
            (Some(LinkRecord::PENDING), Next::Keep(false), Next::Keep(false)),
            (
                Some(LinkRecord::PENDING.condemned()),
                Next::Keep(false),
                Next::Keep(false),
            ),
            (Some(live()), Next::Keep(true), Next::Write(live(), true)),
            (
                Some(live().condemned()),
                Next::Write(live(), true),
                Next::Write(live(), true),
            ),
        ] {
            assert_eq!(LinkRecord::hold(found.clone()), hold, "{found:?}");
            assert_eq!(LinkRecord::rely(found.clone(), false), hold, "{found:?}");
            assert_eq!(LinkRecord::rely(found.clone(), true), rely_when_old, "{found:?}");
        }
    }
}
