//! The simulation: the protocol under faults, in many reproducible orders. Writers, mounts, deleters, the
//! real collector and a scrubber are separate processes that may die at any request. Every request to the
//! store waits in one table, and a scheduler alone decides which arrives next, and whether it fails, loses its
//! answer, comes late or comes twice. After each step, and at the end, the invariants must hold. One seed is
//! one order.

mod actors;
mod before;
mod client;
mod collectors;
mod crowd;
mod every_step;
mod exhaustive;
mod footprints;
mod history;
mod invariants;
mod planted;
mod process;
mod raw;
mod runs;
mod scheduler;
mod search;
mod sessions;
mod setting;
mod store;
mod table;
mod world;
