//! Two traits with a written contract, and what implements them. Everything the registry keeps is a record or
//! a blob; nothing else is assumed of a store, so the same protocol runs on a folder, in memory and on a
//! bucket.

mod contract;
pub mod local;
pub mod memory;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use contract::{
    BlobFile, BlobStore, Change, Failure, Look, Range, Record, RecordStore, Resume, Show, Unlisted, Value,
    Version, Written,
};

use futures_util::future::BoxFuture;

/// The key of the record that holds the store's own name, which the token service makes. No other key begins
/// with it.
pub const STORE_ID: &str = "i/store";

/// What a store's operation answers with, later.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Failure>>;
