//! What a request may demand of the tag, manifest or blob that is there (RFC 9110, 13.1.1 and 13.1.2). An
//! entity tag of ours is the digest in quotes, so a condition is about digests.

use super::Digest;

/// `If-Match` and `If-None-Match` of one request. Without either, everything is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    matches: Option<EntityTags>,
    none_matches: Option<EntityTags>,
}

/// What one of the two headers names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum EntityTags {
    /// `*`: whatever there is.
    Any,
    /// What is no digest of ours is left out: it matches nothing.
    Of(Vec<Digest>),
}

impl Condition {
    /// From the values of the headers; `None` if there is no such header.
    #[must_use]
    pub fn parse(if_match: Option<&str>, if_none_match: Option<&str>) -> Self {
        // `If-Match` compares strongly, so a weak tag matches nothing; `If-None-Match` compares weakly.
        Self {
            matches: if_match.map(|list| EntityTags::parse(list, false)),
            none_matches: if_none_match.map(|list| EntityTags::parse(list, true)),
        }
    }

    /// Whether it allows to replace (or to delete) what is `found` there.
    #[must_use]
    pub fn allows(&self, found: Option<&Digest>) -> bool {
        match found {
            Some(found) => self.is_met_by(found) && !self.is_known(found),
            None => self.matches.is_none(),
        }
    }

    /// Whether what is there is what `If-Match` wants.
    #[must_use]
    pub fn is_met_by(&self, found: &Digest) -> bool {
        self.matches.as_ref().is_none_or(|tags| tags.name(found))
    }

    /// Whether `If-None-Match` names what is there: whoever wants to read it has it.
    #[must_use]
    pub fn is_known(&self, found: &Digest) -> bool {
        self.none_matches.as_ref().is_some_and(|tags| tags.name(found))
    }

    /// Nothing is demanded.
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
        // A digest has no comma.
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
    fn conditions_are_about_what_is_there() {
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
