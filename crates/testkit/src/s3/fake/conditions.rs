//! The conditions of requests.

use super::object::Object;
use super::operation::{Call, Operation};
use super::refusal::Refusal;
use http::header::{IF_MATCH, IF_NONE_MATCH};

/// The conditions of a write. `existing` is the object that it would replace.
pub(super) fn check(existing: Option<&Object>, call: &Call) -> Result<(), Refusal> {
    match call.header(IF_NONE_MATCH) {
        Some("*") if existing.is_some() => return Err(Refusal::PRECONDITION),
        Some("*") | None => {}
        Some(_) => return Err(Refusal::NOT_IMPLEMENTED),
    }
    match (call.header(IF_MATCH), existing) {
        (Some(_), None) => Err(Refusal::NO_SUCH_KEY),
        (Some(tag), Some(object)) if tag != "*" && !same(tag, &object.tag) => Err(Refusal::PRECONDITION),
        _ => Ok(()),
    }
}

/// The conditions of a call if it writes.
pub(super) fn check_write(existing: Option<&Object>, call: &Call) -> Result<(), Refusal> {
    if writes(call.operation) {
        check(existing, call)
    } else {
        Ok(())
    }
}

/// Clients may leave out the quotes.
pub(super) fn same(asked: &str, tag: &str) -> bool {
    asked.trim_matches('"') == tag.trim_matches('"')
}

/// Whether a call could change what other calls see.
pub(super) fn writes(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::Put
            | Operation::Copy
            | Operation::Delete
            | Operation::DeleteMany
            | Operation::CompleteUpload
    )
}
