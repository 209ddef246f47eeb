//! Escapes text for a terminal, which would obey control characters in it.

/// Returns the text on one line, with invisible characters escaped.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            _ => shown.extend(c.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_control_the_terminal() {
        let text = "a \"b\" \\ ü\u{1b}]0;title\u{7}\r\nok  \u{9b}2J\u{202e}x";
        assert_eq!(
            printable(text),
            "a \"b\" \\ ü\\u{1b}]0;title\\u{7}\\r\\nok  \\u{9b}2J\\u{202e}x"
        );
    }
}
