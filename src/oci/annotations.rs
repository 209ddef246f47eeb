//! A manifest's annotations, kept as JSON: a manifest may have hundreds of thousands, and the registry only
//! passes them on. They are checked while they are read, without building a map.

use bytes::Bytes;
use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};

/// Invariant: empty, or a JSON object without white space between its members. The members are strings with
/// different names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Annotations(Bytes);

impl Annotations {
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the length of the JSON.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds the annotations as the last member of a JSON object that has other members.
    pub fn append_to(&self, object: &mut Vec<u8>) {
        if self.is_empty() || object.pop_if(|last| *last == b'}').is_none() {
            return;
        }
        object.extend_from_slice(MEMBER);
        object.extend_from_slice(&self.0);
        object.push(b'}');
    }

    /// Returns how many bytes [`Self::append_to`] adds.
    #[must_use]
    pub const fn appended_len(&self) -> usize {
        if self.is_empty() {
            0
        } else {
            MEMBER.len() + self.0.len()
        }
    }

    /// Whether both have the same names and values, in any order.
    #[must_use]
    pub fn say_the_same_as(&self, other: &Self) -> bool {
        self == other || self.to_map() == other.to_map()
    }

    /// Returns a map. Only for checks and tests, since this type exists to avoid it.
    #[must_use]
    pub fn to_map(&self) -> BTreeMap<String, String> {
        serde_json::from_slice(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Annotations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(f)
    }
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = deserializer.deserialize_map(Members)?;
        // Drops the buffer's spare capacity.
        Ok(if written == b"{}" {
            Self::default()
        } else {
            Self(written.into_boxed_slice().into())
        })
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Vec<u8>, A::Error> {
        let mut json = vec![b'{'];
        let mut names = Names::default();
        while members
            .next_key_seed(Text {
                json: &mut json,
                names: Some(&mut names),
            })?
            .is_some()
        {
            json.push(b':');
            members.next_value_seed(Text {
                json: &mut json,
                names: None,
            })?;
            json.push(b',');
        }
        json.pop_if(|last| *last == b',');
        json.push(b'}');
        Ok(json)
    }
}

/// The hashes of the names so far, with a random key. For half a million names, a collision happens once in a
/// hundred million manifests.
#[derive(Default)]
struct Names {
    key: RandomState,
    hashes: HashSet<u64>,
}

/// Writes the next string. A name must not have been seen before.
struct Text<'a> {
    json: &'a mut Vec<u8>,
    names: Option<&'a mut Names>,
}

impl<'de> DeserializeSeed<'de> for Text<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Text<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        if let Some(names) = self.names
            && !names.hashes.insert(names.key.hash_one(text))
        {
            let name: String = format!("{text:?}").chars().take(SHOWN_CHARACTERS).collect();
            return Err(E::custom(format_args!(
                "the member {name} appears twice in one object"
            )));
        }
        serde_json::to_writer(self.json, text).map_err(E::custom)
    }
}

const MEMBER: &[u8] = br#","annotations":"#;
const SHOWN_CHARACTERS: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Annotations, String> {
        serde_json::from_str(json).map_err(|why| why.to_string())
    }

    fn appended(annotations: &Annotations) -> String {
        let mut object = br#"{"a":1}"#.to_vec();
        annotations.append_to(&mut object);
        assert_eq!(object.len(), br#"{"a":1}"#.len() + annotations.appended_len());
        String::from_utf8(object).unwrap()
    }

    #[test]
    fn annotations_are_stored_as_one_line_of_json() {
        let read = read("{ \"b\\u0062\" :\n\"1\\n\\u00e9\",\r\n\t\"a\":\"\\ud83d\\ude00/\\/\" }").unwrap();
        assert_eq!(
            appended(&read),
            r#"{"a":1,"annotations":{"bb":"1\né","a":"😀//"}}"#
        );
        assert_eq!(read.to_map().len(), 2);
    }

    #[test]
    fn empty_annotations_are_not_written() {
        assert!(read("{}").unwrap().is_empty());
        assert_eq!(appended(&Annotations::default()), r#"{"a":1}"#);
    }

    #[test]
    fn the_order_of_annotations_does_not_matter() {
        let one = read(r#"{"a":"1","b":"2"}"#).unwrap();
        let other = read(r#"{"b":"2","a":"1"}"#).unwrap();
        assert!(one != other && one.say_the_same_as(&other));
        assert!(!one.say_the_same_as(&read(r#"{"a":"1","b":"3"}"#).unwrap()));
    }

    #[test]
    fn annotations_are_strings_with_different_names() {
        for (json, why) in [
            (
                r#"{"a":"1","\u0061":"1"}"#,
                r#"the member "a" appears twice in one object at line 1"#,
            ),
            (r#"{"a":1}"#, "expected a string at line 1"),
            (r#"{"a":null}"#, "expected a string at line 1"),
            (r#"{"a":{"b":"c"}}"#, "expected a string at line 1"),
            (r#"["a"]"#, "expected an object at line 1"),
            (r#"{"a":"\ud800"}"#, "unexpected end of hex escape"),
            (r#"{"a":"1",}"#, "trailing comma"),
        ] {
            let found = read(json).unwrap_err();
            assert!(found.contains(why), "{json}: {found}");
        }
    }
}
