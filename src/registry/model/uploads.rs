//! Scenarios of upload sessions that several processes serve.

use super::actors::collect::CollectBlob;
use super::actors::sessions::{Append, Close, Expire};
use super::invariants;
use super::scenario::Scenario;
use super::values::{Key, Session};

fn session(name: &'static str) -> Scenario {
    invariants::scenario(name)
        .crashing()
        .record(Key::Session, Session::EMPTY)
        .always(invariants::uploads_are_what_was_acknowledged)
}

fn kept(name: &'static str) -> Scenario {
    session(name).always(invariants::acknowledged_chunks_are_kept)
}

pub(super) fn two_appends_and_a_close() -> Scenario {
    kept("two-appends-and-a-close")
        .actor(Append { chunk: 1 })
        .actor(Append { chunk: 2 })
        .actor(Close {
            chunks: 1,
            in_two_steps: false,
        })
}

pub(super) fn two_appends_and_two_closes() -> Scenario {
    two_appends_and_a_close()
        .named("two-appends-and-two-closes")
        .actor(Close {
            chunks: 1,
            in_two_steps: false,
        })
}

pub(super) fn three_appends_and_two_closes() -> Scenario {
    kept("three-appends-and-two-closes")
        .actor(Append { chunk: 1 })
        .actor(Append { chunk: 2 })
        .actor(Append { chunk: 3 })
        .actor(Close {
            chunks: 1,
            in_two_steps: false,
        })
        .actor(Close {
            chunks: 1,
            in_two_steps: false,
        })
}

/// With a collector, on a shared store whose tombstones have nonces.
pub(super) fn expiry_and_a_close() -> Scenario {
    session("expiry-and-a-close")
        .nonces()
        .actor(Append { chunk: 1 })
        .actor(Close {
            chunks: 0,
            in_two_steps: false,
        })
        .actor(Expire)
        .actor(CollectBlob)
        .always(invariants::blobs_have_bytes)
}

pub(super) fn two_expiries_and_a_close() -> Scenario {
    expiry_and_a_close()
        .named("two-expiries-and-a-close")
        .actor(Expire)
        .actor(CollectBlob)
}

/// On a store where a creation cannot tell whether the record existed before.
pub(super) fn expiry_and_a_close_in_two_steps() -> Scenario {
    session("expiry-and-a-close-in-two-steps")
        .actor(Append { chunk: 1 })
        .actor(Close {
            chunks: 0,
            in_two_steps: true,
        })
        .actor(Expire)
        .actor(CollectBlob)
        .actor(CollectBlob)
        .always(invariants::living_blobs_have_bytes)
}
