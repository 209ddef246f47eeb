//! JSON to CEL and back.

use super::{Failed, Kind};
use cel::Value;
use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString};
use cel::common::value::Val;
use cel::objects::Key;
use serde_json::{Map, Number};
use std::collections::HashMap;

/// Borrows the strings.
pub(super) fn from_object(object: &Map<String, serde_json::Value>) -> CelMap<'_> {
    let entries = object.iter().map(|(key, value)| (CelMapKey::from(key.as_str()), from_json(value)));
    CelMap::from(entries.collect::<HashMap<_, _>>())
}

/// An integer is an `int`, as in Kubernetes, so that `claims.exp + 1` is written as it reads; any other number is a `double`.
fn from_json(value: &serde_json::Value) -> Box<dyn Val + '_> {
    match value {
        serde_json::Value::Null => Box::new(CelNull),
        serde_json::Value::Bool(truth) => Box::new(CelBool::from(*truth)),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(integer) => Box::new(CelInt::from(integer)),
            None => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        serde_json::Value::String(text) => Box::new(CelString::from(text.as_str())),
        serde_json::Value::Array(elements) => Box::new(CelList::from(elements.iter().map(from_json).collect::<Vec<_>>())),
        serde_json::Value::Object(object) => Box::new(from_object(object)),
    }
}

/// What JSON has no form for fails, but for timestamps: RFC 3339 text, as in the JSON of protocol buffers.
pub(super) fn to_json(value: &Value) -> Result<serde_json::Value, Failed> {
    json(value).ok_or_else(|| Failed::kind(Kind::Any, value))
}

fn json(value: &Value) -> Option<serde_json::Value> {
    Some(match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(truth) => (*truth).into(),
        Value::Int(integer) => (*integer).into(),
        Value::UInt(integer) => (*integer).into(),
        Value::Float(double) => Number::from_f64(*double)?.into(),
        Value::String(text) => text.as_str().into(),
        Value::Timestamp(time) => time.to_rfc3339().into(),
        Value::List(elements) => serde_json::Value::Array(elements.iter().map(json).collect::<Option<_>>()?),
        Value::Map(map) => {
            let entries = map.map.iter().map(|(key, value)| match key {
                Key::String(key) => Some((key.as_str().to_owned(), json(value)?)),
                Key::Int(_) | Key::Uint(_) | Key::Bool(_) => None,
            });
            serde_json::Value::Object(entries.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}
