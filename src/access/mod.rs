//! From an identity to a permit: zot's access control as pure, synchronous decisions.

mod permit;

pub use permit::{Action, Create, Delete, Permit, Read, Write};
