//! The two traits that every store implements, with their written contract. Everything the registry keeps is
//! a record or a blob. Nothing else is assumed of a store, so the same protocol runs on a folder, in memory
//! and on a bucket.

mod blocking;
pub mod bucket;
mod contract;
pub mod local;
pub mod memory;
mod progress;
pub mod replicas;
#[cfg(test)]
mod tests;

pub use contract::{
    BlobFile, BlobStore, Change, Failure, Look, Range, Record, RecordStore, Resume, Show, Unlisted, Value,
    Version, Written,
};
pub use progress::{Copied, Progress};

use futures_util::future::BoxFuture;

/// The key of the record that holds the store's ID. The token service creates it. No other key begins with
/// it.
pub const STORE_ID: &str = "i/store";

/// The key of the record that a store has while another store is being copied into it. It holds the ID of that
/// store. Nothing but the copy may use the store then.
pub const UNFINISHED: &str = "i/copy";

/// The future result of a store's operation.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Failure>>;
