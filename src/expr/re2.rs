//! Translates patterns of RE2 for the `regex` crate. Most have the same syntax and meaning in both. The
//! differences: `\w`, `\d`, `\s` and `\b` mean ASCII in RE2 and Unicode in the crate, which would match more
//! names; `\Q..\E` quotes; a brace that is not a repetition is a plain character; and in a class the crate
//! has nested classes and operators (`[a&&b]`) where RE2 has plain characters.
//!
//! Syntax that only the crate has is rejected, as Go's RE2 does. In RE2 such a pattern has another meaning,
//! or none.

mod names;

use regex::Error;
use std::iter::Peekable;
use std::str::Chars;

/// The most repetitions, also of nested ones together.
const REPETITIONS: u32 = 1000;

/// Translates a pattern for the crate. Syntax that neither accepts is left for the crate to reject.
pub(super) fn translate(pattern: &str) -> Result<String, Error> {
    let translated = String::with_capacity(pattern.len());
    let mut translation = Translation {
        rest: pattern.chars().peekable(),
        translated,
        repeated: false,
        last: 1,
        groups: vec![],
        all_named: false,
    };
    while let Some(next) = translation.rest.next() {
        translation.piece(next)?;
    }
    Ok(translation.translated)
}

struct Translation<'a> {
    rest: Peekable<Chars<'a>>,
    translated: String,
    /// Whether the previous piece is a repetition.
    repeated: bool,
    /// How often nested counts repeat the previous piece.
    last: u32,
    /// For each enclosing group: how often counts repeat its content so far.
    groups: Vec<u32>,
    /// Whether no more `:]` follows.
    all_named: bool,
}

