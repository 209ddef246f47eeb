//! The file's text as one JSON value. YAML is read as a superset of JSON; a duplicate key is a mistake in both.

use super::Mistake;
use serde_json::Value;

pub(super) fn read(text: &str) -> Result<Value, Vec<Mistake>> {
    let mistake = |what: String| vec![Mistake::new("", what)];
    if text.trim().is_empty() {
        return Err(mistake("the file is empty; `wharfinger dev` writes one that works".into()));
    }
    let value: Value = serde_saphyr::from_str(text).map_err(|why| mistake(format!("is neither JSON nor YAML that can be read: {why}")))?;
    if value.is_object() { Ok(value) } else { Err(mistake("must be an object with `http`, `storage` and so on".into())) }
}
