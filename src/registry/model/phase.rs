//! The phases of all actors, and how an actor ends.

use super::seen::Seen;

/// The state of an actor between two requests, with all values that it carries from one phase to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// Every actor begins here.
    Start,

    // A blob is published.
    Announce {
        used: bool,
    },
    Settle {
        link: Seen,
        announced: bool,
        used: bool,
    },
    Join {
        link: Seen,
        generation: u8,
        used: bool,
    },
    Keep {
        used: bool,
    },
    Withdraw {
        link: Seen,
    },
    DropOwn,
    Linked,

    // A manifest is pushed.
    Commit,
    EarlyMark {
        child: u8,
    },
    Mark {
        manifest: Seen,
        child: u8,
        stands: bool,
    },
    Check {
        manifest: Seen,
        needed: u8,
        stands: bool,
    },
    Seal {
        manifest: Seen,
    },
    LateMark {
        child: u8,
    },
    Abort {
        manifest: Seen,
    },
    Confirm,
    Refuse,
    Unmarked {
        child: u8,
    },
    MarkBack,
    SwapTag,
    MarkBackAgain {
        previous: Option<u8>,
    },
    ClearOldBack {
        previous: Option<u8>,
    },
    Stays,

    // A manifest is checked and removed.
    Decide {
        manifest: Seen,
    },
    Marker {
        manifest: Seen,
    },
    Tags {
        manifest: Seen,
        from: u8,
        why: Why,
    },
    Backs {
        manifest: Seen,
        from: u8,
        to: u8,
        why: Why,
    },
    Parents {
        manifest: Seen,
        child: u8,
        why: Why,
    },
    Remove {
        manifest: Seen,
        why: Why,
    },
    Unmark {
        manifest: u8,
    },
    Helped {
        manifest: Seen,
    },
    Removed {
        manifest: u8,
    },
    Finish {
        manifest: u8,
    },

    // The result of a collector: it condemned a record, checked it, and decided.
    Doomed {
        record: Seen,
        names: u16,
    },

    // An upload session ends.
    Publish,
    Created {
        record: Seen,
    },
    HandOver {
        record: Seen,
    },

    Done(Outcome),
    Crashed,
}

/// Why a manifest's tags are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Why {
    /// The manifest is being deleted and has a marker.
    Deleted,
    /// Its push has failed. No reader has seen it.
    Failed,
    /// The manifest is being pushed again, and its deletion is finished first.
    Pushed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    Acknowledged,
    /// Content that it needs is missing.
    Missing,
    /// Rejected, because something refers to it.
    Referenced,
    /// The client must try again.
    Failed,
    /// There was nothing to do.
    Idle,
    /// The tags of a listing, with a bit for each.
    Listed(u8),
}

impl Phase {
    pub(super) const fn has_ended(self) -> bool {
        matches!(self, Self::Done(_) | Self::Crashed)
    }

    /// The state of a record that it carries along.
    pub(super) const fn seen(&mut self) -> Option<&mut Seen> {
        match self {
            Self::Settle { link: seen, .. }
            | Self::Join { link: seen, .. }
            | Self::Withdraw { link: seen }
            | Self::Mark { manifest: seen, .. }
            | Self::Check { manifest: seen, .. }
            | Self::Seal { manifest: seen }
            | Self::Abort { manifest: seen }
            | Self::Decide { manifest: seen }
            | Self::Marker { manifest: seen }
            | Self::Tags { manifest: seen, .. }
            | Self::Backs { manifest: seen, .. }
            | Self::Parents { manifest: seen, .. }
            | Self::Remove { manifest: seen, .. }
            | Self::Helped { manifest: seen }
            | Self::Doomed { record: seen, .. }
            | Self::Created { record: seen }
            | Self::HandOver { record: seen } => Some(seen),
            _ => None,
        }
    }
}
