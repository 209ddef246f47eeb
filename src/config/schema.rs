//! Checks a document against the schema of the raw types and collects all mistakes, not only the first. As in
//! zot, keys may be in upper or lower case, and are converted to the schema's case here. Wrong or missing
//! values are replaced by neutral ones, so that the rest can be checked too.

use super::{Mistake, weak};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Reports unknown keys, missing keys and wrong types, each with its path, and converts the keys' case.
pub(super) fn check<T: JsonSchema>(document: &mut Value, mistakes: &mut Vec<Mistake>) {
    let schema = SchemaGenerator::default().into_root_schema_for::<T>().to_value();
    Walk {
        root: &schema,
        mistakes,
    }
    .value(document, &schema, "");
}

struct Walk<'a> {
    root: &'a Value,
    mistakes: &'a mut Vec<Mistake>,
}

impl<'a> Walk<'a> {
    fn value(&mut self, value: &mut Value, schema: &'a Value, path: &str) {
        let schema = self.resolve(schema);
        if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
            return self.any_of(value, choices, path);
        }
        if !has_type(value, schema) {
            weak::fit(value, &types(schema));
        }
        if !has_type(value, schema) {
            let wanted = expectation(schema);
            self.mistakes.push(Mistake::new(
                path,
                format!("must be {wanted}, not {}", kind(value)),
            ));
            *value = self.stand_in(schema);
            return;
        }
        match value {
            Value::Object(object) => self.object(object, schema, path),
            Value::Array(items) => {
                let Some(each) = schema.get("items") else { return };
                if types(self.resolve(each)) == ["string"] {
                    items.retain(|item| !item.is_null());
                }
                for (i, item) in items.iter_mut().enumerate() {
                    self.value(item, each, &format!("{path}[{i}]"));
                }
            }
            Value::String(text) => {
                weak::text(text, path);
                if let Some(wrong) = wrong_text(text, schema) {
                    self.mistakes.push(Mistake::new(path, wrong));
                    *value = self.stand_in(schema);
                }
            }
            _ => {}
        }
    }

    /// Uses the first choice whose type fits. If none fits, the mistake names all of them.
    fn any_of(&mut self, value: &mut Value, choices: &'a [Value], path: &str) {
        let fits = |value: &Value| {
            choices
                .iter()
                .find(|choice| has_type(value, self.resolve(choice)))
        };
        if fits(value).is_none() {
            let types: Vec<_> = choices
                .iter()
                .flat_map(|choice| types(self.resolve(choice)))
                .collect();
            weak::fit(value, &types);
        }
        match fits(value) {
            Some(choice) => self.value(value, choice, path),
            None => {
                let wanted: Vec<_> = choices
                    .iter()
                    .map(|choice| expectation(self.resolve(choice)))
                    .filter(|w| w != "null")
                    .collect();
                self.mistakes.push(Mistake::new(
                    path,
                    format!("must be {}, not {}", wanted.join(" or "), kind(value)),
                ));
                *value = choices
                    .first()
                    .map_or(Value::Null, |choice| self.stand_in(choice));
            }
        }
    }

    fn object(&mut self, object: &mut Map<String, Value>, schema: &'a Value, path: &str) {
        let join = |key: &str| {
            if path.is_empty() {
                key.to_owned()
            } else {
                format!("{path}.{key}")
            }
        };
        let Some(known) = schema.get("properties").and_then(Value::as_object) else {
            if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
                let mistakes = object
                    .keys()
                    .map(|key| Mistake::new(join(key), "is not a key here; write {}"));
                self.mistakes.extend(mistakes);
                object.clear();
            }
            if let Some(each) = schema.get("additionalProperties").filter(|each| each.is_object()) {
                object
                    .iter_mut()
                    .for_each(|(key, value)| self.value(value, each, &format!("{path}[{key:?}]")));
            }
            return;
        };
        let mut misspelt = Vec::new();
        let mut seen = BTreeSet::new();
        for (written, mut value) in std::mem::take(object) {
            let Some((key, schema)) = known.iter().find(|(key, _)| key.eq_ignore_ascii_case(&written)) else {
                self.mistakes
                    .push(Mistake::new(join(&written), unknown(&written, known)));
                misspelt.extend(close(&written, known).map(|(key, schema)| (key, schema, value)));
                continue;
            };
            // This is a mistake even for equal values, because the intended one is unknown.
            if !seen.insert(key) {
                self.mistakes.push(Mistake::new(
                    join(key),
                    "appears twice, in different case: keep one of them",
                ));
                continue;
            }
            if value.is_null() || weak::is_left_out(&value, &join(key)) {
                continue;
            }
            self.value(&mut value, schema, &join(key));
            object.insert(key.clone(), value);
        }
        // Also checks the probably intended key, so that it is not reported as missing.
        for (key, schema, mut value) in misspelt {
            if !object.contains_key(key) {
                self.value(&mut value, schema, &join(key));
                object.insert(key.clone(), value);
            }
        }
        for key in schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            if !object.contains_key(key) {
                self.mistakes.push(Mistake::new(join(key), "is missing"));
                object.insert(
                    key.to_owned(),
                    known.get(key).map_or(Value::Null, |schema| self.stand_in(schema)),
                );
            }
        }
    }

    /// The smallest value that fits the schema.
    fn stand_in(&self, schema: &'a Value) -> Value {
        let schema = self.resolve(schema);
        if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
            return choices
                .first()
                .map_or(Value::Null, |choice| self.stand_in(choice));
        }
        if let Some(first) = schema
            .get("enum")
            .and_then(Value::as_array)
            .and_then(|allowed| allowed.first())
        {
            return first.clone();
        }
        let type_name = match schema.get("type") {
            Some(Value::String(one)) => one.as_str(),
            Some(Value::Array(several)) if several.iter().any(|one| one == "null") => "null",
            Some(Value::Array(several)) => several.first().and_then(Value::as_str).unwrap_or_default(),
            _ => "object",
        };
        match type_name {
            "null" => Value::Null,
            "boolean" => false.into(),
            "integer" | "number" => 0.into(),
            "string" => "".into(),
            "array" => Value::Array(Vec::new()),
            _ => {
                let required = schema
                    .get("required")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str);
                let member = |key: &str| {
                    (
                        key.to_owned(),
                        schema
                            .get("properties")
                            .and_then(|all| all.get(key))
                            .map_or(Value::Null, |one| self.stand_in(one)),
                    )
                };
                Value::Object(required.map(member).collect())
            }
        }
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        while let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            match self.root.pointer(reference.trim_start_matches('#')) {
                Some(target) => schema = target,
                None => break,
            }
        }
        schema
    }
}

