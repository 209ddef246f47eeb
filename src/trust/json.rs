//! Strict JSON (RFC 8259) for tokens and published documents: no repeated members, no deep nesting, nothing
//! after the value. Two readers that pick different ones of two equal members would see two different tokens.

use crate::limits::JSON_DEPTH;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::cell::Cell;
use std::fmt;

/// Reads one object. Nothing else may be in `bytes`.
pub(in crate::trust) fn object(bytes: &[u8]) -> Result<Map<String, Value>, InvalidJson> {
    let fault = Cell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = Strict {
        depth: JSON_DEPTH,
        fault: &fault,
    }
    .deserialize(&mut reader)
    .and_then(|value| reader.end().map(|()| value));
    match read {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(InvalidJson::NotAnObject),
        Err(e) => Err(fault.take().unwrap_or(InvalidJson::Syntax {
            line: e.line(),
            column: e.column(),
        })),
    }
}

/// Returns the kind of a value, for "expected …, found …".
pub(in crate::trust) const fn kind(value: Option<&Value>) -> &'static str {
    match value {
        None => "nothing",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "a truth value",
        Some(Value::Number(_)) => "a number",
        Some(Value::String(_)) => "a string",
        Some(Value::Array(_)) => "a list",
        Some(Value::Object(_)) => "an object",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJson {
    #[error("malformed JSON at line {line}, column {column}")]
    Syntax { line: usize, column: usize },
    #[error("the member {member:?} appears twice in one object")]
    Duplicate { member: String },
    #[error("nested deeper than {JSON_DEPTH} levels")]
    TooDeep,
    #[error("expected a JSON object")]
    NotAnObject,
}

/// Builds a [`Value`]. serde's errors are only text, so the reason is stored in `fault`.
#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: u8,
    fault: &'a Cell<Option<InvalidJson>>,
}

impl Strict<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth, ..self }),
            None => Err(self.refuse(InvalidJson::TooDeep)),
        }
    }

    fn refuse<E: serde::de::Error>(self, why: InvalidJson) -> E {
        self.fault.set(Some(why));
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(inner)? {
            list.push(element);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(member) = members.next_key::<String>()? {
            if object.contains_key(&member) {
                return Err(self.refuse(InvalidJson::Duplicate { member }));
            }
            object.insert(member, members.next_value_seed(inner)?);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_any_object_as_serde_json_does() {
        let text = r#"{"a":[1,-2,3.5,1e3,18446744073709551615,true,null,"\u00e9"],"b":{"c":{}}}"#;
        assert_eq!(
            Value::Object(object(text.as_bytes()).unwrap()),
            serde_json::from_str::<Value>(text).unwrap()
        );
    }

    #[test]
    fn json_that_two_parsers_may_read_differently_is_rejected() {
        let twice = |member: &str| InvalidJson::Duplicate {
            member: member.into(),
        };
        for (text, why) in [
            (r#"{"a":1,"a":1}"#, twice("a")),
            (r#"{"x":[{"b":1,"c":2,"b":3}]}"#, twice("b")),
            (r#"{"a":1,"\u0061":2}"#, twice("a")),
            ("[]", InvalidJson::NotAnObject),
            ("null", InvalidJson::NotAnObject),
            ("{} {}", InvalidJson::Syntax { line: 1, column: 4 }),
            ("{\"a\":1,}", InvalidJson::Syntax { line: 1, column: 8 }),
            ("", InvalidJson::Syntax { line: 1, column: 0 }),
        ] {
            assert_eq!(object(text.as_bytes()), Err(why), "{text}");
        }
        for text in [
            &b"\xef\xbb\xbf{}"[..],
            b"{\"a\":\"\xff\"}",
            b"{\"a\":1e999}",
            b"{\"a\":NaN}",
            b"{'a':1}",
        ] {
            assert!(
                matches!(object(text), Err(InvalidJson::Syntax { .. })),
                "{}",
                text.escape_ascii()
            );
        }
    }

    #[test]
    fn nesting_is_limited() {
        let nested =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        let limit = usize::from(JSON_DEPTH);
        assert!(object(nested(limit).as_bytes()).is_ok());
        assert_eq!(object(nested(limit + 1).as_bytes()), Err(InvalidJson::TooDeep));
        assert_eq!(object(nested(100_000).as_bytes()), Err(InvalidJson::TooDeep));
    }
}
