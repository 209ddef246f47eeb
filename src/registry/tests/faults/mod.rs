//! The protocol under faults, in many reproducible orders: a store that delays, loses answers, fails, and
//! applies late; writers, mounts, deleters, collectors and a scrubber on it, each a process of its own that
//! may die at any operation; and what must hold when all is over.

mod actors;
mod client;
mod collectors;
mod history;
mod invariants;
mod planted;
mod runs;
mod store;
