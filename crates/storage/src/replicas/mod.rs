//! The processes that share one store, and the format in which they write it.
//!
//! Two versions of the program may share a store. A version that knows a newer format writes the older one until
//! `upgrade` has made sure that no older version runs. Each process keeps a record of its own
//! ([`Member::keep`]), and reads the store's format whenever it renews that record. So it learns of an upgrade
//! without asking before each change.
//!
//! | record | what it is |
//! |---|---|
//! | `i/format` | the format that is written, and the next one while an upgrade is under way |
//! | `i/replica/<32 hex>` | a process that has the store open: its version, and the newest format that it knows |
//!
//! Both are one line of JSON, whose form never changes.

mod format;
mod guarded;
mod member;
mod replica;
mod upgrade;

pub use format::{FIRST, InUse, NotUsable, newest};
pub use guarded::Guarded;
pub use member::Member;
pub use replica::Replica;
pub use upgrade::{NotUpgraded, Upgraded, upgrade};

use std::time::Duration;

/// The key of the record with the store's format.
pub const FORMAT_KEY: &str = "i/format";
/// The prefix of the processes' records.
pub const REPLICAS: &str = "i/replica/";

/// How often a process renews its record.
const RENEWED_EVERY: Duration = Duration::from_secs(15);
/// The pause after a renewal that failed.
const AGAIN_AFTER: Duration = Duration::from_secs(3);
/// A process whose last renewal began longer ago makes no changes.
const LAPSES_AFTER: Duration = Duration::from_secs(45);
/// A process whose record is older, by the store's clock, has ended or makes no changes. A change may take 40
/// seconds, and a request 30.
const DEAD_AFTER: Duration = Duration::from_secs(150);
/// The age at which the record of a process that was killed is removed.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests;
