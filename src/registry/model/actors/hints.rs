//! Index entries that are hints: written before what they lead to, and cleared by condemning, looking,
//! deciding.

use super::super::io::{Io, Stop};
use super::super::steps::{Condemnable, want_mark};
use super::super::values::{Key, Mark};

/// Makes the entry stand, rescuing it from a clearing. `false`: somebody was faster, try again.
pub(super) fn mark(io: &mut Io<'_>, key: Key) -> Result<bool, Stop> {
    Ok(io.change(key, want_mark)?.is_some())
}

/// Takes the entry away unless it is needed. `false`: it was rescued meanwhile, look again.
pub(super) fn clear(
    io: &mut Io<'_>,
    key: Key,
    needed: impl FnOnce(&mut Io<'_>) -> Result<bool, Stop>,
) -> Result<bool, Stop> {
    let (seen, found) = io.get::<Mark>(key)?;
    let Some(mark) = found else { return Ok(true) };
    let Some(condemned) = io.condemn(seen, mark)? else {
        return Ok(false);
    };
    if needed(io)? {
        io.swap(condemned, mark.rescued())?;
        return Ok(true);
    }
    io.delete(condemned)
}
