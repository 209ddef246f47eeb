//! From an identity to a permit: zot's access control as pure, synchronous decisions.
//!
//! [`Rules`] are the settings as written, and a [`Policy`] is their compiled form. Only [`decide()`] and
//! [`decide_write`] make [`Permit`]s. A [`Reader`] makes them one by one for a request that spans
//! repositories. [`explain()`] says which rule decides. Nothing here does I/O.

mod action;
mod actions;
mod decide;
mod explain;
mod glob;
mod immutable;
mod maintenance;
mod patterns;
mod permit;
mod policy;
mod reader;
mod rules;

pub use action::Action;
pub use decide::{Denied, DeniedBy, Kind, decide, decide_write, may_read_metrics, rights};
pub use explain::{Explained, Explanation, explain};
pub use glob::InvalidGlob;
pub use immutable::{ImmutableTag, ImmutableTags, InvalidTagPattern};
pub use maintenance::Maintenance;
pub use patterns::Repositories;
pub use permit::{Create, Delete, Permit, Read, Unmovable, Write};
pub use policy::{InvalidPolicy, Policy, Rule, WhyInvalid};
pub use reader::{BeyondScope, Reader};
pub use rules::{Grant, Metrics, PatternRules, Rules};
