//! Where a store is and how it is entered.

/// A bucket on a store, with what a client needs to use it. Addresses are path-style.
#[derive(Clone, Debug)]
pub struct Place {
    /// As in `http://127.0.0.1:8333`.
    pub endpoint: String,
    pub bucket: String,
    pub region: String,
    pub access_key: String,
    pub secret_key: String,
}

impl Place {
    /// The bucket that every store has.
    pub(super) fn first(endpoint: String) -> Self {
        Self {
            endpoint,
            bucket: Self::BUCKET.to_owned(),
            region: Self::REGION.to_owned(),
            access_key: Self::ACCESS_KEY.to_owned(),
            secret_key: Self::SECRET_KEY.to_owned(),
        }
    }

    /// The bucket that every store of this module has from its start.
    pub const BUCKET: &str = "wharfinger";
    pub(super) const REGION: &str = "us-east-1";
    pub(super) const ACCESS_KEY: &str = "AKIATESTKIT";
    pub(super) const SECRET_KEY: &str = "not-a-secret";
}
