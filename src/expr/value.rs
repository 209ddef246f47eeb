//! Converts JSON to CEL, and holds the values that expressions pass to later ones.

use super::Failed;
use cel::Value;
use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString};
use cel::common::value::Val;
use cel::objects::OptionalValue;
use serde_json::Map;
use std::collections::HashMap;
use std::sync::Arc;

/// Converts an object and borrows its strings.
pub(super) fn from_object(object: &Map<String, serde_json::Value>) -> CelMap<'_> {
    let entries = object
        .iter()
        .map(|(key, value)| (CelMapKey::from(key.as_str()), from_json(value)));
    CelMap::from(entries.collect::<HashMap<_, _>>())
}

/// An integer becomes an `int`, as in Kubernetes, so that `claims.exp + 1` works. Any other number becomes a
/// `double`.
fn from_json(value: &serde_json::Value) -> Box<dyn Val + '_> {
    match value {
        serde_json::Value::Null => Box::new(CelNull),
        serde_json::Value::Bool(truth) => Box::new(CelBool::from(*truth)),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(integer) => Box::new(CelInt::from(integer)),
            None => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        serde_json::Value::String(text) => Box::new(CelString::from(text.as_str())),
        serde_json::Value::Array(elements) => {
            Box::new(CelList::from(elements.iter().map(from_json).collect::<Vec<_>>()))
        }
        serde_json::Value::Object(object) => Box::new(from_object(object)),
    }
}

/// The values of the variables so far. A clone shares them.
#[derive(Clone, Debug)]
pub struct Vars(Arc<CelMap<'static>>);

impl Default for Vars {
    fn default() -> Self {
        Self(Arc::new(CelMap::from(HashMap::new())))
    }
}

impl Vars {
    /// Adds a variable, or replaces one of the same name.
    pub fn insert(&mut self, name: &str, value: Held) {
        let mut values = Arc::unwrap_or_clone(std::mem::take(self).0).into_inner();
        values.insert(CelMapKey::from(name.to_owned()), value.0);
        self.0 = Arc::new(CelMap::from(values));
    }

    pub(super) fn map(&self) -> Arc<CelMap<'static>> {
        Arc::clone(&self.0)
    }
}

/// The value of a variable.
#[derive(Debug)]
pub struct Held(Box<dyn Val>);

/// As in zot, a variable takes the value inside an optional, or null if it is empty. Every other value is
/// unchanged.
pub(super) fn hold(value: Value) -> Result<Held, Failed> {
    let value = match optional(&value) {
        Some(held) => held.value().cloned().unwrap_or(Value::Null),
        None => value,
    };
    Ok(Held(value.try_into().map_err(|_| Failed::Other)?))
}

pub(super) fn optional(value: &Value) -> Option<&OptionalValue> {
    <&OptionalValue>::try_from(value).ok()
}
