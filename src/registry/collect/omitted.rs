//! Lets a test leave out a step of the protocol, to prove that the tests notice. In the program this type is
//! empty, and the compiler removes every check of it.

/// A step that a test may leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::registry) enum Step {
    /// Condemning a record before checking it.
    Condemning,
    /// Checking a record after condemning it, not before.
    LookAfterwards,
    /// Treating an index that is still being pushed as one that protects its manifests.
    PendingIndexes,
    /// Clearing an entry in three steps: condemn it, check the record that it points at, decide.
    ClearingWithALook,
}

#[cfg(test)]
pub(super) struct Omitted(pub(super) Option<Step>);

#[cfg(not(test))]
pub(super) struct Omitted;

impl Omitted {
    #[cfg(test)]
    pub(super) const NOTHING: Self = Self(None);

    #[cfg(not(test))]
    pub(super) const NOTHING: Self = Self;

    #[cfg(test)]
    pub(super) fn has(&self, step: Step) -> bool {
        self.0 == Some(step)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests have a field")]
    pub(super) const fn has(&self, _: Step) -> bool {
        false
    }
}
