//! The actors that work on the store. An actor is a state machine whose states are phases. A phase is plain
//! code over [`Io`] and makes one request at a time.

pub(super) mod collect;
pub(super) mod delete;
pub(super) mod hints;
pub(super) mod push;
mod reading;
pub(super) mod removal;
pub(super) mod scrub;
pub(super) mod sessions;
pub(super) mod tags;
pub(super) mod upload;

use super::io::{Io, Stop};
use super::phase::{Outcome, Phase, Why};
use super::world::World;
use std::fmt::Debug;

pub(super) trait Actor: Debug {
    /// Continues from `phase` to another phase.
    fn run(&self, phase: Phase, io: &mut Io<'_>) -> Result<Phase, Stop>;

    /// Whether it may make its next request now.
    fn may_go(&self, _phase: Phase, _world: &World) -> bool {
        true
    }

    fn is_a_restart(&self) -> bool {
        false
    }

    /// The repository in which it finds the blob.
    fn relies_on(&self) -> Option<u8> {
        None
    }

    /// Whether it uploads good bytes.
    fn brings_bytes(&self) -> bool {
        false
    }

    /// The chunk that it appends.
    fn appends(&self) -> Option<u8> {
        None
    }

    /// The request of its client.
    fn effect(&self) -> Option<Effect> {
        None
    }
}

/// What an actor does for its client, as one step of a sequential registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Push {
        manifest: u8,
        tag: Option<u8>,
    },
    DeleteManifest(u8),
    DeleteTag(u8),
    HeadManifest(u8),
    ListTags,
    /// No client asked for it, so it may happen at any time or not at all.
    CollectManifest(u8),
    ExpireTag(u8),
}

impl Effect {
    pub(super) const fn is_optional(self) -> bool {
        matches!(self, Self::CollectManifest(_) | Self::ExpireTag(_))
    }
}

pub(super) const ACKNOWLEDGED: Result<Phase, Stop> = Ok(Phase::Done(Outcome::Acknowledged));
pub(super) const IDLE: Result<Phase, Stop> = Ok(Phase::Done(Outcome::Idle));
