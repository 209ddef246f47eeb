//! Two traits with a written contract, and what implements them. Everything the registry keeps is a record or a blob; nothing
//! else is assumed of a store, so the same protocol runs on a folder, in memory and on a bucket.

mod contract;
pub mod local;
pub mod memory;
#[cfg(test)]
mod tests;

pub use contract::{BlobFile, BlobStore, Failure, Look, Record, RecordStore, Version};

use futures_util::future::BoxFuture;

/// What a store's operation answers with, later.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Failure>>;
