//! Redirects of downloads to the bucket.

use std::time::Duration;

/// Which downloads are redirected to a URL of the bucket, and for how long that URL works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirects {
    /// The size of the smallest blob that is redirected.
    pub min_size: u64,
    pub lifetime: Duration,
}
