//! Patterns over repository names. They mean the same as in zot, which uses
//! `github.com/bmatcuk/doublestar/v4`.
//!
//! `*` matches within one segment. `**` as a whole segment matches any number of segments, including none, so
//! `app/**` matches `app`. `?` matches one character, `[a-z]` and `[!a-z]` match one of a class, and `{a,b}`
//! matches either. A backslash makes the next character literal. Two cases are deliberately stricter than in
//! zot: a class never matches `/`, and `**` next to other characters inside braces stays within its segment.

/// More alternatives would be a mistake, or an attack on the start-up time.
const ALTERNATIVES: usize = 256;
/// A repository name has at most 230 characters.
const PATTERN_BYTES: usize = 1024;

/// A parsed pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    alternatives: Vec<Vec<Segment>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// `**`
    AnyDepth,
    Of(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Literal(char),
    /// `?`
    One,
    /// `*`
    Many,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Glob {
    pub(super) fn parse(pattern: &str) -> Result<Self, InvalidGlob> {
        if pattern.is_empty() {
            return Err(InvalidGlob::Empty);
        }
        if pattern.len() > PATTERN_BYTES {
            return Err(InvalidGlob::TooLong);
        }
        let alternatives = expand(pattern)?;
        let alternatives = alternatives
            .iter()
            .map(|one| segments(one))
            .collect::<Result<_, _>>()?;
        Ok(Self { alternatives })
    }

    /// Returns `**`, which matches every name.
    pub(super) fn any() -> Self {
        Self {
            alternatives: vec![vec![Segment::AnyDepth]],
        }
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        let name: Vec<&str> = name.split('/').collect();
        self.alternatives
            .iter()
            .any(|pattern| path_matches(pattern, &name))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGlob {
    #[error("the pattern is empty; use `**` to match every repository")]
    Empty,
    #[error("the pattern is longer than {PATTERN_BYTES} bytes")]
    TooLong,
    #[error("a `[` has no closing `]` in its segment; close it, or write `\\[` for the character")]
    UnclosedClass,
    #[error("`[]` is an empty class; list the characters it should match")]
    EmptyClass,
    #[error("a `{{` has no closing `}}`; close it, or write `\\{{` for the character")]
    UnclosedBrace,
    #[error("a `}}` closes nothing; remove it, or write `\\}}` for the character")]
    UnopenedBrace,
    #[error("the pattern ends in a `\\` that escapes nothing; remove it")]
    DanglingEscape,
    #[error("the braces stand for more than {ALTERNATIVES} patterns; split the entry")]
    TooManyAlternatives,
}

/// Returns every pattern that the braces stand for.
fn expand(pattern: &str) -> Result<Vec<String>, InvalidGlob> {
    let mut pending = vec![pattern.to_owned()];
    let mut done = Vec::new();
    while let Some(next) = pending.pop() {
        match first_braces(&next)? {
            None => done.push(next),
            Some(Braces {
                before,
                choices,
                after,
            }) => pending.extend(choices.iter().map(|choice| format!("{before}{choice}{after}"))),
        }
        if pending.len() + done.len() > ALTERNATIVES {
            return Err(InvalidGlob::TooManyAlternatives);
        }
    }
    Ok(done)
}

/// The first braces of a pattern, and the text around them.
struct Braces<'a> {
    before: &'a str,
    choices: Vec<&'a str>,
    after: &'a str,
}

/// Finds the first braces. Braces in a class are literal characters.
fn first_braces(pattern: &str) -> Result<Option<Braces<'_>>, InvalidGlob> {
    let mut characters = pattern.char_indices();
    let mut class = false;
    let open = loop {
        match characters.next() {
            None => return Ok(None),
            Some((_, '\\')) => drop(characters.next()),
            Some((_, '[')) => class = true,
            Some((_, ']' | '/')) => class = false,
            Some((_, '}')) if !class => return Err(InvalidGlob::UnopenedBrace),
            Some((at, '{')) if !class => break at,
            Some(_) => {}
        }
    };
    let (before, rest) = pattern.split_at(open);
    let rest = rest.strip_prefix('{').unwrap_or(rest);
    let mut depth = 0_usize;
    let mut start = 0;
    let mut choices = Vec::new();
    let mut characters = rest.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '{' => depth += 1,
            ',' if depth == 0 => {
                choices.push(rest.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            '}' if depth == 0 => {
                choices.push(rest.get(start..at).unwrap_or_default());
                let after = rest.get(at + 1..).unwrap_or_default();
                return Ok(Some(Braces {
                    before,
                    choices,
                    after,
                }));
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    Err(InvalidGlob::UnclosedBrace)
}

fn segments(pattern: &str) -> Result<Vec<Segment>, InvalidGlob> {
    pattern
        .split('/')
        .map(|text| {
            if text == "**" {
                Ok(Segment::AnyDepth)
            } else {
                tokens(text).map(Segment::Of)
            }
        })
        .collect()
}

fn tokens(segment: &str) -> Result<Vec<Token>, InvalidGlob> {
    let mut tokens = Vec::new();
    let mut characters = segment.chars();
    while let Some(character) = characters.next() {
        tokens.push(match character {
            '*' if tokens.last() == Some(&Token::Many) => continue,
            '*' => Token::Many,
            '?' => Token::One,
            '[' => class(&mut characters)?,
            '\\' => Token::Literal(characters.next().ok_or(InvalidGlob::DanglingEscape)?),
            literal => Token::Literal(literal),
        });
    }
    Ok(tokens)
}

/// Parses the rest of a class after its `[`.
fn class(characters: &mut std::str::Chars<'_>) -> Result<Token, InvalidGlob> {
    let negated = characters.as_str().starts_with(['!', '^']);
    if negated {
        characters.next();
    }
    let mut ranges = Vec::new();
    loop {
        let low = match characters.next().ok_or(InvalidGlob::UnclosedClass)? {
            ']' if ranges.is_empty() => return Err(InvalidGlob::EmptyClass),
            ']' => return Ok(Token::Class { negated, ranges }),
            '\\' => characters.next().ok_or(InvalidGlob::UnclosedClass)?,
            other => other,
        };
        let range = characters
            .as_str()
            .strip_prefix('-')
            .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(']'));
        if !range {
            ranges.push((low, low));
            continue;
        }
        characters.next();
        let high = match characters.next().ok_or(InvalidGlob::UnclosedClass)? {
            '\\' => characters.next().ok_or(InvalidGlob::UnclosedClass)?,
            other => other,
        };
        ranges.push((low, high));
    }
}

fn path_matches(pattern: &[Segment], name: &[&str]) -> bool {
    matches_with_gaps(
        pattern,
        name,
        |segment| *segment == Segment::AnyDepth,
        |segment, text| match segment {
            Segment::AnyDepth => true,
            Segment::Of(tokens) => segment_matches(tokens, text),
        },
    )
}

fn segment_matches(tokens: &[Token], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    matches_with_gaps(
        tokens,
        &text,
        |token| *token == Token::Many,
        |token, character| match token {
            Token::Many | Token::One => true,
            Token::Literal(literal) => literal == character,
            Token::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (low..=high).contains(&character)) != *negated
            }
        },
    )
}

/// Matches greedily and backtracks only to the last gap. That suffices, because a later gap can match
/// whatever an earlier one could. The cost is at most the product of the lengths.
fn matches_with_gaps<P, T>(
    pattern: &[P],
    text: &[T],
    is_gap: impl Fn(&P) -> bool,
    fits: impl Fn(&P, &T) -> bool,
) -> bool {
    let mut at_pattern = 0;
    let mut at_text = 0;
    let mut last_gap = None;
    while let Some(element) = text.get(at_text) {
        match pattern.get(at_pattern) {
            Some(part) if is_gap(part) => {
                at_pattern += 1;
                last_gap = Some((at_pattern, at_text));
            }
            Some(part) if fits(part, element) => {
                at_pattern += 1;
                at_text += 1;
            }
            _ => match &mut last_gap {
                None => return false,
                Some((after_gap, taken)) => {
                    *taken += 1;
                    at_text = *taken;
                    at_pattern = *after_gap;
                }
            },
        }
    }
    pattern.iter().skip(at_pattern).all(is_gap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_doublestar_means() {
        for (pattern, yes, no) in [
            ("app", &["app"][..], &["apps", "app/x", "x/app", "ap"][..]),
            ("*", &["a", "abc"], &["a/b"]),
            ("**", &["a", "a/b", "a/b/c"], &[]),
            ("app/*", &["app/a"], &["app", "app/a/b"]),
            ("app/**", &["app", "app/a", "app/a/b"], &["apps", "x/app"]),
            ("**/app", &["app", "x/app", "x/y/app"], &["app/x", "xapp"]),
            ("a/**/z", &["a/z", "a/b/z", "a/b/c/z"], &["a/b", "az", "a/bz"]),
            ("**/b/**/d", &["b/d", "a/b/c/b/x/d"], &["b", "d", "a/d"]),
            ("a**", &["a", "abc"], &["a/b"]),
            ("a**/c", &["ab/c"], &["a/b/c"]),
            ("***", &["a"], &["a/b"]),
            ("a*b*c", &["abc", "axbxbxc"], &["abcd", "ab/c"]),
            ("a?c", &["abc"], &["ac", "abbc", "a/c"]),
            ("[a-c0]x", &["ax", "cx", "0x"], &["dx", "-x"]),
            ("[!a-c]x", &["dx"], &["ax"]),
            ("[^a]x", &["bx"], &["ax"]),
            ("a[!b]c", &["axc"], &["abc", "a/c"]),
            ("[a-]x", &["ax", "-x"], &["bx"]),
            ("[a\\]]x", &["ax"], &["bx"]),
            ("{a,b}", &["a", "b"], &["c", "ab"]),
            ("{a,b/c}/*", &["a/x", "b/c/x"], &["b/x"]),
            ("x{,y{1,2}}", &["x", "xy1", "xy2"], &["xy"]),
            ("{a,b}/{**,c}", &["a", "a/q/r", "b/c"], &["c/c"]),
            ("a\\*", &[], &["ab"]),
            ("[{]a,b", &[], &["a", "b"]),
        ] {
            let glob = Glob::parse(pattern).unwrap();
            for name in yes {
                assert!(glob.matches(name), "{pattern} should match {name}");
            }
            for name in no {
                assert!(!glob.matches(name), "{pattern} should not match {name}");
            }
        }
    }

    #[test]
    fn invalid_patterns_are_refused() {
        let many = "{a,b}".repeat(9);
        let long = "a".repeat(PATTERN_BYTES + 1);
        for (pattern, why) in [
            ("", InvalidGlob::Empty),
            ("[a", InvalidGlob::UnclosedClass),
            ("[a/b]", InvalidGlob::UnclosedClass),
            ("[a-", InvalidGlob::UnclosedClass),
            ("[", InvalidGlob::UnclosedClass),
            ("a[]", InvalidGlob::EmptyClass),
            ("a[!]", InvalidGlob::EmptyClass),
            ("{a,b", InvalidGlob::UnclosedBrace),
            ("{a,{b}", InvalidGlob::UnclosedBrace),
            ("a}", InvalidGlob::UnopenedBrace),
            ("a\\", InvalidGlob::DanglingEscape),
            (&many, InvalidGlob::TooManyAlternatives),
            (&long, InvalidGlob::TooLong),
        ] {
            assert_eq!(Glob::parse(pattern).map(|_| ()), Err(why), "{pattern}");
        }
    }

    #[test]
    fn many_stars_stay_cheap() {
        let glob = Glob::parse(&"a*".repeat(100)).unwrap();
        assert!(!glob.matches(&format!("{}b", "a".repeat(99))));
        let glob = Glob::parse(&format!("{}b", "**/a*a*/".repeat(40))).unwrap();
        assert!(!glob.matches(&"aaa/".repeat(50)));
    }
}
