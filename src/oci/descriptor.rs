//! Descriptors (image-spec, descriptor.md): parsing them, and checking what they say about their content.
//!
//! <https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md>

use super::{Algorithm, Annotations, Digest, InvalidDigest};
use crate::limits::MEDIA_TYPE_BYTES;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256, Sha512};
use std::fmt;

/// A descriptor in a list of referrers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    #[serde(serialize_with = "as_text")]
    pub digest: Digest,
    pub size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(skip)]
    pub annotations: Annotations,
}

impl Descriptor {
    /// Returns how many bytes [`Descriptor::write`] adds.
    #[must_use]
    pub fn written_len(&self) -> usize {
        // A descriptor that cannot be written is treated as too large.
        serde_json::to_vec(self).map_or(usize::MAX / 2, |json| {
            json.len() + self.annotations.appended_len()
        })
    }

    /// Appends its JSON.
    pub fn write(&self, json: &mut Vec<u8>) {
        // A descriptor of strings and a number can always be written.
        drop(serde_json::to_writer(&mut *json, self));
        self.annotations.append_to(json);
    }
}

/// A descriptor's place in its manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Config,
    Layer(usize),
    Manifest(usize),
    Subject,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => f.write_str("config"),
            Self::Layer(index) => write!(f, "layers[{index}]"),
            Self::Manifest(index) => write!(f, "manifests[{index}]"),
            Self::Subject => f.write_str("subject"),
        }
    }
}

/// Content that a manifest refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referred {
    pub place: Place,
    pub digest: Digest,
    /// `None` if the descriptor has no valid size.
    pub size: Option<u64>,
    /// Whether the descriptor contains the content as `data`.
    pub embedded: bool,
}

/// What is wrong with a descriptor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It is rejected in every repository, because lists of referrers contain it.
    #[error("`{member}` has {found} bytes: a media type may have at most {MEDIA_TYPE_BYTES}")]
    LongType { member: &'static str, found: usize },
    #[error("{place} ({digest}) has no `size`: a descriptor needs the number of bytes of its content")]
    NoSize { place: Place, digest: Digest },
    #[error("the `size` of {place} ({digest}) must be a whole number, not negative; it is {found}")]
    NoNumber {
        place: Place,
        digest: Digest,
        found: String,
    },
    #[error(
        "the `size` of {place} ({digest}) is {said}, but the content in this repository has {held} bytes"
    )]
    OtherSize {
        place: Place,
        digest: Digest,
        said: u64,
        held: u64,
    },
    #[error("the `data` of {place} ({digest}) is not base64: {why}")]
    NoBase64 {
        place: Place,
        digest: Digest,
        why: String,
    },
    #[error("the `data` of {place} ({digest}) has {found} bytes, but `size` is {said}")]
    DataSize {
        place: Place,
        digest: Digest,
        said: u64,
        found: u64,
    },
    #[error("the `data` of {place} has the digest {found}, but the descriptor says {digest}")]
    DataDigest {
        place: Place,
        digest: Digest,
        found: Digest,
    },
    #[error(
        "{place} must be a blob, but {digest} is a manifest in this repository: refer to a blob, or push the content as one"
    )]
    IsManifest { place: Place, digest: Digest },
    #[error(
        "{place} must be a manifest, but {digest} is a blob in this repository: push the content to /manifests/{digest} first"
    )]
    IsBlob { place: Place, digest: Digest },
}

/// A descriptor as written in a manifest. Unknown members are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Raw {
    #[serde(default)]
    pub(super) media_type: String,
    digest: String,
    #[serde(default)]
    size: Size,
    data: Option<String>,
}

impl Raw {
    /// Parses the descriptor. The first flaw is stored in `flaw`. An invalid digest is an error.
    pub(super) fn at(&self, place: Place, flaw: &mut Option<Flaw>) -> Result<Referred, InvalidDigest> {
        let digest: Digest = self.digest.parse()?;
        let size = match &self.size {
            Size::Number(size) => Some(*size),
            Size::Missing | Size::Other(_) => None,
        };
        if flaw.is_none() {
            *flaw = self.flaw(place, &digest);
        }
        Ok(Referred {
            place,
            digest,
            size,
            embedded: self.content().is_some(),
        })
    }

    /// Returns `data`. An empty string is the same as none, since some clients write every member that they
    /// know.
    fn content(&self) -> Option<&str> {
        self.data.as_deref().filter(|data| !data.is_empty())
    }

