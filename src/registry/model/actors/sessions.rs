//! Upload sessions on a bucket. A request claims the session's record before it writes. Another request may
//! take over any claim, because the age of a claim depends on time, and safety must not.

use super::super::faults::Fault;
use super::super::io::{Io, Stop};
use super::super::steps::{Condemnable, Next, settle_blob};
use super::super::values::{Blob, Key, Part, Session, SessionState};
use super::super::world::Bytes;
use super::{ACKNOWLEDGED, Actor, IDLE, Outcome, Phase};

/// The name of the complete upload, which is assembled from its parts.
pub(in super::super) const WHOLE: u8 = 15;

/// A request that appends one chunk.
#[derive(Debug)]
pub(in super::super) struct Append {
    pub chunk: u8,
}

impl Actor for Append {
    fn appends(&self) -> Option<u8> {
        Some(self.chunk)
    }

    fn run(&self, _: Phase, io: &mut Io<'_>) -> Result<Phase, Stop> {
        let (seen, session) = io.get::<Session>(Key::Session)?;
        let Some(session) = session.filter(|session| session.state == SessionState::Open) else {
            return Ok(Phase::Done(Outcome::Missing));
        };
        let at = session.length();
        let nonce = match session.claim {
            Some(old) if io.has(Fault::ClaimKeepsNonce) => old,
            _ => session.claims + 1,
        };
        let mine = Session {
            claim: Some(nonce),
            claims: session.claims + 1,
            ..session
        };
        let Some(claimed) = io.swap(seen, mine)? else {
            return Ok(Phase::Start);
        };
        // From here on the claim is not checked until the swap below.
        let name = if io.has(Fault::PartsWithoutNonce) {
            8 + at
        } else {
            nonce
        };
        io.write_bytes(name, Bytes::Content([self.chunk, 0, 0, 0]))?;
        let part = Part {
            name,
            chunk: self.chunk,
            at,
        };
        if io
            .swap(claimed, Session { claim: None, ..mine }.with(part))?
            .is_some()
        {
            return ACKNOWLEDGED;
        }
        if io.has(Fault::LostClaimSwapsAgain)
            && let (seen, Some(session)) = io.get::<Session>(Key::Session)?
            && session.state == SessionState::Open
            && io.swap(seen, session.with(part))?.is_some()
        {
            return ACKNOWLEDGED;
        }
        Ok(Phase::Done(Outcome::Failed))
    }
}

/// A request that closes the upload and publishes it.
#[derive(Debug)]
pub(in super::super) struct Close {
    /// How many chunks its client has sent.
    pub chunks: u8,
    /// A blob's first record is condemned until the session has been read.
    pub in_two_steps: bool,
}

impl Actor for Close {
    fn run(&self, phase: Phase, io: &mut Io<'_>) -> Result<Phase, Stop> {
        match phase {
            Phase::Start => {
                let (seen, session) = io.get::<Session>(Key::Session)?;
                let open = session
                    .filter(|session| session.state == SessionState::Open && session.length() >= self.chunks);
                let Some(session) = open else {
                    return Ok(Phase::Done(Outcome::Missing));
                };
                if io.has(Fault::CompletedBeforeClosed) {
                    io.complete(WHOLE, &session.names())?;
                }
                // The list of parts is fixed by one request before the parts are assembled.
                let closed = Session {
                    state: SessionState::Closed,
                    claim: None,
                    has_digest: true,
                    ..session
                };
                if io.swap(seen, closed)?.is_none() {
                    return Ok(Phase::Start);
                }
                if !io.has(Fault::CompletedBeforeClosed) {
                    io.complete(WHOLE, &closed.names())?;
                }
                Ok(Phase::Publish)
            }
            Phase::Publish => {
                let (seen, blob) = io.get::<Blob>(Key::Blob)?;
                if self.in_two_steps && blob.is_none() {
                    let created = io.create(Key::Blob, Blob::live(WHOLE).condemned())?;
                    return Ok(created.map_or(phase, |record| Phase::Created { record }));
                }
                // The session is read after the blob, because an actor that ends the upload writes the
                // session first and then changes the blob's record.
                let (_, session) = io.get::<Session>(Key::Session)?;
                if !is_closed(session) && !io.has(Fault::PublishedUnchecked) {
                    return Ok(Phase::Done(Outcome::Failed));
                }
                let generation = match settle_blob(blob, Some(WHOLE)) {
                    Next::Write(record, generation) => io.swap(seen, record)?.map(|_| generation),
                    Next::Keep(generation) => Some(generation),
                    Next::Delete(_) | Next::Again(_) => unreachable!("a blob is settled, or not"),
                };
                let Some(generation) = generation else {
                    return Ok(phase);
                };
                if generation == Some((WHOLE, true)) {
                    io.note(|world| world.publish(WHOLE));
                }
                ACKNOWLEDGED
            }
            Phase::Created { record } => {
                let (_, session) = io.get::<Session>(Key::Session)?;
                if !is_closed(session) && !io.has(Fault::PublishedUnchecked) {
                    io.delete(record)?;
                    return Ok(Phase::Done(Outcome::Failed));
                }
                // The first step published the bytes, so they are not published again.
                Ok(match io.swap(record, Blob::live(WHOLE))? {
                    None if io.has(Fault::GenerationReused) => Phase::Publish,
                    None => Phase::Done(Outcome::Failed),
                    Some(_) => {
                        io.note(|world| world.publish(WHOLE));
                        Phase::Done(Outcome::Acknowledged)
                    }
                })
            }
            other => unreachable!("{other:?}"),
        }
    }
}

fn is_closed(session: Option<Session>) -> bool {
    session.is_some_and(|session| session.state == SessionState::Closed)
}

/// Ends an upload that has expired or is cancelled by its client, even while a request works on it.
#[derive(Debug)]
pub(in super::super) struct Expire;

impl Actor for Expire {
    fn run(&self, phase: Phase, io: &mut Io<'_>) -> Result<Phase, Stop> {
        match phase {
            Phase::Start => {
                let (seen, session) = io.get::<Session>(Key::Session)?;
                let Some(session) = session else { return IDLE };
                // The state is written first, because an aborting upload is not published any more.
                let record = match session.state {
                    SessionState::Aborting => Some(seen),
                    _ => io.swap(
                        seen,
                        Session {
                            state: SessionState::Aborting,
                            claim: None,
                            ..session
                        },
                    )?,
                };
                let Some(record) = record else {
                    return Ok(Phase::Start);
                };
                if session.has_digest {
                    return Ok(Phase::HandOver { record });
                }
                for name in session.names() {
                    io.remove_bytes(name)?;
                }
                io.delete(record)?;
                ACKNOWLEDGED
            }
            // The bytes belong to a blob, or a slow request may be about to publish them. They are removed by
            // the blob's record.
            Phase::HandOver { record } => {
                let removes = io.has(Fault::ExpiryRemovesTheBytes);
                let handed = io.change(Key::Blob, |found: Option<Blob>| match found {
                    Some(blob) if blob.names() & 1 << WHOLE != 0 => Next::Keep(false),
                    _ if removes => Next::Keep(true),
                    Some(blob) => Next::Write(
                        Blob {
                            trash: blob.trash | 1 << WHOLE,
                            ..blob
                        },
                        false,
                    ),
                    None => Next::Write(Blob::live(WHOLE).dying(), false),
                })?;
                let Some((_, remove)) = handed else {
                    return Ok(phase);
                };
                if remove {
                    io.remove_bytes(WHOLE)?;
                }
                io.delete(record)?;
                ACKNOWLEDGED
            }
            other => unreachable!("{other:?}"),
        }
    }
}
