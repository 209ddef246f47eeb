//! Proof that the store's operator works on the store itself, outside every policy.

/// Gives access to the whole store. Callers never get one: it is for commands that the store's operator runs,
/// and for the registry's own housekeeping.
#[derive(Debug)]
pub struct Maintenance(());

impl Maintenance {
    /// Makes the proof. Only commands may call this, never a request.
    #[must_use]
    pub const fn by_the_stores_owner() -> Self {
        Self(())
    }
}
