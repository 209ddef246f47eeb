//! Reads the file's text into one JSON value. YAML is treated as a superset of JSON. A duplicate key is a
//! mistake in both.

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
    // Only `true` and `false` are booleans. `clientAuth: off` is a string.
    let options = serde_saphyr::options! { strict_booleans: true };
    // The message omits the lines around the place, because they may contain secrets.
    let value: Value = serde_saphyr::from_str_with_options(text, options)
        .map_err(|why| mistake(malformed(why.without_snippet())))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(mistake(
            "must be an object with keys such as `http` and `storage`".into(),
        ))
    }
}

fn malformed(why: &Error) -> String {
    match why {
        Error::DuplicateMappingKey { key, location } => {
            let key = key.as_deref().unwrap_or("a key");
            format!("line {}: {key} appears twice; keep one of them", location.line())
        }
        why => format!(
            "is not valid JSON or YAML: {}",
            why.to_string().trim_start_matches("error: ")
        ),
    }
}
