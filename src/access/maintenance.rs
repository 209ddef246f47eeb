//! Proof that somebody works on the store itself, past every policy.

/// Lets its holder see the whole store. No identity is ever given one: it is for programs that whoever owns
/// the store's folder or bucket runs, and for the registry's own housekeeping.
#[derive(Debug)]
pub struct Maintenance(());

impl Maintenance {
    /// To be called by commands, never while a request is answered.
    #[must_use]
    pub const fn by_the_stores_owner() -> Self {
        Self(())
    }
}
