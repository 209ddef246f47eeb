//! The rotation of signing keys. A new key is published before it signs, so that clients with a cached key
//! set know it. An old key stays as long as tokens signed by it may be valid.

use crate::clock::Timestamp;
use std::time::Duration;

/// How long a key signs.
pub(super) const ROTATE_EVERY: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a key is published before it signs.
pub(super) const PUBLISHED_BEFORE: Duration = Duration::from_secs(3600);
/// How long a key stays after its successor has begun to sign, at least.
const KEPT_AFTER: Duration = Duration::from_secs(24 * 3600);

/// The next step of the rotation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// How many of the oldest keys to drop.
    pub(super) drop: usize,
    /// When a new key starts to sign, if one is needed.
    pub(super) add: Option<Timestamp>,
}

pub(super) fn turn(signs_from: &[Timestamp], session_lifetime: Duration, now: Timestamp) -> Turn {
    let kept = KEPT_AFTER.max(session_lifetime);
    let successors = signs_from.iter().skip(1);
    let drop = successors.take_while(|from| from.plus(kept) <= now).count();
    let add = match signs_from.last() {
        None => Some(now),
        Some(newest) if newest.plus(ROTATE_EVERY) <= now => Some(now.plus(PUBLISHED_BEFORE)),
        Some(_) => None,
    };
    Turn { drop, add }
}

/// Returns the index of the key that signs now: the newest that has begun to sign, or the oldest if the clock
/// was set back before all of them.
pub(super) fn signer(
    signs_from: impl DoubleEndedIterator<Item = Timestamp> + ExactSizeIterator,
    now: Timestamp,
) -> usize {
    signs_from
        .enumerate()
        .rev()
        .find(|(_, from)| *from <= now)
        .map_or(0, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_key_is_published_before_it_signs_and_kept_after_it_signed() {
        let start = Timestamp::from_secs(1_800_000_000);
        assert_eq!(
            turn(&[], HOUR, start),
            Turn {
                drop: 0,
                add: Some(start)
            },
            "the first one signs at once"
        );
        let almost = start.plus(ROTATE_EVERY).minus(Duration::from_millis(1));
        assert_eq!(turn(&[start], HOUR, almost), Turn { drop: 0, add: None });
        let due = start.plus(ROTATE_EVERY);
        let second = due.plus(PUBLISHED_BEFORE);
        assert_eq!(
            turn(&[start], HOUR, due),
            Turn {
                drop: 0,
                add: Some(second)
            }
        );
        let both = [start, second];
        assert_eq!(turn(&both, HOUR, due), Turn { drop: 0, add: None });
        assert_eq!(signer(both.into_iter(), due), 0);
        assert_eq!(signer(both.into_iter(), second), 1);
        assert_eq!(
            turn(&both, HOUR, second.plus(23 * HOUR)),
            Turn { drop: 0, add: None }
        );
        assert_eq!(
            turn(&both, HOUR, second.plus(24 * HOUR)),
            Turn { drop: 1, add: None }
        );
        assert_eq!(
            turn(&both, 48 * HOUR, second.plus(47 * HOUR)).drop,
            0,
            "a session may be longer"
        );
        assert_eq!(turn(&both, 48 * HOUR, second.plus(48 * HOUR)).drop, 1);
        assert_eq!(
            signer(both.into_iter(), start.minus(HOUR)),
            0,
            "a clock that went back"
        );
    }
}
