//! Reads DER one value at a time, without copies. It supports one-byte tags and shortest-form lengths, which
//! is all that certificates use.

use super::rejected::Malformed;

/// One value. `whole` is the tag, the length and `content`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) whole: &'a [u8],
}

/// Takes the first value off `input`.
pub(super) fn take<'a>(input: &mut &'a [u8]) -> Option<Value<'a>> {
    let (tag, rest) = input.split_first()?;
    let (first, rest) = rest.split_first()?;
    if tag & MULTI_BYTE_TAG == MULTI_BYTE_TAG {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            let shortest = length > 0x7f && bytes.first() != Some(&0);
            (Some(length).filter(|_| shortest)?, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    let whole = input.get(..input.len() - rest.len())?;
    *input = rest;
    Some(Value {
        tag: *tag,
        content,
        whole,
    })
}

/// Takes the first value off `input` if it has this tag.
pub(super) fn take_tagged<'a>(input: &mut &'a [u8], tag: u8) -> Option<Value<'a>> {
    if input.first() == Some(&tag) {
        take(input)
    } else {
        None
    }
}

/// Returns the values in `content`. It ends after the first value that cannot be read.
pub(super) fn values(content: &[u8]) -> impl Iterator<Item = Result<Value<'_>, Malformed>> {
    let mut rest = content;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let value = take(&mut rest).ok_or(Malformed::Der);
        if value.is_err() {
            rest = &[];
        }
        Some(value)
    })
}

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
/// `[0]`, primitive.
pub(super) const IMPLICIT_0: u8 = 0x80;
/// `[0]`, constructed.
pub(super) const EXPLICIT_0: u8 = 0xa0;
/// `[3]`, constructed.
pub(super) const EXPLICIT_3: u8 = 0xa3;

const MULTI_BYTE_TAG: u8 = 0x1f;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_must_be_in_its_shortest_form() {
        let taken = |bytes: &[u8]| {
            let mut rest = bytes;
            take(&mut rest).map(|value| (value.content.len(), rest.len()))
        };
        assert_eq!(taken(&[0x04, 1, 7, 9]), Some((1, 1)));
        assert_eq!(
            taken(&[&[0x04, 0x81, 0x80][..], &[7; 0x80]].concat()),
            Some((0x80, 0))
        );
        assert_eq!(
            taken(&[&[0x04, 0x82, 1, 0][..], &[7; 0x101]].concat()),
            Some((0x100, 1))
        );
        let bad: [&[u8]; 8] = [
            &[],
            &[0x04],
            &[0x04, 2, 7],
            &[0x04, 0x80, 0, 0],
            &[0x04, 0x81, 1, 7],
            &[0x04, 0x82, 0, 0x80],
            &[0x04, 0x84, 0, 0, 0, 1, 7],
            &[0x1f, 1, 7],
        ];
        for bytes in bad {
            assert_eq!(taken(bytes), None, "{bytes:?}");
        }
    }
}
