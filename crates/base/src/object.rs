//! Reads JSON from outside into our structs. serde also reads a list into a struct, one element per member,
//! so `["https://issuer", "https://issuer/keys"]` would be a valid discovery document. Here only an object is
//! an object, at every level of type [`Object`]. serde's own errors name Rust types; [`explain`] rephrases
//! them for the author of the document.

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

/// Reads `bytes` as exactly one object. The error is a sentence for the author of the document.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes)
        .map(|Object(value)| value)
        .map_err(|why| explain(&why))
}

/// A `T` that was an object. A list is rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}

/// For a member that may be absent: `#[serde(default, deserialize_with = "object::optional")]`.
pub fn optional<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(Option::<Object<T>>::deserialize(deserializer)?.map(|Object(value)| value))
}

/// Explains serde's error in the words of JSON.
#[must_use]
pub fn explain(why: &serde_json::Error) -> String {
    let text = why.to_string();
    let place = format!(" at line {} column {}", why.line(), why.column());
    let message = text.strip_suffix(&place).unwrap_or(&text);
    let mismatch = ["invalid type: ", "invalid value: "]
        .iter()
        .find_map(|start| message.strip_prefix(start));
    // The found value is the author's text and may contain anything. The expected one is ours, so search for
    // it from the end.
    let Some((found, expected)) = mismatch.and_then(|rest| rest.rsplit_once(", expected ")) else {
        return text;
    };
    format!("expected {}, found {}{place}", wanted(expected), shown(found))
}

fn wanted(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not negative",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        "a map" => "an object",
        "a boolean" => "true or false",
        other => other,
    }
}

fn shown(found: &str) -> String {
    match found {
        "sequence" => "a list".into(),
        "map" => "an object".into(),
        "unit value" => "null".into(),
        other => {
            let value = ["boolean ", "integer ", "floating point ", "string "]
                .iter()
                .find_map(|kind| other.strip_prefix(kind));
            let mut characters = value.unwrap_or(other).chars();
            let start: String = characters.by_ref().take(SHOWN_CHARACTERS).collect();
            if characters.next().is_some() {
                format!("{start}…")
            } else {
                start
            }
        }
    }
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members))
    }
}

const SHOWN_CHARACTERS: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Outer {
        name: String,
        #[serde(default, deserialize_with = "optional")]
        inner: Option<Inner>,
        #[serde(default)]
        list: Vec<Object<Inner>>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        size: u64,
    }

    #[test]
    fn only_an_object_is_read_as_an_object_at_every_level() {
        let good = read::<Outer>(br#"{"list":[{"size":1}],"inner":{"size":2},"name":"a","more":[]}"#);
        assert_eq!(
            good,
            Ok(Outer {
                name: "a".into(),
                inner: Some(Inner { size: 2 }),
                list: vec![Object(Inner { size: 1 })]
            })
        );
        assert_eq!(
            read::<Outer>(br#"{"name":"a","inner":null}"#).map(|outer| outer.inner),
            Ok(None)
        );
        for (bad, why) in [
            (
                r#"["a",{"size":1},[]]"#,
                "expected an object, found a list at line 1 column 0",
            ),
            ("[]", "expected an object, found a list at line 1 column 0"),
            (
                r#"{"name":"a","inner":[1]}"#,
                "expected an object, found a list at line 1 column 20",
            ),
            (
                r#"{"name":"a","list":[[1]]}"#,
                "expected an object, found a list at line 1 column 20",
            ),
            ("7", "expected an object, found `7` at line 1 column 1"),
            ("null", "expected an object, found null at line 1 column 4"),
        ] {
            assert_eq!(read::<Outer>(bad.as_bytes()), Err(why.into()), "{bad}");
        }
    }

    #[test]
    fn errors_are_short_and_use_the_words_of_json() {
        for (bad, why) in [
            (r#"{"name":1}"#, "expected a string, found `1` at line 1 column 9"),
            (
                r#"{"name":null}"#,
                "expected a string, found null at line 1 column 12",
            ),
            (
                r#"{"name":"a","list":{}}"#,
                "expected a list, found an object at line 1 column 19",
            ),
            (
                r#"{"name":"a","inner":{"size":"x, expected y"}}"#,
                r#"expected a whole number, not negative, found "x, expected y" at line 1 column 43"#,
            ),
            (
                r#"{"name":"a","inner":{"size":-1}}"#,
                "expected a whole number, not negative, found `-1` at line 1 column 30",
            ),
            (
                r#"{"name":"a","inner":{"size":true}}"#,
                "expected a whole number, not negative, found `true` at line 1 column 32",
            ),
            ("{}", "missing field `name` at line 1 column 2"),
            ("{", "EOF while parsing an object at line 1 column 1"),
        ] {
            assert_eq!(read::<Outer>(bad.as_bytes()), Err(why.into()), "{bad}");
        }
        let long = read::<Outer>(format!(r#"{{"name":"a","list":"{}"}}"#, "é".repeat(10_000)).as_bytes())
            .unwrap_err();
        assert!(long.len() < 300, "{long}");
    }
}
