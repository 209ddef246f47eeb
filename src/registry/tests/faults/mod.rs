//! The protocol under faults, in many reproducible orders. The store delays requests, loses answers, fails,
//! and applies changes late. Writers, mounts, deleters, collectors and a scrubber are separate processes that
//! may die at any operation. At the end the invariants must hold.

mod actors;
mod client;
mod collectors;
mod history;
mod invariants;
mod planted;
mod runs;
mod store;
