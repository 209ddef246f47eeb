//! RE2's patterns as the `regex` crate reads them. Most are the same text with the same meaning; these are
//! not: `\w`, `\d`, `\s` and `\b` are about ASCII in RE2 and about Unicode in the crate, which would let more
//! names match; `\Q..\E` quotes; and in a class the crate knows nested classes and operators (`[a&&b]`) where
//! RE2 has plain characters.

use std::iter::Peekable;
use std::str::Chars;

/// The same pattern for the crate. What neither of them accepts stays as it is, for the crate to refuse.
pub(super) fn translate(pattern: &str) -> String {
    let mut translated = String::with_capacity(pattern.len());
    let mut rest = pattern.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '\\' => match rest.next() {
                Some('Q') => quoted(&mut rest, &mut translated),
                Some('b') => translated.push_str(r"(?-u:\b)"),
                Some('B') => translated.push_str(r"(?-u:\B)"),
                Some(escaped) => escape(escaped, &mut translated),
                None => translated.push('\\'),
            },
            '[' => class(&mut rest, &mut translated),
            other => translated.push(other),
        }
    }
    translated
}

/// Up to `\E`, or to the end.
fn quoted(rest: &mut Peekable<Chars<'_>>, translated: &mut String) {
    let mut text = String::new();
    while let Some(next) = rest.next() {
        if next == '\\' && rest.next_if_eq(&'E').is_some() {
            break;
        }
        text.push(next);
    }
    translated.push_str(&regex::escape(&text));
}

/// After a backslash, in a class or outside.
fn escape(escaped: char, translated: &mut String) {
    translated.push_str(match escaped {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        's' => r"[\t\n\f\r\x20]",
        'S' => r"[^\t\n\f\r\x20]",
        // The crate takes these for the borders of words.
        '<' => "<",
        '>' => ">",
        other => {
            translated.push('\\');
            translated.push(other);
            return;
        }
    });
}

/// What follows an opening bracket, with the closing one.
fn class(rest: &mut Peekable<Chars<'_>>, translated: &mut String) {
    translated.push('[');
    if rest.next_if_eq(&'^').is_some() {
        translated.push('^');
    }
    let mut first = true;
    while let Some(next) = rest.next() {
        if next == ']' && !first {
            translated.push(']');
            return;
        }
        first = false;
        let named = next == '[' && rest.peek() == Some(&':');
        if named && let Some(name) = named_class(rest) {
            translated.push_str(&name);
            continue;
        }
        let is_range = if next == '\\' {
            let Some(escaped) = rest.next() else { break };
            escape(escaped, translated);
            !matches!(escaped, 'd' | 'D' | 'w' | 'W' | 's' | 'S' | 'p' | 'P' | 'x')
        } else {
            member(next, translated);
            true
        };
        range(is_range, rest, translated);
    }
}

/// The rest of a range, if one begins here: its last character. A class cannot end one, so an escape stays as
/// it is.
fn range(may_be: bool, rest: &mut Peekable<Chars<'_>>, translated: &mut String) {
    let mut ahead = rest.clone();
    if !may_be || ahead.next() != Some('-') || matches!(ahead.next(), None | Some(']')) {
        return;
    }
    rest.next();
    translated.push('-');
    match rest.next() {
        Some('\\') => {
            translated.push('\\');
            translated.extend(rest.next());
        }
        last => last.into_iter().for_each(|last| member(last, translated)),
    }
}

/// A plain character, safe from what it would mean to the crate.
fn member(plain: char, translated: &mut String) {
    if matches!(plain, '[' | ']' | '-' | '&' | '~' | '^') {
        translated.push('\\');
    }
    translated.push(plain);
}

/// `[:alpha:]` from its colon on.
fn named_class(rest: &mut Peekable<Chars<'_>>) -> Option<String> {
    let name: String = rest
        .clone()
        .skip(1)
        .take_while(|c| c.is_ascii_lowercase() || *c == '^')
        .collect();
    let whole = format!("[:{name}:]");
    let matches = rest.clone().take(whole.len() - 1).eq(whole.chars().skip(1));
    if matches {
        rest.nth(whole.len() - 2);
    }
    matches.then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::super::regexes::build;

    /// Each verdict is that of Go's `regexp`.
    #[test]
    fn patterns_mean_what_they_do_in_re2() {
        for (text, pattern, matches) in [
            ("é", r"\w", false),
            ("é", r"^\W$", true),
            ("é", r"[\w]", false),
            ("é", r"[^\w]", true),
            ("\u{663}", r"\d", false),
            ("\u{663}", r"[^\d]", true),
            ("\u{a0}", r"\s", false),
            ("\u{b}", r"\s", false),
            (" ", r"^[\s]$", true),
            ("<a>", r"^\<a\>$", true),
            ("a", r"^\<a\>$", false),
            ("<", r"^[\<]$", true),
            ("éa", r"\ba", true),
            ("aéa", r"a\b", true),
            ("a-b_c", r"^[\w-]+$", true),
            ("-", r"[\d-z]", true),
            ("m", r"[\d-z]", false),
            ("K", "(?i)k", true),
            ("\u{212a}", r"(?i)^\w$", true),
            ("\u{17f}", r"(?i)^[\w]$", true),
            ("\u{212a}", r"^\w$", false),
            ("&", "[a&&b]", true),
            ("a", "[a&&b]", true),
            ("~", "[a~~b]", true),
            ("-", "[+--]", true),
            (".", "[+--]", false),
            ("[", "[[]", true),
            ("a", "[a[b]", true),
            ("]", "[]]", true),
            ("a", "[]a]", true),
            ("a", "[^]b]", true),
            ("-", "[a-]", true),
            ("-", "[-a]", true),
            ("^", "[a^]", true),
            ("^", r"[\^]", true),
            ("a", "[[:alpha:]]", true),
            ("é", "[[:^alpha:]]", true),
            (":", "[[:al]", true),
            ("/", "[--/]", true),
            ("a.b", r"^\Qa.b\E$", true),
            ("axb", r"^\Qa.b\E$", false),
            ("a.b", r"^\Qa.b", true),
            ("a/b", r"a\/b", true),
            ("a", r"\pL", true),
            ("é", r"[\p{Latin}]", true),
            ("b", r"[\x61-\x63]", true),
            ("-", r"[\x61-\x63]", false),
            ("d", r"[\x{61}-c]", false),
            ("a\n", "a$", false),
            ("é", "^.$", true),
        ] {
            let compiled = build(pattern).unwrap_or_else(|why| panic!("{pattern}: {why}"));
            assert_eq!(compiled.regex.is_match(text), matches, "{text:?} {pattern}");
        }
        for pattern in ["(a", "a)", r"\", "[a", r"(?=a)", r"\Z", r"a\", "[a-\\d]", "[z-a]"] {
            assert!(build(pattern).is_err(), "{pattern}");
        }
    }
}