    fn flaw(&self, place: Place, digest: &Digest) -> Option<Flaw> {
        let digest = digest.clone();
        let said = match &self.size {
            Size::Number(size) => *size,
            Size::Missing => return Some(Flaw::NoSize { place, digest }),
            Size::Other(found) => {
                return Some(Flaw::NoNumber {
                    place,
                    digest,
                    found: found.clone(),
                });
            }
        };
        let bytes = match STANDARD.decode(self.content()?) {
            Ok(bytes) => bytes,
            Err(why) => {
                return Some(Flaw::NoBase64 {
                    place,
                    digest,
                    why: why.to_string(),
                });
            }
        };
        let found = bytes.len() as u64;
        if found != said {
            return Some(Flaw::DataSize {
                place,
                digest,
                said,
                found,
            });
        }
        let found = match digest.algorithm() {
            Algorithm::Sha256 => Digest::from_hash(Algorithm::Sha256, &Sha256::digest(&bytes)),
            Algorithm::Sha512 => Digest::from_hash(Algorithm::Sha512, &Sha512::digest(&bytes)),
        };
        found
            .ok()
            .filter(|found| *found != digest)
            .map(|found| Flaw::DataDigest { place, digest, found })
    }
}

/// The value of a descriptor's `size`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Size {
    #[default]
    Missing,
    Number(u64),
    /// Another value, as text for an error.
    Other(String),
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnySize)
    }
}

struct AnySize;

impl<'de> Visitor<'de> for AnySize {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size")
    }

    /// Clients read the size as a signed number.
    fn visit_u64<E>(self, size: u64) -> Result<Size, E> {
        Ok(if i64::try_from(size).is_ok() {
            Size::Number(size)
        } else {
            Size::Other(size.to_string())
        })
    }

    fn visit_i64<E>(self, size: i64) -> Result<Size, E> {
        Ok(u64::try_from(size).map_or_else(|_| Size::Other(size.to_string()), Size::Number))
    }

    fn visit_f64<E>(self, size: f64) -> Result<Size, E> {
        Ok(Size::Other(format!("{size:?}")))
    }

    fn visit_str<E>(self, text: &str) -> Result<Size, E> {
        let start: String = text.chars().take(SHOWN_CHARACTERS).collect();
        Ok(Size::Other(format!("the text {start:?}")))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Size, E> {
        Ok(Size::Other(value.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Size, E> {
        Ok(Size::Other("null".to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Size, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Size::Other("a list".to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Size, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Size::Other("an object".to_owned()))
    }
}

fn as_text<S: serde::Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(digest.as_str())
}

const SHOWN_CHARACTERS: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// The digest of the content `x`.
    const DIGEST: &str = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

    fn flaw(members: &Value) -> Option<Flaw> {
        let mut descriptor = json!({"mediaType": "a/b", "digest": DIGEST});
        descriptor
            .as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        let mut flaw = None;
        let read: Raw = serde_json::from_value(descriptor).unwrap();
        let referred = read.at(Place::Layer(3), &mut flaw).unwrap();
        assert_eq!(
            referred.embedded,
            members.get("data").is_some_and(|data| data != "")
        );
        flaw
    }

    #[test]
    fn a_size_is_a_whole_number_that_clients_can_read() {
        for good in [json!(0), json!(1), json!(i64::MAX)] {
            assert_eq!(flaw(&json!({"size": good})), None);
        }
        let why = flaw(&json!({})).unwrap().to_string();
        assert_eq!(
            why,
            format!(
                "layers[3] ({DIGEST}) has no `size`: a descriptor needs the number of bytes of its content"
            )
        );
        for (bad, found) in [
            (json!(-1), "-1"),
            (json!(1.5), "1.5"),
            (json!(u64::MAX), "18446744073709551615"),
            (json!("1"), "the text \"1\""),
            (json!(null), "null"),
            (json!(true), "true"),
            (json!([[1]]), "a list"),
            (json!({"a": {}}), "an object"),
        ] {
            let why = flaw(&json!({"size": bad})).unwrap().to_string();
            assert_eq!(
                why,
                format!(
                    "the `size` of layers[3] ({DIGEST}) must be a whole number, not negative; it is {found}"
                )
            );
        }
    }

    #[test]
    fn data_is_the_content() {
        assert_eq!(flaw(&json!({"size": 1, "data": "eA=="})), None);
        for size in [0, 1] {
            assert_eq!(
                flaw(&json!({"size": size, "data": ""})),
                None,
                "it is treated as absent"
            );
        }
        for (size, data, why) in [
            (
                1,
                "eA",
                format!("the `data` of layers[3] ({DIGEST}) is not base64"),
            ),
            (
                2,
                "eA==",
                format!("the `data` of layers[3] ({DIGEST}) has 1 bytes, but `size` is 2"),
            ),
            (
                1,
                "eQ==",
                "the `data` of layers[3] has the digest sha256:a1fce".to_owned(),
            ),
        ] {
            let found = flaw(&json!({"size": size, "data": data})).unwrap().to_string();
            assert!(found.starts_with(&why), "{found}");
        }
    }
}
