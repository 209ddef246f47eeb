//! Byte ranges: `Range` on a pull (RFC 9110, 14.1.2) and `Content-Range` on an upload (distribution-spec,
//! Pushing a blob in chunks).

use std::str::FromStr;

/// A part of a blob: `start ..= end`, both inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    pub start: u64,
    pub end: u64,
}

impl ByteRange {
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a byte range is never empty")]
    pub const fn len(self) -> u64 {
        self.end - self.start + 1
    }
}

/// The result of a `Range` header for a blob of a known size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeRequest {
    /// No range, another unit or several ranges: the answer is the whole blob.
    Whole,
    Part(ByteRange),
    /// 416.
    Unsatisfiable,
}

impl RangeRequest {
    /// `header` is the value of `Range`, if any.
    #[must_use]
    pub fn parse(header: Option<&str>, size: u64) -> Self {
        let Some(spec) = header.and_then(|value| value.trim().strip_prefix("bytes=")) else {
            return Self::Whole;
        };
        let Some((first, last)) = spec.trim().split_once('-') else {
            return Self::Whole;
        };
        // Some clients request the range of a whole blob even if it is empty. The answer is then the whole
        // blob.
        if size == 0 && (number(first) == Some(0) && (last.is_empty() || number(last).is_some())) {
            return Self::Whole;
        }
        let part = match (number(first), number(last)) {
            (Some(start), Some(end)) if start <= end => Some((start, end.min(size.saturating_sub(1)))),
            (Some(start), None) if last.is_empty() => Some((start, size.saturating_sub(1))),
            (None, Some(1..)) if first.is_empty() && size == 0 => return Self::Whole,
            (None, Some(suffix)) if first.is_empty() && suffix > 0 => {
                Some((size.saturating_sub(suffix), size.saturating_sub(1)))
            }
            (Some(_), Some(_)) => None,
            (None, Some(0)) if first.is_empty() => None,
            _ => return Self::Whole,
        };
        match part {
            Some((start, end)) if start < size => Self::Part(ByteRange { start, end }),
            _ => Self::Unsatisfiable,
        }
    }
}

/// `<start>-<end>` of an uploaded chunk, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    pub start: u64,
    pub end: u64,
}

impl ContentRange {
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a chunk's range is never empty")]
    pub const fn len(self) -> u64 {
        self.end - self.start + 1
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Content-Range is <first byte>-<last byte>, as in 0-1023")]
pub struct InvalidContentRange;

impl FromStr for ContentRange {
    type Err = InvalidContentRange;

    fn from_str(text: &str) -> Result<Self, InvalidContentRange> {
        let (start, end) = text.split_once('-').ok_or(InvalidContentRange)?;
        match (number(start), number(end)) {
            (Some(start), Some(end)) if start <= end && end < u64::MAX => Ok(Self { start, end }),
            _ => Err(InvalidContentRange),
        }
    }
}

/// Parses digits only: `u64::from_str` would accept a leading `+`.
fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_blob_of_100_bytes() {
        let part = |start, end| RangeRequest::Part(ByteRange { start, end });
        for (header, expected) in [
            ("bytes=0-9", part(0, 9)),
            ("bytes=90-", part(90, 99)),
            ("bytes=-10", part(90, 99)),
            ("bytes=-1000", part(0, 99)),
            ("bytes=50-1000", part(50, 99)),
            ("bytes=100-", RangeRequest::Unsatisfiable),
            ("bytes=100-200", RangeRequest::Unsatisfiable),
            ("bytes=50-40", RangeRequest::Unsatisfiable),
            ("bytes=-0", RangeRequest::Unsatisfiable),
            ("bytes=0-9,20-29", RangeRequest::Whole),
            ("bytes=+1-2", RangeRequest::Whole),
            ("items=0-9", RangeRequest::Whole),
            ("bytes=x-y", RangeRequest::Whole),
            ("bytes=-", RangeRequest::Whole),
        ] {
            assert_eq!(RangeRequest::parse(Some(header), 100), expected, "{header}");
        }
        assert_eq!(RangeRequest::parse(None, 100), RangeRequest::Whole);
        for (header, expected) in [
            ("bytes=0-", RangeRequest::Whole),
            ("bytes=0-1023", RangeRequest::Whole),
            ("bytes=-5", RangeRequest::Whole),
            ("bytes=-0", RangeRequest::Unsatisfiable),
            ("bytes=1-", RangeRequest::Unsatisfiable),
        ] {
            assert_eq!(
                RangeRequest::parse(Some(header), 0),
                expected,
                "{header} of nothing"
            );
        }
    }

    #[test]
    fn content_range_has_no_unit() {
        assert_eq!("0-0".parse(), Ok(ContentRange { start: 0, end: 0 }));
        for bad in [
            "bytes 0-1",
            "1-0",
            "",
            "-",
            "0-",
            "+1-2",
            "0-1/2",
            &format!("0-{}", u64::MAX),
        ] {
            assert_eq!(bad.parse::<ContentRange>(), Err(InvalidContentRange), "{bad}");
        }
    }
}
