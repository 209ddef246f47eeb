//! Immutable tags: `immutableTags` of a repository pattern. A tag that matches can be created once. After
//! that only a caller with the right `override` can move or delete it. The registry asks the
//! [`Permit`](super::Permit) when it writes the tag.

use super::glob::{Glob, InvalidGlob};
use crate::oci::Tag;
use std::fmt;

/// The immutable tags of the repositories that one pattern applies to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImmutableTags {
    /// The pattern of `accessControl.repositories`.
    repositories: String,
    /// Each pattern as it was written, and compiled.
    patterns: Vec<(String, Glob)>,
    exceptions: Vec<(String, Glob)>,
}

impl ImmutableTags {
    /// `None` if no tag is immutable. On failure it returns every mistake, with the position of its pattern.
    pub(super) fn compile(
        repositories: &str,
        written: &[String],
    ) -> Result<Option<Self>, Vec<(Option<usize>, InvalidTagPattern)>> {
        let mut invalid = Vec::new();
        let mut compiled = Self {
            repositories: repositories.to_owned(),
            patterns: Vec::new(),
            exceptions: Vec::new(),
        };
        for (n, text) in written.iter().enumerate() {
            let (list, pattern) = match text.strip_prefix('!') {
                Some(exception) => (&mut compiled.exceptions, exception),
                None => (&mut compiled.patterns, text.as_str()),
            };
            match tag_pattern(pattern) {
                Ok(glob) => list.push((pattern.to_owned(), glob)),
                Err(why) => invalid.push((Some(n), why)),
            }
        }
        if compiled.patterns.is_empty() && !compiled.exceptions.is_empty() {
            invalid.push((None, InvalidTagPattern::OnlyExceptions));
        }
        if invalid.is_empty() {
            Ok((!compiled.patterns.is_empty()).then_some(compiled))
        } else {
            Err(invalid)
        }
    }

    /// The pattern of `accessControl.repositories` that the rules belong to.
    #[must_use]
    pub fn repositories(&self) -> &str {
        &self.repositories
    }

    /// The rule that makes this tag immutable, if one does.
    #[must_use]
    pub fn rule(&self, tag: &Tag) -> Option<ImmutableTag> {
        let matches = |(_, glob): &&(String, Glob)| glob.matches(tag.as_str());
        if tag.is_named_after_a_digest() || self.exceptions.iter().any(|one| matches(&one)) {
            return None;
        }
        self.patterns
            .iter()
            .find(matches)
            .map(|(pattern, _)| ImmutableTag {
                tag: tag.clone(),
                pattern: pattern.clone(),
                repositories: self.repositories.clone(),
            })
    }
}

impl fmt::Display for ImmutableTags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |all: &[(String, Glob)]| {
            let all: Vec<&str> = all.iter().map(|(text, _)| text.as_str()).collect();
            all.join(", ")
        };
        f.write_str(&list(&self.patterns))?;
        if self.exceptions.is_empty() {
            Ok(())
        } else {
            write!(f, ", except {}", list(&self.exceptions))
        }
    }
}

/// A tag, and the rule that makes it immutable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the tag {tag} is immutable, because accessControl.repositories[{repositories:?}].immutableTags has the pattern {pattern:?}: moving or \
     deleting the tag, and deleting its manifest, needs the right `override` in this repository"
)]
pub struct ImmutableTag {
    pub tag: Tag,
    pub pattern: String,
    /// The pattern of `accessControl.repositories` that the rule belongs to.
    pub repositories: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTagPattern {
    #[error("the pattern is empty; use `*` to match every tag")]
    Empty,
    #[error(
        "no tag contains `{0}`; a tag pattern is a glob, in which `*` matches any text, and not a regular expression"
    )]
    NotOfATag(char),
    #[error("only exceptions are listed, so no tag is immutable; add a pattern, such as `*`")]
    OnlyExceptions,
    #[error(transparent)]
    Glob(#[from] InvalidGlob),
}

/// Parses the pattern. Most regular expressions are rejected, because they contain characters that no tag
/// contains.
fn tag_pattern(pattern: &str) -> Result<Glob, InvalidTagPattern> {
    let mut before = None;
    for character in pattern.chars() {
        let of_a_tag = character.is_ascii_alphanumeric() || "_.-".contains(character);
        let negates = "!^".contains(character) && before == Some('[');
        if !(of_a_tag || negates || "*?[]{},".contains(character)) {
            return Err(InvalidTagPattern::NotOfATag(character));
        }
        before = Some(character);
    }
    if pattern.is_empty() {
        return Err(InvalidTagPattern::Empty);
    }
    Ok(Glob::parse(pattern)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(written: &[&str]) -> Result<Option<ImmutableTags>, Vec<(Option<usize>, InvalidTagPattern)>> {
        let written: Vec<String> = written.iter().map(|one| (*one).to_owned()).collect();
        ImmutableTags::compile("app/**", &written)
    }

    #[test]
    fn a_tag_is_immutable_if_a_pattern_matches_and_no_exception_does() {
        let digest = "0".repeat(64);
        let rules = compiled(&["!*-dev", "v[0-9]*", "stable", "sha256-*"])
            .unwrap()
            .unwrap();
        for (tag, pattern) in [
            ("v1", Some("v[0-9]*")),
            ("v1.2.3", Some("v[0-9]*")),
            ("v1-dev", None),
            ("V1", None),
            ("stable", Some("stable")),
            ("unstable", None),
            ("latest", None),
            (&format!("sha256-{digest}"), None),
            (&format!("sha256-{digest}.sig"), None),
            ("sha256-abc", Some("sha256-*")),
        ] {
            let rule = rules.rule(&tag.parse().unwrap()).map(|rule| rule.pattern);
            assert_eq!(rule.as_deref(), pattern, "{tag}");
        }
        assert_eq!(rules.to_string(), "v[0-9]*, stable, sha256-*, except *-dev");
        assert_eq!(compiled(&[]), Ok(None));
    }

    #[test]
    fn mistaken_patterns_are_rejected_with_their_position() {
        use InvalidTagPattern::{Empty, NotOfATag, OnlyExceptions};
        for (written, place, why) in [
            (["v*", ""], Some(1), Empty),
            (["v*", "!"], Some(1), Empty),
            (["^v[0-9]+$", "*"], Some(0), NotOfATag('^')),
            (["v\\d*", "*"], Some(0), NotOfATag('\\')),
            (["app/v*", "*"], Some(0), NotOfATag('/')),
            (["!latest", "!dev"], None, OnlyExceptions),
        ] {
            assert_eq!(compiled(&written), Err(vec![(place, why)]), "{written:?}");
        }
        assert!(compiled(&["v["]).is_err());
    }
}
