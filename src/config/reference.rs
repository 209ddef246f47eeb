//! The reference of the configuration file. It is generated from the schema of the raw types and their
//! comments.

use super::not_built::{IGNORED, REFUSED};
use super::raw;
use schemars::SchemaGenerator;
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// Returns Markdown with one section for each object of the file and one line for each of its keys.
#[must_use]
pub fn reference() -> String {
    let schema = SchemaGenerator::default()
        .into_root_schema_for::<raw::File>()
        .to_value();
    let mut book = Book {
        root: &schema,
        text: HEAD.to_owned(),
        written: Vec::new(),
    };
    book.section("The file", &schema);
    book.text.push_str(NOT_BUILT);
    book.list(
        "Refused, because they would restrict or protect something:",
        REFUSED,
    );
    book.list("Ignored with a warning:", IGNORED);
    book.text
}

const HEAD: &str = "# Configuration

<!-- Made from src/config/raw by `UPDATE_DOCS=1 cargo test --test docs`. -->

The configuration is one file, JSON or YAML, with zot's key names in upper or lower case. An unknown key is a mistake, and all mistakes are reported
together. As in zot, the registry converts the text `true` and `1` to `true`, text to a number, a number to text, and one value to a list. `null` means
that the key is missing. Empty text also means a missing key if the key is zot's, and `false` for a boolean. Elsewhere empty text is a mistake. Relative
paths start from the file's folder. Durations are written as `30s`, `5m` or `1h30m`. **Bold** keys are required.
";

const NOT_BUILT: &str = "
## Keys that are not built

`*` stands for every entry. A key is ignored if its value is `null`, `false`, `0` or empty, or contains only such values. An extension with
`enable: false` is ignored too.
";

struct Book<'a> {
    root: &'a Value,
    text: String,
    /// The titles of written sections, because a type that is used in several places is described once.
    written: Vec<&'a str>,
}

impl<'a> Book<'a> {
    fn section(&mut self, title: &'a str, schema: &'a Value) {
        if self.written.contains(&title) {
            return;
        }
        self.written.push(title);
        let Some(keys) = schema
            .get("properties")
            .and_then(Value::as_object)
            .filter(|keys| !keys.is_empty())
        else {
            return;
        };
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let _ = write!(
            self.text,
            "\n## {}\n\n| key | type | meaning |\n|---|---|---|\n",
            title.replace('\n', " ")
        );
        for (key, value) in keys {
            let name = if required.contains(&key.as_str()) {
                format!("**`{key}`**")
            } else {
                format!("`{key}`")
            };
            let _ = writeln!(
                self.text,
                "| {name} | {} | {} |",
                self.kind(value),
                described(value)
            );
        }
        self.below(keys);
    }

    /// The sections of the objects that the keys lead to.
    fn below(&mut self, keys: &'a Map<String, Value>) {
        for value in keys.values() {
            let target = self.object(value);
            let Some(title) = target.get("description").and_then(Value::as_str) else {
                continue;
            };
            if target.get("properties").is_some() {
                self.section(title, target);
            }
        }
    }

    /// The object inside references, lists, maps and options. Other schemas are returned unchanged.
    fn object(&self, schema: &'a Value) -> &'a Value {
        let inner = schema
            .get("anyOf")
            .and_then(Value::as_array)
            .and_then(|choices| choices.iter().find(|choice| choice.get("$ref").is_some()))
            .or_else(|| schema.get("items"))
            .or_else(|| schema.get("additionalProperties").filter(|each| each.is_object()));
        match (inner, self.resolve(schema)) {
            (Some(inner), _) => self.object(inner),
            (None, Some(target)) => self.object(target),
            (None, None) => schema,
        }
    }

    fn resolve(&self, schema: &Value) -> Option<&'a Value> {
        self.root
            .pointer(schema.get("$ref")?.as_str()?.trim_start_matches('#'))
    }

    fn kind(&self, schema: &Value) -> String {
        if let Some(target) = self.resolve(schema) {
            return self.kind(target);
        }
        if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
            let kinds: Vec<_> = choices
                .iter()
                .map(|choice| self.kind(choice))
                .filter(|kind| kind != "null")
                .collect();
            return kinds.join(" or ");
        }
        if let Some(names) = schema.get("enum").and_then(Value::as_array) {
            let names: Vec<_> = names
                .iter()
                .filter_map(Value::as_str)
                .map(|name| format!("`{name}`"))
                .collect();
            return names.join(", ");
        }
        let types: Vec<&str> = match schema.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let names: Vec<_> = types
            .into_iter()
            .filter(|name| *name != "null" || schema.get("type") == Some(&"null".into()))
            .collect();
        let inner = |key| {
            schema
                .get(key)
                .filter(|each| each.is_object())
                .map(|each| self.kind(each))
                .unwrap_or_default()
        };
        let name = |name: &str| match name {
            "array" => format!("list of {}", inner("items")),
            "object" if schema.get("additionalProperties").is_some_and(Value::is_object) => {
                "object by name".to_owned()
            }
            "object" if schema.get("properties").is_none() => "`{}`".to_owned(),
            "string" => "text".to_owned(),
            "boolean" => "true or false".to_owned(),
            "integer" | "number" => "number".to_owned(),
            other => other.to_owned(),
        };
        names.into_iter().map(name).collect::<Vec<_>>().join(" or ")
    }

    fn list(&mut self, title: &str, keys: &[(&str, &str)]) {
        let keys: Vec<_> = keys.iter().map(|(key, _)| format!("`{key}`")).collect();
        let _ = write!(self.text, "\n{title}\n{}.\n", keys.join(", "));
    }
}

/// The description, on one line of a table.
fn described(schema: &Value) -> String {
    let text = schema
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}
