//! The outcome of one request of a probe.

use super::super::retry::{Verdict, verdict};
use object_store::Error;

pub(super) const fn is_denied(failure: &Error) -> bool {
    matches!(
        failure,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. }
    )
}

/// What a conditional write did.
#[derive(Debug)]
pub(super) enum Attempt<T> {
    Done(T),
    /// The condition did not hold.
    Refused,
    /// The store rejected the request itself.
    Rejected(String),
    /// The keys may not make the request.
    Denied(Error),
    /// It may have been done or not. This says nothing about the store's abilities.
    Unknown(Error),
}

impl<T> From<object_store::Result<T>> for Attempt<T> {
    fn from(result: object_store::Result<T>) -> Self {
        let failure: Error = match result {
            Ok(answer) => return Self::Done(answer),
            Err(failure) => failure,
        };
        match verdict(&failure) {
            Verdict::Refused => Self::Refused,
            Verdict::Final if is_denied(&failure) => Self::Denied(failure),
            Verdict::Final => Self::Rejected(failure.to_string()),
            Verdict::Passing { .. } | Verdict::Unusable => Self::Unknown(failure),
        }
    }
}
