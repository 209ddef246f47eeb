//! Skeleton.
use crate::clock::Timestamp;
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub struct X509Authorities {
    authorities: Arc<[()]>,
}

impl X509Authorities {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.authorities.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.authorities.len()
    }

    #[must_use]
    pub fn earliest_expiry(&self) -> Option<Timestamp> {
        None
    }
}