fn wrong_text(text: &str, schema: &Value) -> Option<String> {
    let allowed = schema.get("enum").and_then(Value::as_array)?;
    (!allowed.iter().any(|one| one == text)).then(|| format!("must be {}, not {text:?}", expectation(schema)))
}

/// The names of the types that a schema accepts.
fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn has_type(value: &Value, schema: &Value) -> bool {
    let fits = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        _ => value.is_object(),
    };
    match schema.get("type") {
        Some(Value::String(name)) => fits(name),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).any(fits),
        _ => schema.get("enum").is_none() || value.is_string(),
    }
}

fn expectation(schema: &Value) -> String {
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array) {
        let names: Vec<_> = allowed.iter().filter_map(Value::as_str).collect();
        return format!("one of {}", names.join(", "));
    }
    let name = |name: &str| match name {
        "array" => "a list",
        "object" => "an object",
        "string" => "text",
        "boolean" => "true or false",
        "integer" | "number" => "a number",
        _ => "null",
    };
    match schema.get("type") {
        Some(Value::String(one)) => name(one).to_owned(),
        Some(Value::Array(several)) => {
            let wanted: Vec<_> = several
                .iter()
                .filter_map(Value::as_str)
                .filter(|one| *one != "null")
                .map(name)
                .collect();
            wanted.join(" or ")
        }
        _ => "something else".to_owned(),
    }
}

/// Names only the type, because the value may be a secret.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn unknown(written: &str, known: &Map<String, Value>) -> String {
    match close(written, known) {
        Some((key, _)) => format!("is not a key here; did you mean {key}?"),
        None => format!(
            "is not a key here; known keys are {}",
            known.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
        ),
    }
}

/// The probably intended key.
fn close<'a>(written: &str, known: &'a Map<String, Value>) -> Option<(&'a String, &'a Value)> {
    known
        .iter()
        .find(|(key, _)| distance(&key.to_lowercase(), &written.to_lowercase()) <= 2)
}

/// The Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (y, pair) in b.iter().zip(row.windows(2)) {
            let diagonal = pair.first().copied().unwrap_or(0);
            let above = pair.last().copied().unwrap_or(0);
            let left = next.last().copied().unwrap_or(0);
            next.push((diagonal + usize::from(x != *y)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
