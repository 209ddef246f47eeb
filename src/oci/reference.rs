//! The reference after `/manifests/`: a tag or a digest.

use super::{Digest, InvalidDigest};
use std::fmt;
use std::str::FromStr;

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

impl Tag {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the tag is one that clients make for the signatures, attestations and referrers of a manifest:
    /// `sha256-<hex>`, or that with a suffix such as `.sig`. Of a longer digest it has the first 64
    /// characters.
    #[must_use]
    pub fn is_named_after_a_digest(&self) -> bool {
        let rest = self
            .0
            .strip_prefix("sha256-")
            .or_else(|| self.0.strip_prefix("sha512-"));
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        rest.and_then(|rest| rest.split_at_checked(64))
            .is_some_and(|(digest, suffix)| {
                digest.bytes().all(hex)
                    && (suffix.is_empty() || (suffix.starts_with('.') && suffix.len() > 1))
            })
    }
}

impl FromStr for Tag {
    type Err = InvalidTag;

    fn from_str(text: &str) -> Result<Self, InvalidTag> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let first = text.bytes().next().is_some_and(word);
        if first && text.len() <= 128 && text.bytes().all(|b| word(b) || b == b'.' || b == b'-') {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidTag)
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tag has at most 128 letters, digits, `_`, `.` and `-`, and does not begin with `.` or `-`")]
pub struct InvalidTag;

/// A tag or a digest. A text with `:` is a digest or an error, never a tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    Tag(Tag),
    Digest(Digest),
}

/// Why a text is not a [`Reference`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    #[error(transparent)]
    Tag(#[from] InvalidTag),
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        if text.contains(':') {
            Ok(Self::Digest(text.parse()?))
        } else {
            Ok(Self::Tag(text.parse()?))
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_grammar() {
        let longest = "a".repeat(128);
        for good in ["latest", "_", "1.0-rc.1", "V1", longest.as_str()] {
            assert!(good.parse::<Tag>().is_ok(), "{good}");
        }
        for bad in ["", ".a", "-a", "a b", "a/b", "ä", "a:b", &"a".repeat(129)] {
            assert_eq!(bad.parse::<Tag>(), Err(InvalidTag), "{bad}");
        }
    }

    #[test]
    fn tags_that_are_named_after_a_digest() {
        let hex = "0123456789abcdef".repeat(4);
        for (tag, expected) in [
            (format!("sha256-{hex}"), true),
            (format!("sha256-{hex}.sig"), true),
            (format!("sha256-{hex}.att"), true),
            (format!("sha512-{hex}"), true),
            (format!("sha256-{hex}."), false),
            (format!("sha256-{hex}-1"), false),
            (format!("sha256-{hex}0"), false),
            (format!("sha256-{}", hex.to_uppercase()), false),
            (format!("sha256-{}", &hex[1..]), false),
            (format!("v-sha256-{hex}"), false),
            ("sha256-".to_owned(), false),
            ("latest".to_owned(), false),
        ] {
            assert_eq!(
                tag.parse::<Tag>().unwrap().is_named_after_a_digest(),
                expected,
                "{tag}"
            );
        }
    }

    #[test]
    fn a_reference_with_a_colon_is_a_digest() {
        assert_eq!(
            "foo:bar".parse::<Reference>(),
            Err(InvalidReference::Digest(InvalidDigest::Algorithm))
        );
        assert!(matches!(
            format!("sha256:{}", "0".repeat(64)).parse(),
            Ok(Reference::Digest(_))
        ));
        assert!(matches!("v1".parse(), Ok(Reference::Tag(_))));
    }
}
