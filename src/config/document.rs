//! The file's text as one JSON value. YAML is read as a superset of JSON; a duplicate key is a mistake in
//! both.

use super::Mistake;
use serde_json::Value;
use serde_saphyr::Error;

pub(super) fn read(text: &str) -> Result<Value, Vec<Mistake>> {
    let mistake = |what: String| vec![Mistake::new("", what)];
    if text.trim().is_empty() {
        return Err(mistake(
            "the file is empty; `wharfinger dev` writes one that works".into(),
        ));
    }
    // Only `true` and `false` are truth values: `clientAuth: off` is a text.
    let options = serde_saphyr::options! { strict_booleans: true };
    // Without the lines around the place, which may hold anything.
    let value: Value = serde_saphyr::from_str_with_options(text, options)
        .map_err(|why| mistake(malformed(why.without_snippet())))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(mistake(
            "must be an object with `http`, `storage` and so on".into(),
        ))
    }
}

fn malformed(why: &Error) -> String {
    match why {
        Error::DuplicateMappingKey { key, location } => {
            let key = key.as_deref().unwrap_or("a key");
            format!("line {}: {key} is given twice; keep one of them", location.line())
        }
        why => format!(
            "is neither JSON nor YAML that can be read: {}",
            why.to_string().trim_start_matches("error: ")
        ),
    }
}
