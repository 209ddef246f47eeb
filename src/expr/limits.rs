//! The limits on the size of an expression.

/// The longest expression, in bytes. It also bounds long chains of operators, over which the parser recurses.
pub const SOURCE_BYTES: usize = 2048;
/// The deepest tree. Evaluating a tree of this depth takes a small part of a 2 MiB stack.
pub(super) const DEPTH: usize = 100;
/// The most loops within each other.
pub(super) const LOOPS: usize = 2;
