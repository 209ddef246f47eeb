//! The bytes of an object that holds a record: the value and its padding, or a tombstone.
//!
//! Lists show the size of an object and not its bytes. So the size tells what it holds: a tombstone has 16
//! bytes, a hidden value a larger multiple of 16, and a visible value any other size above 16. The padding is
//! random, so no two states of a record have the same bytes, and its last byte is its length.

use crate::contract::{Show, Value};
use bytes::{BufMut, Bytes, BytesMut};

const TOMBSTONE: usize = 16;
const BLOCK: usize = 16;
/// Eight random bytes and the length.
const LEAST: usize = 9;
const MOST: usize = LEAST + 2 * BLOCK;

/// What an object holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body {
    Tombstone,
    Value(Bytes),
    /// Neither. Another program wrote the object, or changed it.
    Strange,
}

pub(super) fn of_value(value: &Value) -> Bytes {
    let length = value.bytes.len();
    let fits = |padding: &usize| {
        let size = length + padding;
        size > TOMBSTONE && size.is_multiple_of(BLOCK) == value.hidden
    };
    let padding = (LEAST..MOST).find(fits).unwrap_or(LEAST);
    let mut body = BytesMut::with_capacity(length + padding);
    body.put(value.bytes.clone());
    body.extend((1..padding).map(|_| fastrand::u8(..)));
    body.put_u8(u8::try_from(padding).unwrap_or_default());
    body.freeze()
}

/// Two tombstones must differ, so a late request that expects one does not match another.
pub(super) fn tombstone() -> Bytes {
    Bytes::copy_from_slice(&fastrand::u128(..).to_be_bytes())
}

pub(super) fn read(object: &Bytes) -> Body {
    if object.len() == TOMBSTONE {
        return Body::Tombstone;
    }
    let padding = object.last().copied().map(usize::from);
    let value = padding
        .filter(|padding| (LEAST..MOST).contains(padding) && object.len() > TOMBSTONE)
        .and_then(|padding| object.len().checked_sub(padding));
    match value {
        Some(length) => Body::Value(object.slice(..length)),
        None => Body::Strange,
    }
}

pub(super) fn is_tombstone(size: u64) -> bool {
    size == TOMBSTONE as u64
}

/// Whether a list shows an object of this size.
pub(super) fn is_shown(size: u64, show: Show) -> bool {
    let hidden = size.is_multiple_of(BLOCK as u64);
    !is_tombstone(size)
        && match show {
            Show::All => true,
            Show::Visible => !hidden,
            Show::Hidden => hidden,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_any_length_comes_back_and_its_size_tells_whether_it_is_hidden() {
        for length in 0..100 {
            for hidden in [false, true] {
                let value = Value {
                    bytes: Bytes::from(vec![7; length]),
                    hidden,
                    frees: false,
                };
                let body = of_value(&value);
                let size = body.len() as u64;
                assert_eq!(read(&body), Body::Value(value.bytes.clone()), "{length}");
                assert_eq!(is_shown(size, Show::Visible), !hidden, "{length}");
                assert_eq!(is_shown(size, Show::Hidden), hidden, "{length}");
                assert!(is_shown(size, Show::All) && !is_tombstone(size), "{length}");
                assert_ne!(of_value(&value), body, "two states differ");
            }
        }
    }

    #[test]
    fn a_tombstone_is_never_shown_and_is_unlike_any_other() {
        let one = tombstone();
        assert_eq!(read(&one), Body::Tombstone);
        assert_ne!(one, tombstone());
        for show in [Show::All, Show::Hidden, Show::Visible] {
            assert!(!is_shown(16, show));
        }
    }

    #[test]
    fn an_object_of_another_program_is_strange() {
        for strange in [
            &b""[..],
            b"short",
            b"a text of some length that ends with\x00",
            &[255; 17],
        ] {
            assert_eq!(
                read(&Bytes::copy_from_slice(strange)),
                Body::Strange,
                "{strange:?}"
            );
        }
    }
}
