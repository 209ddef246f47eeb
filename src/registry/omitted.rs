//! Lets a test leave out a step of the protocol, to prove that the tests notice. In the program this is
//! empty, and the compiler removes every check.

/// A step that a test may leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A collector condemns a record before it checks whether the record is needed.
    Condemning,
    /// A collector checks only after it has condemned the record.
    LookAfterwards,
    /// An index that is still being pushed protects the manifests that it lists.
    PendingIndexes,
    /// A collector condemns an entry, reads the record that decides, and only then clears the entry.
    ClearingWithALook,
    /// A push announces its manifest before it looks for what the manifest needs.
    Announcing,
    /// A push or mount restores a condemned link or blob that it needs.
    Rescuing,
    /// An upload publishes its bytes at most once.
    PublishingOnce,
    /// A request that lost its claim does not write the upload's record again.
    EndingWithoutAClaim,
    /// The record of an upload is read again before its bytes are published.
    CheckingTheSession,
}

#[cfg(test)]
#[derive(Clone, Copy)]
pub(super) struct Omitted(pub(super) Option<Step>);

#[cfg(not(test))]
#[derive(Clone, Copy)]
pub(super) struct Omitted;

impl Omitted {
    #[cfg(test)]
    pub(super) const NOTHING: Self = Self(None);

    #[cfg(not(test))]
    pub(super) const NOTHING: Self = Self;

    #[cfg(test)]
    pub(super) fn has(self, step: Step) -> bool {
        self.0 == Some(step)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests have a field")]
    pub(super) const fn has(self, _: Step) -> bool {
        false
    }
}
