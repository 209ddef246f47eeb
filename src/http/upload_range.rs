//! The `Range` header of uploads.

/// `Range` after a successful request, for an upload that now has `offset` bytes. It is `0-0` for an empty
/// upload too, since docker rejects an end before the start.
pub(super) fn uploaded(offset: u64) -> String {
    format!("0-{}", offset.saturating_sub(1))
}

/// `Range` for a client that asks where to continue. For an empty upload `0-0` would claim one byte, and
/// regctl would send the second byte again and again. The specification does not say how to write an empty
/// range. `0--1` is understood by regctl, docker and the conformance suite, and zot sent it until 2026.
pub(super) fn stands_at(offset: u64) -> String {
    if offset == 0 {
        "0--1".to_owned()
    } else {
        uploaded(offset)
    }
}
