//! Index entries, which are only hints. They are written before the record that they point at, and cleared in
//! three steps: condemn, check, decide.

use super::super::io::{Io, Stop};
use super::super::steps::{Condemnable, want_mark};
use super::super::values::{Key, Mark};

/// Makes the entry live, and rescues it from a clearing. `false` if another actor changed it first; try
/// again.
pub(super) fn mark(io: &mut Io<'_>, key: Key) -> Result<bool, Stop> {
    Ok(io.change(key, want_mark)?.is_some())
}

/// Deletes the entry unless it is needed. `false` if it was rescued meanwhile; check again.
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
