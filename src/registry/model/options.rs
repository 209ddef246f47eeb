//! The options of a scenario that change what its actors do.

use super::faults::Fault;

pub(super) struct Options {
    pub children: &'static [(u8, &'static [u8])],
    pub fault: Option<Fault>,
    pub tags: bool,
    pub history: bool,
    pub damages: bool,
    /// The number of tags that one step of a deletion handles.
    pub batch: usize,
}

impl Options {
    pub(super) const fn new() -> Self {
        Self {
            children: &[],
            fault: None,
            tags: false,
            history: false,
            damages: false,
            batch: 2,
        }
    }

    pub(super) const fn children_of(&self, manifest: u8) -> &'static [u8] {
        let mut at = 0;
        while at < self.children.len() {
            if self.children[at].0 == manifest {
                return self.children[at].1;
            }
            at += 1;
        }
        &[]
    }

    pub(super) fn indexes(&self) -> impl Iterator<Item = (u8, &'static [u8])> {
        self.children.iter().copied()
    }
}
