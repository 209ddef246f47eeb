//! The `Range` header of uploads.

/// `Range` behind a request that was done, of an upload that now has so many bytes. `0-0` also if it has
/// none: docker refuses an end before the begin.
pub(super) fn uploaded(offset: u64) -> String {
    format!("0-{}", offset.saturating_sub(1))
}

/// `Range` for a client that asks where to go on. `0-0` would say that one byte is there, and regctl would go
/// on with the second one again and again. The specification has no word for none: `0--1` is read as such by
/// regctl, docker and the conformance suite, and is what zot said until 2026.
pub(super) fn stands_at(offset: u64) -> String {
    if offset == 0 {
        "0--1".to_owned()
    } else {
        uploaded(offset)
    }
}
