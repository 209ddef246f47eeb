//! The conditions of a request on the existing tag, manifest or blob (RFC 9110, 13.1.1 and 13.1.2). The
//! registry's entity tags are digests in quotes, so conditions compare digests.

use super::Digest;

/// `If-Match` and `If-None-Match` of one request. Without both, everything is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    matches: Option<EntityTags>,
    none_matches: Option<EntityTags>,
}

/// The value of one of the two headers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum EntityTags {
    /// `*`, which matches anything that exists.
    Any,
    /// A list of digests. Other entity tags match nothing and are dropped.
    Of(Vec<Digest>),
}

impl Condition {
    /// Parses the values of the headers. `None` means that the header is absent.
    #[must_use]
    pub fn parse(if_match: Option<&str>, if_none_match: Option<&str>) -> Self {
        // `If-Match` uses strong comparison, so a weak tag matches nothing. `If-None-Match` uses weak
        // comparison.
        Self {
            matches: if_match.map(|list| EntityTags::parse(list, false)),
            none_matches: if_none_match.map(|list| EntityTags::parse(list, true)),
        }
    }

    /// Whether the condition allows replacing or deleting what was `found`.
    #[must_use]
    pub fn allows(&self, found: Option<&Digest>) -> bool {
        match found {
            Some(found) => self.is_met_by(found) && !self.is_known(found),
            None => self.matches.is_none(),
        }
    }

    /// Whether `If-Match` matches what was found.
    #[must_use]
    pub fn is_met_by(&self, found: &Digest) -> bool {
        self.matches.as_ref().is_none_or(|tags| tags.name(found))
    }

    /// Whether `If-None-Match` matches what was found. A reader then already has it.
    #[must_use]
    pub fn is_known(&self, found: &Digest) -> bool {
        self.none_matches.as_ref().is_some_and(|tags| tags.name(found))
    }

    /// Whether there is no condition.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.matches.is_none() && self.none_matches.is_none()
    }
}

impl EntityTags {
    fn name(&self, found: &Digest) -> bool {
        match self {
            Self::Any => true,
            Self::Of(digests) => digests.contains(found),
        }
    }

    fn parse(list: &str, weak: bool) -> Self {
        if list.trim() == "*" {
            return Self::Any;
        }
        // A digest contains no comma.
        let digest = |tag: &str| {
            let tag = tag.trim();
            let tag = if weak {
                tag.strip_prefix("W/").unwrap_or(tag)
            } else {
                tag
            };
            tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
        };
        Self::Of(list.split(',').filter_map(digest).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_compared_with_the_present_manifest() {
        let [a, b] = ["a", "b"].map(|fill| format!("sha256:{}", fill.repeat(64)).parse::<Digest>().unwrap());
        let here = format!("\"{a}\"");
        let other = format!("\"{b}\"");
        let both = format!("\"x\", \"{b}\" ,\"{a}\"");
        let weak = format!("W/{here}");
        for (if_match, if_none_match, found, absent) in [
            (None, None, true, true),
            (Some("*"), None, true, false),
            (None, Some("*"), false, true),
            (Some(here.as_str()), None, true, false),
            (Some(other.as_str()), None, false, false),
            (Some(both.as_str()), None, true, false),
            (Some(weak.as_str()), None, false, false),
            (Some("nonsense"), None, false, false),
            (Some(""), None, false, false),
            (None, Some(here.as_str()), false, true),
            (None, Some(weak.as_str()), false, true),
            (None, Some(other.as_str()), true, true),
            (Some("*"), Some(other.as_str()), true, false),
            (Some("*"), Some("*"), false, false),
        ] {
            let condition = Condition::parse(if_match, if_none_match);
            assert_eq!(
                condition.allows(Some(&a)),
                found,
                "{if_match:?} {if_none_match:?}"
            );
            assert_eq!(
                condition.allows(None),
                absent,
                "{if_match:?} {if_none_match:?} and nothing there"
            );
            assert_eq!(
                condition.is_empty(),
                if_match.is_none() && if_none_match.is_none()
            );
        }
    }
}
