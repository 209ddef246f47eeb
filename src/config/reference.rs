//! The reference of the configuration file, made from the schema of the raw types and their comments.

use super::not_built::{IGNORED, REFUSED};
use super::raw;
use schemars::SchemaGenerator;
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// Markdown: one section for each object of the file, one line for each of its keys.
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
        "Refused, since without them the registry would do less than the file asks:",
        REFUSED,
    );
    book.list("Ignored with a warning:", IGNORED);
    book.text
}

const HEAD: &str = "# Configuration

<!-- Made from src/config/raw by `UPDATE_DOCS=1 cargo test --test docs`. -->

One file, JSON or YAML, with zot's key names in any case. A key that is not listed here is a mistake, and every mistake is reported at once.
As zot does, this registry takes the text `true` and `1` for `true`, text for a number, a number for text, and one value for a list. `null` is as
good as no key. Empty text is as good as no key where the key is zot's, and means `false` for a truth value; elsewhere it is a mistake.
Relative paths start from the file's own folder. Lengths of time are written as `30s`, `5m` or `1h30m`. **Bold** keys are required.
";

const NOT_BUILT: &str = "
## Keys that are not built

`*` stands for every entry. A key whose value is `null`, `false`, `0`, empty, or holds nothing else asks for nothing, and neither does an extension
with `enable: false`.
";

struct Book<'a> {
    root: &'a Value,
    text: String,
    /// Titles: what stands in several places is described once.
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

    /// The object behind references, lists, maps and options; anything else as it is.
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

/// On one line of a table.
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
