//! `storage.retention`

use super::Interpreter;
use crate::config::raw;
use crate::registry::retention::{Keep, KeepTags, Patterns, Policy, Retention, Share};

/// The rules that `keepTags` and `keepUntagged` share.
struct Rules {
    most_recently_pulled_count: Option<i64>,
    most_recently_pushed_count: Option<i64>,
    pulled_within: Option<String>,
    pushed_within: Option<String>,
}

impl Interpreter<'_> {
    /// `applies` says whether the registry collects garbage while it serves.
    pub(super) fn retention(&mut self, raw: Option<raw::Retention>, applies: bool) -> Retention {
        let raw = raw.unwrap_or_default();
        let delay = self.optional_duration(format!("{KEY}.delay"), raw.delay.as_deref());
        let max_share = self.share(format!("{KEY}.maxShare"), raw.max_share);
        let mut catch_all: Option<String> = None;
        let mut policies = Vec::new();
        for (i, policy) in raw.policies.into_iter().enumerate() {
            let key = format!("{KEY}.policies[{i}]");
            if let Some(earlier) = &catch_all {
                let what =
                    format!("is never used, because {earlier} matches every repository: move it before that");
                self.warn(key.clone(), what);
            } else if policy.repositories.is_empty() {
                self.warn(
                    format!("{key}.repositories"),
                    "is empty, so the policy is never used; `**` matches every repository",
                );
            } else if policy.repositories.iter().any(|pattern| pattern == "**") {
                catch_all = Some(key.clone());
            }
            policies.push(self.policy(&key, policy));
        }
        if !policies.is_empty() && !applies {
            self.warn(
                KEY,
                "is not applied while the registry serves, because storage.gc is false",
            );
        }
        Retention {
            dry_run: raw.dry_run.unwrap_or(false),
            delay,
            max_share: max_share.unwrap_or_default(),
            policies,
        }
    }

    fn policy(&mut self, key: &str, raw: raw::RetentionPolicy) -> Policy {
        for (i, pattern) in raw.repositories.iter().enumerate() {
            if matches_no_repository(pattern) {
                self.warn(
                    format!("{key}.repositories[{i}]"),
                    format!("matches no repository, because a repository's name has no upper-case letter, no space, and no `/` at an end: {pattern:?}"),
                );
            }
        }
        let repositories = self.repositories(&format!("{key}.repositories"), &raw.repositories);
        let max_share = self.share(format!("{key}.maxShare"), raw.max_share);
        let mut keep_tags: Vec<KeepTags> = Vec::new();
        for (i, entry) in raw.keep_tags.into_iter().enumerate() {
            let key = format!("{key}.keepTags[{i}]");
            if keep_tags
                .last()
                .is_some_and(|last| last.patterns.match_every_tag())
            {
                self.warn(
                    key.clone(),
                    "is never used, because the entry before it matches every tag: put it first, or remove it",
                );
            }
            keep_tags.push(self.keep_tags(&key, entry));
        }
        let delete_untagged = raw.delete_untagged.unwrap_or(true);
        let keep_untagged = raw.keep_untagged.unwrap_or_default();
        let keep_untagged = self.keep(
            &format!("{key}.keepUntagged"),
            &Rules {
                most_recently_pulled_count: keep_untagged.most_recently_pulled_count,
                most_recently_pushed_count: keep_untagged.most_recently_pushed_count,
                pulled_within: keep_untagged.pulled_within,
                pushed_within: keep_untagged.pushed_within,
            },
        );
        if keep_untagged.has_rules() && !delete_untagged {
            self.warn(
                format!("{key}.keepUntagged"),
                "has no effect, because deleteUntagged is false and every untagged manifest is kept",
            );
        }
        Policy {
            repositories,
            keep_tags,
            keep_immutable: raw.keep_immutable.unwrap_or(false),
            keep_untagged,
            delete_untagged,
            delete_referrers: raw.delete_referrers.unwrap_or(false),
            max_share,
        }
    }

    fn keep_tags(&mut self, key: &str, raw: raw::KeepTags) -> KeepTags {
        let mut patterns = Patterns::default();
        for (i, pattern) in raw.patterns.iter().enumerate() {
            if let Err(why) = patterns.add(pattern) {
                self.mistake(format!("{key}.patterns[{i}]"), format!("{pattern:?} {why}"));
            } else if let Some(character) = in_no_tag(pattern) {
                self.warn(
                    format!("{key}.patterns[{i}]"),
                    format!("contains {character:?}, which is in no tag: {pattern:?} may match nothing"),
                );
            }
        }
        let keep = self.keep(
            key,
            &Rules {
                most_recently_pulled_count: raw.most_recently_pulled_count,
                most_recently_pushed_count: raw.most_recently_pushed_count,
                pulled_within: raw.pulled_within,
                pushed_within: raw.pushed_within,
            },
        );
        KeepTags { patterns, keep }
    }

    fn keep(&mut self, key: &str, raw: &Rules) -> Keep {
        let pulled = format!("{key}.mostRecentlyPulledCount");
        let pushed = format!("{key}.mostRecentlyPushedCount");
        Keep {
            most_recently_pulled: self.count(pulled, raw.most_recently_pulled_count),
            most_recently_pushed: self.count(pushed, raw.most_recently_pushed_count),
            pulled_within: self
                .optional_duration(format!("{key}.pulledWithin"), raw.pulled_within.as_deref()),
            pushed_within: self
                .optional_duration(format!("{key}.pushedWithin"), raw.pushed_within.as_deref()),
        }
    }

    /// As in zot, 0 means that there is no such rule, which is the opposite of keeping none.
    fn count(&mut self, key: String, given: Option<i64>) -> Option<usize> {
        let given = given?;
        let count = usize::try_from(given);
        match count {
            Err(_) => self.mistake(key, format!("must be 1 or more, found {given}")),
            Ok(0) => self.warn(
                key,
                "is 0, which means that there is no such rule, as in zot. An entry of keepTags without rules keeps all its tags. Remove the key, or write 1 or more",
            ),
            Ok(_) => {}
        }
        count.ok().filter(|count| *count > 0)
    }

    fn share(&mut self, key: String, given: Option<f64>) -> Option<Share> {
        let given = given?;
        let share = Share::of(given);
        if share.is_none() {
            self.mistake(key, format!("must be from 0 to 1, such as 0.5, found {given}"));
        }
        share
    }
}

/// Whether this pattern surely matches no name of a repository. Patterns with classes or braces are not
/// checked.
fn matches_no_repository(pattern: &str) -> bool {
    let is_wrong = |character: char| character.is_ascii_uppercase() || character.is_whitespace();
    !pattern.contains(['[', '{', '\\'])
        && (pattern.contains(is_wrong)
            || pattern.contains("//")
            || pattern.starts_with('/')
            || pattern.ends_with('/'))
}

/// A character of the regular expression that no tag contains. Expressions with classes, groups with flags,
/// escapes or optional parts are not checked.
fn in_no_tag(pattern: &str) -> Option<char> {
    let is_simple = !pattern.contains(['[', '\\', '{', '|', '?', '*']);
    pattern
        .chars()
        .find(|character| is_simple && matches!(character, ' ' | '/' | ':' | '@' | ','))
}

const KEY: &str = "storage.retention";
