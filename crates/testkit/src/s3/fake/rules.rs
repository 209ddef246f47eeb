//! How the store differs from what S3 promises, for tests that must notice it.

use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Rules {
    pub conditions: Conditions,
    /// If not, a DELETE disregards its `If-Match`.
    pub conditional_delete: bool,
    pub listing: Listing,
    /// In bytes. All parts but the last must have this size.
    pub minimum_part: usize,
    /// The most entries of one page of a list.
    pub page: usize,
    /// Every answer takes this long, so that requests which do not wait for each other overlap.
    pub latency: Duration,
    /// Whether the bucket keeps versions of its objects.
    pub versioning: bool,
    /// The bucket's lifecycle configuration in XML.
    pub lifecycle: Option<String>,
    /// How long the keys that STS gives from now on are valid. `None` for as long as the caller asks.
    pub session: Option<Duration>,
}

/// How the conditions of a write are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conditions {
    Kept,
    /// Every write overwrites.
    Ignored,
    /// The check and the write are two steps. Other writes may come between them.
    NotAtomic,
}

/// Which objects a list has, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// All objects, in the order of their keys' bytes.
    Exact,
    /// The order is reversed within a page.
    Unordered,
    /// `start-after` is ignored.
    FromTheStart,
    /// The last change of the bucket is not in it.
    Behind,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            conditions: Conditions::Kept,
            conditional_delete: true,
            listing: Listing::Exact,
            minimum_part: 5 << 20,
            page: 1000,
            latency: Duration::ZERO,
            versioning: false,
            lifecycle: None,
            session: None,
        }
    }
}
