//! Converts values whose type differs from the schema's, as zot's reader (viper and mapstructure) does:
//! `"true"` and `1` to a boolean, text to a number and a number to text, one value to a list, and empty
//! values to none.

use serde_json::Value;

/// Converts the value to one of these types, if zot's reader would. `null` among the types means that the
/// value is optional.
pub(super) fn fit(value: &mut Value, types: &[&str]) {
    let fitted = types.iter().find_map(|name| as_type(value, name));
    if let Some(fitted) = fitted {
        *value = fitted;
    }
}

fn as_type(value: &Value, name: &str) -> Option<Value> {
    match (name, value) {
        // Like Go's strconv.ParseBool, except that mapstructure reads empty text as false.
        ("boolean", Value::String(text)) => match text.as_str() {
            "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(true.into()),
            "" | "0" | "f" | "F" | "false" | "False" | "FALSE" => Some(false.into()),
            _ => None,
        },
        ("boolean", Value::Number(number)) => Some((number.as_f64() != Some(0.0)).into()),
        ("integer", Value::String(text)) => text.parse::<u64>().ok().map(Value::from),
        ("integer", Value::Number(number)) => whole(number.as_f64()?),
        ("string", Value::Number(number)) => Some(number.to_string().into()),
        ("array", Value::Null) => Some(Value::Array(Vec::new())),
        ("array", Value::String(text)) if text.is_empty() => Some(Value::Array(Vec::new())),
        ("array", Value::Object(object)) if object.is_empty() => Some(Value::Array(Vec::new())),
        ("array", one) if !one.is_array() => Some(Value::Array(vec![one.clone()])),
        ("object", Value::Null) => Some(Value::Object(serde_json::Map::new())),
        ("object", Value::Array(items)) if items.is_empty() => Some(Value::Object(serde_json::Map::new())),
        _ => None,
    }
}

/// JSON has only one kind of number.
fn whole(number: f64) -> Option<Value> {
    let text = format!("{number}");
    text.parse::<u64>().ok().map(Value::from)
}

/// Text that zot may read as another type.
pub(super) fn text(text: &mut String, path: &str) {
    if path == "log.level" {
        let level = text.to_ascii_lowercase();
        *text = match level.as_str() {
            "warning" => "warn".to_owned(),
            "fatal" | "panic" => "error".to_owned(),
            _ => level,
        };
    }
}

/// Whether empty text at this key means that the key is missing. This applies to zot's keys only: an empty
/// limit of ours, such as `maxTokenLifetime`, is a mistake.
pub(super) fn is_left_out(value: &Value, path: &str) -> bool {
    let empty = value.as_str().is_some_and(str::is_empty);
    empty && EMPTY_IS_NOTHING.contains(&without_indices(path).as_str())
}

fn without_indices(path: &str) -> String {
    let mut depth = 0_u32;
    let outside = path.chars().filter(|c| {
        depth = match c {
            '[' => depth + 1,
            ']' => depth.saturating_sub(1),
            _ => depth,
        };
        depth == 0 && *c != ']'
    });
    outside.collect()
}

const EMPTY_IS_NOTHING: &[&str] = &[
    "distSpecVersion",
    "extensions.metrics.prometheus.path",
    "http.address",
    "http.allowOrigin",
    "http.auth.bearer.cert",
    "http.auth.bearer.oidc.certificateAuthority",
    "http.auth.bearer.oidc.certificateAuthorityFile",
    "http.auth.bearer.oidc.claimMapping.groups",
    "http.auth.bearer.oidc.claimMapping.username",
    "http.auth.bearer.realm",
    "http.auth.bearer.service",
    "http.auth.mtls.uriSanPattern",
    "http.externalURL",
    "http.tls.cacert",
    "http.tls.cert",
    "http.tls.key",
    "log.level",
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_of_other_types_are_read_as_zot_reads_them() {
        for (types, value, expected) in [
            (&["boolean", "null"][..], json!("true"), json!(true)),
            (&["boolean"], json!("T"), json!(true)),
            (&["boolean"], json!("0"), json!(false)),
            (&["boolean", "null"], json!(""), json!(false)),
            (&["boolean"], json!(1), json!(true)),
            (&["boolean"], json!(0.0), json!(false)),
            (&["boolean"], json!("yes"), json!("yes")),
            (&["boolean"], json!([true]), json!([true])),
            (&["integer", "null"], json!("5"), json!(5)),
            (&["integer"], json!(5.0), json!(5)),
            (&["integer"], json!(5.5), json!(5.5)),
            (&["integer"], json!("five"), json!("five")),
            (&["string"], json!(8080), json!("8080")),
            (&["string"], json!(true), json!(true)),
            (&["array"], json!("one"), json!(["one"])),
            (&["array"], json!(1), json!([1])),
            (&["array"], json!({"a": 1}), json!([{"a": 1}])),
            (&["array"], json!(""), json!([])),
            (&["array"], json!({}), json!([])),
            (&["array"], json!(null), json!([])),
            (&["object"], json!(null), json!({})),
            (&["object"], json!([]), json!({})),
            (&["object"], json!("text"), json!("text")),
        ] {
            let mut fitted = value.clone();
            fit(&mut fitted, types);
            assert_eq!(fitted, expected, "{value} as {types:?}");
        }
    }

    #[test]
    fn empty_text_means_not_set_only_at_keys_of_zot() {
        for (path, expected) in [
            ("http.address", true),
            ("http.auth.bearer.oidc[3].certificateAuthorityFile", true),
            ("http.auth.bearer.oidc[0].maxTokenLifetime", false),
            ("http.auth.deny[0].subject", false),
            ("http.auth.htpasswd.path", false),
        ] {
            assert_eq!(is_left_out(&json!(""), path), expected, "{path}");
            assert!(!is_left_out(&json!("x"), path), "{path}");
        }
    }
}