impl Translation<'_> {
    fn piece(&mut self, next: char) -> Result<(), Error> {
        if matches!(next, '*' | '+' | '?') {
            self.translated.push(next);
            return self.repetition(1);
        }
        if let ('{', Some(counts)) = (next, counts(self.rest.clone())) {
            self.translated.push('{');
            self.translated.extend(self.rest.by_ref().take(counts.length));
            return self.repetition(counts.times);
        }
        self.repeated = false;
        self.ends_a_piece();
        match next {
            '\\' => match self.rest.next() {
                Some('Q') => self.quoted(),
                Some('b') => self.translated.push_str(r"(?-u:\b)"),
                Some('B') => self.translated.push_str(r"(?-u:\B)"),
                Some(escaped) => self.escape(escaped)?,
                None => self.translated.push('\\'),
            },
            '[' => self.class()?,
            '{' => self.translated.push_str(r"\{"),
            '(' => {
                self.translated.push('(');
                self.groups.push(1);
                if self.rest.next_if_eq(&'?').is_some() {
                    self.translated.push('?');
                    self.flags()?;
                }
            }
            ')' => {
                self.translated.push(')');
                self.last = self.groups.pop().unwrap_or(1);
            }
            other => self.translated.push(other),
        }
        Ok(())
    }

    /// Sets the repetitions of the enclosing group to those of its most repeated piece.
    fn ends_a_piece(&mut self) {
        if let Some(group) = self.groups.last_mut() {
            *group = self.last.max(*group);
        }
        self.last = 1;
    }

    /// Handles a repetition operator that was just read.
    fn repetition(&mut self, times: u32) -> Result<(), Error> {
        if self.repeated {
            return Err(refused(
                "a repetition cannot be repeated; put it into a group, as in (?:a*)*",
            ));
        }
        self.translated.extend(self.rest.next_if_eq(&'?'));
        self.repeated = true;
        self.last = self.last.saturating_mul(times);
        if times > REPETITIONS || self.last > REPETITIONS {
            return Err(refused(
                "a piece can be repeated at most 1000 times, counts of nested groups multiplied",
            ));
        }
        Ok(())
    }

    /// Translates what follows `(?`.
    fn flags(&mut self) -> Result<(), Error> {
        if self.is_named_group() {
            // RE2 accepts more names than the crate. Names do not matter here, so they are dropped.
            self.translated.pop();
            self.rest.by_ref().find(|c| *c == '<');
            let name: String = self.rest.by_ref().take_while(|c| *c != '>').collect();
            let plain = !name.is_empty() && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
            return if plain {
                Ok(())
            } else {
                Err(refused("a group's name consists of letters, digits and `_`"))
            };
        }
        for flag in self.rest.by_ref() {
            match flag {
                'i' | 'm' | 's' | 'U' | '-' => self.translated.push(flag),
                ':' => {
                    self.translated.push(':');
                    return Ok(());
                }
                ')' => {
                    // These are flags for the rest of the enclosing group, not a group.
                    self.translated.push(')');
                    self.groups.pop();
                    return Ok(());
                }
                other => {
                    return Err(refused(&format!(
                        "there is no (?{other}; the flags are i, m, s and U"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Whether the group is `(?P<name>..)` or `(?<name>..)`, after the question mark.
    fn is_named_group(&self) -> bool {
        let mut ahead = self.rest.clone();
        ahead.next_if_eq(&'P');
        ahead.next() == Some('<')
    }

    /// Quotes the text up to `\E` or to the end.
    fn quoted(&mut self) {
        let mut text = String::new();
        while let Some(next) = self.rest.next() {
            if next == '\\' && self.rest.next_if_eq(&'E').is_some() {
                break;
            }
            text.push(next);
        }
        self.translated.push_str(&regex::escape(&text));
    }

    /// Translates what follows a backslash, in a class or outside.
    fn escape(&mut self, escaped: char) -> Result<(), Error> {
        self.translated.push_str(match escaped {
            'd' => "[0-9]",
            'D' => "[^0-9]",
            'w' => "[0-9A-Za-z_]",
            'W' => "[^0-9A-Za-z_]",
            's' => r"[\t\n\f\r\x20]",
            'S' => r"[^\t\n\f\r\x20]",
            // The crate reads `\<` and `\>` as word boundaries.
            '<' => "<",
            '>' => ">",
            'p' | 'P' => return self.named(escaped == 'P'),
            'x' => return self.number(),
            '0'..='7' => return self.octal(escaped),
            'u' | 'U' => return Err(refused(r"\u and \U are not supported; write \x{..}")),
            other => {
                self.translated.push('\\');
                self.translated.push(other);
                return Ok(());
            }
        });
        Ok(())
    }

    /// Translates what follows `\x`: two digits, or any number of digits in braces. The crate checks the
    /// digits.
    fn number(&mut self) -> Result<(), Error> {
        self.translated.push_str(r"\x");
        match self.rest.next_if_eq(&'{') {
            Some(_) => {
                let digits = self.braced()?;
                self.translated.extend(["{", &digits, "}"]);
            }
            None => self.translated.extend(self.rest.by_ref().take(2)),
        }
        Ok(())
    }

    /// Translates up to three octal digits. A single one other than zero would be a backreference.
    fn octal(&mut self, first: char) -> Result<(), Error> {
        let mut digits = first.to_string();
        while digits.len() < 3
            && let Some(digit) = self.rest.next_if(|c| matches!(c, '0'..='7'))
        {
            digits.push(digit);
        }
        let value = u32::from_str_radix(&digits, 8).unwrap_or_default();
        if digits.len() == 1 && value > 0 {
            return Err(refused("backreferences are not supported"));
        }
        self.translated.push_str(&format!(r"\x{{{value:x}}}"));
        Ok(())
    }

    /// Reads up to the closing brace, after the opening one.
    fn braced(&mut self) -> Result<String, Error> {
        let mut text = String::new();
        loop {
            match self.rest.next() {
                Some('}') => return Ok(text),
                Some(next) => text.push(next),
                None => return Err(refused("a brace is not closed")),
            }
        }
    }

    /// Translates what follows `\p` or `\P`: one letter, or a name in braces.
    fn named(&mut self, negated: bool) -> Result<(), Error> {
        let name = match self.rest.next() {
            Some('{') => self.braced()?,
            first => first.into_iter().collect(),
        };
        let (negated, name) = name
            .strip_prefix('^')
            .map_or((negated, name.as_str()), |name| (!negated, name));
        if !names::is_known(name) {
            return Err(refused(&format!(
                r"\p knows no {name:?}; it knows general categories, as in \p{{Lu}}, and scripts, as in \p{{Greek}}"
            )));
        }
        self.translated.push_str(if negated { r"\P{" } else { r"\p{" });
        self.translated.push_str(name);
        self.translated.push('}');
        Ok(())
    }

    /// Translates a class after its opening bracket.
    fn class(&mut self) -> Result<(), Error> {
        self.translated.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.translated.push('^');
        }
        let mut first = true;
        while let Some(next) = self.rest.next() {
            if next == ']' && !first {
                self.translated.push(']');
                return Ok(());
            }
            first = false;
            if next == '[' && self.rest.peek() == Some(&':') && self.named_class()? {
                continue;
            }
            let is_range = if next == '\\' {
                let Some(escaped) = self.rest.next() else { break };
                self.escape(escaped)?;
                !matches!(escaped, 'd' | 'D' | 'w' | 'W' | 's' | 'S' | 'p' | 'P')
            } else {
                self.member(next);
                true
            };
            if is_range {
                self.range()?;
            }
        }
        Ok(())
    }

    /// Translates the rest of a range, if there is one here.
    fn range(&mut self) -> Result<(), Error> {
        let mut ahead = self.rest.clone();
        if ahead.next() != Some('-') || matches!(ahead.next(), None | Some(']')) {
            return Ok(());
        }
        self.rest.next();
        self.translated.push('-');
        match self.rest.next() {
            Some('\\') => match self.rest.next() {
                Some('d' | 'D' | 'w' | 'W' | 's' | 'S' | 'p' | 'P') | None => {
                    return Err(refused("a class cannot end a range"));
                }
                Some(last) => return self.escape(last),
            },
            last => last.into_iter().for_each(|last| self.member(last)),
        }
        Ok(())
    }

    /// Adds a character of a class, escaped so that the crate reads it as plain.
    fn member(&mut self, plain: char) {
        if matches!(plain, '[' | ']' | '-' | '&' | '~' | '^') {
            self.translated.push('\\');
        }
        self.translated.push(plain);
    }

    /// Translates `[:alpha:]` from its colon on. Rejects an unknown name before `:]`.
    fn named_class(&mut self) -> Result<bool, Error> {
        let text: String = if self.all_named {
            String::new()
        } else {
            self.rest.clone().skip(1).collect()
        };
        let Some((name, _)) = text.split_once(":]") else {
            self.all_named = true;
            return Ok(false);
        };
        if !CLASSES.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return Err(refused(&format!(
                "there is no class [:{name}:]; there is {}",
                CLASSES.join(", ")
            )));
        }
        self.translated.push_str(&format!("[:{name}:]"));
        self.rest.nth(name.len().saturating_add(2));
        Ok(true)
    }
}

const CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

struct Counts {
    times: u32,
    /// The length in characters, without the opening brace.
    length: usize,
}

/// Reads `{n}`, `{n,}` or `{n,m}`, after the opening brace. `None` if it is anything else, which is plain
/// text.
fn counts(rest: Peekable<Chars<'_>>) -> Option<Counts> {
    let inside: String = rest
        .clone()
        .take_while(|c| matches!(c, '0'..='9' | ','))
        .collect();
    let closed = rest.clone().nth(inside.len()) == Some('}');
    let (least, most) = inside.split_once(',').unwrap_or((&inside, &inside));
    let is_number = |digits: &str| {
        digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'))
    };
    if !closed || least.is_empty() || !is_number(least) || !is_number(most) {
        return None;
    }
    let number = |digits: &str| digits.parse().unwrap_or(u32::MAX);
    let times = if most.is_empty() {
        number(least)
    } else {
        number(most).max(number(least))
    };
    Some(Counts {
        times,
        length: inside.len().saturating_add(1),
    })
}

fn refused(why: &str) -> Error {
    Error::Syntax(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::regexes::build;

    /// Each result is the one of Go's `regexp`.
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
            ("L", r"^[\pL-z]$", true),
            ("-", r"^[\pL-z]$", true),
            ("!", r"^[\p{L}-z]$", false),
            ("~", r"^[\p{^L}-z]$", true),
            ("a", r"^\P{^L}$", true),
            ("α", r"^\p{greek}\p{^Latin}?$", true),
            ("A", r"^\p{Uppercase_Letter}$", true),
            ("b", r"^[!-\>b]$", true),
            ("=", r"^[!-\>]$", true),
            ("y", r"^[\x61-\x7a]$", true),
            ("{", r"^[\x61-\x{007b}]$", true),
            ("a{", "^a{$", true),
            ("a{,2}", "^a{,2}$", true),
            ("a{01}", "^a{01}$", true),
            ("a{ 1}", "^a{ 1}$", true),
            ("a{start}", r"^a\b{start}$", true),
            ("AAA", r"^\x{41}{3}$", true),
            ("aaaa", "^(?:a{2}){2}$", true),
            ("aa", "^(?:a*)*$", true),
            ("aa", "^a*?$", true),
            ("A\nb", "(?i:a)(?s:.)(?U)b", true),
            ("ab", "^(?P<1>a)(?<1>b)$", true),
            ("a\0b", r"^\141\0[\101-\1522]$", true),
            ("a12", r"^[\1412]\0612$", true),
            ("a\n", "a$", false),
            ("é", "^.$", true),
        ] {
            let compiled = build(pattern).unwrap_or_else(|why| panic!("{pattern}: {why}"));
            assert_eq!(compiled.regex.is_match(text), matches, "{text:?} {pattern}");
        }
        for pattern in [
            "(a", "a)", r"\", "[a", r"(?=a)", r"(?<=a)", r"\Z", r"a\", "[a-\\d]", "[z-a]",
        ] {
            assert!(build(pattern).is_err(), "{pattern}");
        }
    }

    /// Go rejects each of these and the crate accepts it.
    #[test]
    fn syntax_that_only_the_crate_has_is_rejected_in_plain_words() {
        for (pattern, why) in [
            ("(?x)^a b$", "there is no (?x; the flags are i, m, s and U"),
            ("(?R)a", "there is no (?R; the flags are i, m, s and U"),
            ("(?u)a", "there is no (?u; the flags are i, m, s and U"),
            (r"(?-u)\w", "there is no (?u; the flags are i, m, s and U"),
            ("(?i-x:a)", "there is no (?x; the flags are i, m, s and U"),
            ("(?<a.b>c)", "a group's name consists of letters, digits and `_`"),
            (
                "a**",
                "a repetition cannot be repeated; put it into a group, as in (?:a*)*",
            ),
            (
                "a*+",
                "a repetition cannot be repeated; put it into a group, as in (?:a*)*",
            ),
            (
                "a???",
                "a repetition cannot be repeated; put it into a group, as in (?:a*)*",
            ),
            (
                "x{2}{3}",
                "a repetition cannot be repeated; put it into a group, as in (?:a*)*",
            ),
            (
                "a{1001}",
                "a piece can be repeated at most 1000 times, counts of nested groups multiplied",
            ),
            (
                "a{1,99999999999}",
                "a piece can be repeated at most 1000 times, counts of nested groups multiplied",
            ),
            (
                "(?:(a{100}b){10}c){2}",
                "a piece can be repeated at most 1000 times, counts of nested groups multiplied",
            ),
            (r"\u0041", r"\u and \U are not supported; write \x{..}"),
            (r"[\U00000041]", r"\u and \U are not supported; write \x{..}"),
            (r"(a)\1", "backreferences are not supported"),
            (r"\x{41", "a brace is not closed"),
            (r"\p{Greek", "a brace is not closed"),
        ] {
            let found = build(pattern).map(drop).unwrap_err();
            assert_eq!(found, regex::Error::Syntax(why.to_owned()), "{pattern}");
        }
        for pattern in [
            r"\p{Alphabetic}",
            r"\p{sc=Greek}",
            r"\p{isGreek}",
            r"\p{Grek}",
            r"[\p{Emoji}]",
            r"\p{}",
            r"\p",
            r"\pq",
        ] {
            let why = build(pattern).map(drop).unwrap_err().to_string();
            assert!(
                why.contains("general categories") && why.contains("scripts"),
                "{pattern}: {why}"
            );
        }
        for pattern in ["[[:foo:]]", "[[:a]b:]", "[[::]]", "[[:^:]]"] {
            let why = build(pattern).map(drop).unwrap_err().to_string();
            assert!(why.contains("there is alnum, alpha"), "{pattern}: {why}");
        }
    }

    /// If the crate lacked one of Go's names, the error would be in the crate's words.
    #[test]
    fn the_crate_knows_the_names_of_categories_and_scripts() {
        for name in super::names::all() {
            assert!(
                build(&format!(r"\p{{{name}}}")).is_ok() || name == "cs" || name == "surrogate",
                "{name}"
            );
        }
    }
}
