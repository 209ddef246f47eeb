//! Keys and records of the model. They are like the registry's, but identified by small numbers, so that
//! millions of states fit in memory.

use std::fmt;

/// Repositories, manifests and tags are numbers. A repository whose manifest matters has the same number as
/// that manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Key {
    Blob,
    /// By repository.
    Link(u8),
    Manifest(u8),
    /// Child, index.
    Parent(u8, u8),
    /// The marker of a manifest whose deletion is under way.
    Marker(u8),
    Tag(u8),
    /// Manifest, tag.
    Back(u8, u8),
    /// An archived history entry: tag, sequence number.
    Past(u8, u8),
    Session,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Value {
    Blob(Blob),
    Link(Link),
    Manifest(Manifest),
    Mark(Mark),
    Tag(Tag),
    Session(Session),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum BlobState {
    Live,
    Cond,
    Dying,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Blob {
    pub state: BlobState,
    pub generation: u8,
    pub suspect: bool,
    /// A bit for each generation that was replaced.
    pub trash: u16,
}

impl Blob {
    pub(super) const fn live(generation: u8) -> Self {
        Self {
            state: BlobState::Live,
            generation,
            suspect: false,
            trash: 0,
        }
    }

    pub(super) const fn dying(self) -> Self {
        Self {
            state: BlobState::Dying,
            ..self
        }
    }

    /// A bit for each generation that it has or had.
    pub(super) const fn names(self) -> u16 {
        self.trash | 1 << self.generation
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum LinkState {
    Pend,
    Live,
    Cond,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Link {
    pub state: LinkState,
    pub generation: Option<u8>,
}

impl Link {
    pub(super) const fn live(generation: u8) -> Self {
        Self {
            state: LinkState::Live,
            generation: Some(generation),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Manifest {
    Pend,
    Com,
    Cond,
    Dying,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Mark {
    Live,
    Cond,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tag {
    pub live: bool,
    pub manifest: u8,
    pub sequence: u8,
    /// The actor that wrote it.
    pub event: u8,
    /// The event before.
    pub previous: Option<u8>,
}

impl Tag {
    pub(super) const fn first(manifest: u8, event: u8) -> Self {
        Self {
            live: true,
            manifest,
            sequence: 1,
            event,
            previous: None,
        }
    }

    pub(super) fn target(self) -> Option<u8> {
        self.live.then_some(self.manifest)
    }
}

/// A part of an upload: the name of its bytes, and the chunk that they should contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Part {
    pub name: u8,
    pub chunk: u8,
    /// Its place in the upload, according to its client.
    pub at: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum SessionState {
    Open,
    /// Its parts no longer change.
    Closed,
    Aborting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Session {
    pub state: SessionState,
    /// The nonce of the claim that holds it.
    pub claim: Option<u8>,
    /// The number of claims so far, from which the next nonce is made.
    pub claims: u8,
    pub parts: [Option<Part>; 3],
    /// The session is closed: its record names the digest.
    pub has_digest: bool,
}

impl Session {
    pub(super) const EMPTY: Self = Self {
        state: SessionState::Open,
        claim: None,
        claims: 0,
        parts: [None; 3],
        has_digest: false,
    };

    pub(super) fn length(self) -> u8 {
        self.parts.iter().flatten().fold(0, |count, _| count + 1)
    }

    pub(super) fn with(mut self, part: Part) -> Self {
        let at = usize::from(self.length());
        self.parts[at] = Some(part);
        self
    }

    pub(super) fn names(self) -> Vec<u8> {
        self.parts.iter().flatten().map(|part| part.name).collect()
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob(blob) => {
                let suspect = if blob.suspect { " suspect" } else { "" };
                write!(
                    f,
                    "{:?} g{}{suspect} trash {:b}",
                    blob.state, blob.generation, blob.trash
                )
            }
            Self::Link(Link {
                state,
                generation: Some(generation),
            }) => write!(f, "{state:?} g{generation}"),
            Self::Link(Link {
                state,
                generation: None,
            }) => write!(f, "{state:?}"),
            Self::Manifest(state) => write!(f, "{state:?}"),
            Self::Mark(state) => write!(f, "{state:?}"),
            Self::Tag(Tag {
                live,
                manifest,
                sequence,
                event,
                previous,
            }) => {
                let deleted = if *live { "" } else { "deleted " };
                write!(
                    f,
                    "{deleted}m{manifest} seq {sequence} event {event} after {previous:?}"
                )
            }
            Self::Session(session) => write!(f, "{session:?}"),
        }
    }
}

macro_rules! values {
    ($($name:ident),*) => {
        $(impl From<$name> for Value {
            fn from(value: $name) -> Self {
                Self::$name(value)
            }
        }

        impl TryFrom<Value> for $name {
            type Error = ();

            fn try_from(value: Value) -> Result<Self, ()> {
                match value {
                    Value::$name(value) => Ok(value),
                    _ => Err(()),
                }
            }
        })*
    };
}

values!(Blob, Link, Manifest, Mark, Tag, Session);
