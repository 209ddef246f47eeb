//! `Warning` headers, which clients show to their users (distribution-spec, Warnings; RFC 7234, 5.5). They
//! have the code 299 and neither an agent nor a date.

use http::HeaderValue;

/// The bound on the bytes of a warning.
const MOST: usize = 4096;

/// The value of the header. A character that cannot stand in a quoted string becomes a question mark, and a
/// long text is cut.
pub(super) fn value(text: &str) -> Option<HeaderValue> {
    const FRAME: &str = "299 - \"\"";
    let mut value = String::from("299 - \"");
    for character in text.chars() {
        let plain = if character.is_ascii_graphic() || character == ' ' {
            character
        } else {
            '?'
        };
        let escaped = matches!(plain, '"' | '\\');
        if value.len() + FRAME.len() + usize::from(escaped) > MOST {
            break;
        }
        if escaped {
            value.push('\\');
        }
        value.push(plain);
    }
    value.push('"');
    HeaderValue::from_str(&value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_a_quoted_string_of_bounded_length() {
        assert_eq!(value("nothing is lost").unwrap(), "299 - \"nothing is lost\"");
        assert_eq!(
            value("say \"a\\b\"\n\u{e9}").unwrap(),
            r#"299 - "say \"a\\b\"??""#
        );
        let long = value(&"\"".repeat(10_000)).unwrap();
        assert!(
            long.len() <= MOST && long.to_str().unwrap().ends_with("\\\"\""),
            "{}",
            long.len()
        );
    }
}
