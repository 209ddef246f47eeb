//! The text of a request's path. Each `%XX` is decoded once, before anything else reads the path, since some
//! clients encode characters that need no encoding: the Azure SDKs write `%2F` and `%3A`. Policy therefore
//! sees the decoded name. A path is then split from the right, since a repository may be called
//! `v2/manifests/blobs`.

use crate::oci::{InvalidDigest, InvalidName, InvalidReference};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::convert::Infallible;

/// Why the registry cannot serve a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidPath {
    #[error("there is nothing at this path")]
    Unknown,
    #[error(transparent)]
    Encoding(#[from] InvalidEncoding),
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
}

/// Parts that are not parsed cannot be invalid.
impl From<Infallible> for InvalidPath {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Characters or encodings that no name, tag or digest may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidEncoding {
    #[error(
        "a % remains after percent-encoding was decoded once: encode each character once, as %XX, or not at all"
    )]
    Percent,
    #[error("names, tags and digests must not contain NUL or control characters")]
    Control,
    #[error("the percent-decoded text is not UTF-8")]
    Text,
}

/// Decodes each `%XX` once.
pub(super) fn decoded(raw: &str) -> Result<Cow<'_, str>, InvalidEncoding> {
    if !raw.contains('%') {
        return Ok(Cow::Borrowed(raw));
    }
    let text = percent_decode_str(raw)
        .decode_utf8()
        .map_err(|_| InvalidEncoding::Text)?;
    clean(&text)?;
    Ok(text)
}

/// Rejects text with characters that no name, tag or digest may have.
pub(super) fn clean(text: &str) -> Result<(), InvalidEncoding> {
    if text.contains('%') {
        return Err(InvalidEncoding::Percent);
    }
    if text.chars().any(char::is_control) {
        Err(InvalidEncoding::Control)
    } else {
        Ok(())
    }
}

/// The last `N` segments of a path under `/v2/`, and the repository's name before them.
pub(super) fn tail<const N: usize>(path: &str) -> Option<(&str, [&str; N])> {
    let mut name = path.strip_prefix("/v2/")?;
    let mut segments = [""; N];
    for segment in segments.iter_mut().rev() {
        (name, *segment) = name.rsplit_once('/')?;
    }
    Some((name, segments))
}
