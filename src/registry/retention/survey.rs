//! Reads the tags and untagged manifests of a repository, and then decides about each of them. In between it
//! remembers only the candidates that the counts keep, so its memory does not grow with the repository.

use super::policy::{Keep, Policy};
use super::verdict::{GivenUp, Kept, Rule, Subject, Verdict};
use crate::clock::Timestamp;
use crate::oci::{Digest, Tag};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// When a tag was last moved, or a manifest first pushed, and when the manifest was last pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    pub pushed: Timestamp,
    pub pulled: Option<Timestamp>,
}

/// A tag.
#[derive(Clone, Copy, Debug)]
pub struct TagFacts<'a> {
    pub tag: &'a Tag,
    pub times: Times,
    /// The manifest that the tag is named after, as the tags of signatures are. `Subject::None` for every
    /// other tag.
    pub subject: Subject,
    /// Whether `accessControl` makes the tag immutable.
    pub is_immutable: bool,
}

/// A manifest without tags that no index lists.
#[derive(Clone, Copy, Debug)]
pub struct UntaggedFacts<'a> {
    pub digest: &'a Digest,
    pub times: Times,
    /// When its record was last written. A push of the same manifest, or a HEAD by a client that may push,
    /// writes an old record again.
    pub written: Timestamp,
    pub subject: Subject,
}

/// What is known about a repository, for the policy that applies to it.
#[derive(Debug)]
pub struct Survey<'a> {
    policy: &'a Policy,
    place: usize,
    delay: Duration,
    /// One element for each entry of `keepTags`.
    tags: Vec<Recent>,
    untagged: Recent,
}

impl<'a> Survey<'a> {
    /// Takes a policy and its position in the configuration.
    #[must_use]
    pub fn new((place, policy): (usize, &'a Policy), delay: Duration) -> Self {
        Self {
            policy,
            place,
            delay,
            tags: policy
                .keep_tags
                .iter()
                .map(|entry| Recent::new(&entry.keep))
                .collect(),
            untagged: Recent::new(&policy.keep_untagged),
        }
    }

    /// Whether all tags must be seen before a verdict on one of them.
    #[must_use]
    pub fn counts_tags(&self) -> bool {
        self.tags.iter().any(Recent::counts)
    }

    /// Whether the counts of tags depend on pulls.
    #[must_use]
    pub fn counts_pulls_of_tags(&self) -> bool {
        self.tags.iter().any(|recent| recent.pulled.is_some())
    }

    /// Whether the counts of manifests depend on pulls.
    #[must_use]
    pub const fn counts_pulls_of_untagged(&self) -> bool {
        self.untagged.pulled.is_some()
    }

    /// Whether all untagged manifests must be seen before a verdict on one of them.
    #[must_use]
    pub fn counts_untagged(&self) -> bool {
        self.policy.delete_untagged && self.untagged.counts()
    }

    /// Adds a tag to the candidates for the counts.
    pub fn see_tag(&mut self, facts: &TagFacts<'_>) {
        if facts.subject != Subject::None {
            return;
        }
        if let Some((entry, _)) = self.entry(facts.tag)
            && let Some(recent) = self.tags.get_mut(entry)
        {
            recent.see(facts.times, facts.tag.as_str());
        }
    }

    /// Adds an untagged manifest to the candidates for the counts. As in zot, children of indexes and
    /// referrers are candidates too.
    pub fn see_untagged(&mut self, digest: &Digest, times: Times) {
        self.untagged.see(times, digest.as_str());
    }

    /// Whether immutable tags stay.
    #[must_use]
    pub const fn keeps_immutable(&self) -> bool {
        self.policy.keep_immutable
    }

    #[must_use]
    pub fn tag_verdict(&self, facts: &TagFacts<'_>, now: Timestamp) -> Verdict {
        let policy = self.place;
        match facts.subject {
            Subject::None => {}
            Subject::Gone if self.policy.delete_referrers => {
                return self.unless_recent(facts.times, now, GivenUp::SubjectGone { policy });
            }
            Subject::There | Subject::Gone => return Verdict::Keep(Kept::NamedAfterManifest { policy }),
        }
        if self.policy.keep_tags.is_empty() {
            return Verdict::Keep(Kept::EveryTag { policy });
        }
        if facts.is_immutable && self.keeps_immutable() {
            return Verdict::Keep(Kept::Immutable { policy });
        }
        let Some((entry, keep)) = self.entry(facts.tag) else {
            return Verdict::GiveUp(GivenUp::NoPattern { policy });
        };
        if !keep.has_rules() {
            return Verdict::Keep(Kept::Pattern { policy, entry });
        }
        let recent = self.tags.get(entry);
        match recent.and_then(|recent| recent.rule(keep, facts.times, facts.tag.as_str(), now)) {
            Some(rule) => Verdict::Keep(Kept::TagRule { policy, entry, rule }),
            None => Verdict::GiveUp(GivenUp::NoTagRule { policy, entry }),
        }
    }

    /// The verdict on a manifest that no index lists. If the manifest has tags, the policy deletes it only if
    /// its subject is gone.
    #[must_use]
    pub fn untagged_verdict(&self, facts: &UntaggedFacts<'_>, now: Timestamp) -> Verdict {
        let policy = self.place;
        let used = Times {
            pushed: facts.times.pushed.max(facts.written),
            ..facts.times
        };
        match facts.subject {
            Subject::There => Verdict::Keep(Kept::Referrer),
            Subject::Gone if self.policy.delete_referrers => {
                self.unless_recent(used, now, GivenUp::SubjectGone { policy })
            }
            Subject::Gone => Verdict::Keep(Kept::EveryReferrer { policy }),
            Subject::None if !self.policy.delete_untagged => Verdict::Keep(Kept::EveryUntagged { policy }),
            Subject::None => {
                let keep = &self.policy.keep_untagged;
                match self.untagged.rule(keep, facts.times, facts.digest.as_str(), now) {
                    Some(rule) => Verdict::Keep(Kept::UntaggedRule { policy, rule }),
                    None => self.unless_recent(used, now, GivenUp::Untagged { policy }),
                }
            }
        }
    }

    /// A manifest that was recently pulled is in use, even if it was pulled by digest.
    fn unless_recent(&self, times: Times, now: Timestamp, why: GivenUp) -> Verdict {
        let used = times.pushed.max(times.pulled.unwrap_or(times.pushed));
        if now.since(used) < self.delay {
            Verdict::Keep(Kept::Recent)
        } else {
            Verdict::GiveUp(why)
        }
    }

    /// The entry of `keepTags` that applies to the tag.
    fn entry(&self, tag: &Tag) -> Option<(usize, &'a Keep)> {
        let mut entries = self.policy.keep_tags.iter().enumerate();
        let (place, entry) = entries.find(|(_, entry)| entry.patterns.matches(tag))?;
        Some((place, &entry.keep))
    }
}

/// The candidates that the counts of one entry keep.
#[derive(Debug)]
struct Recent {
    pulled: Option<Top>,
    pushed: Option<Top>,
}

impl Recent {
    fn new(keep: &Keep) -> Self {
        Self {
            pulled: keep.most_recently_pulled.map(Top::new),
            pushed: keep.most_recently_pushed.map(Top::new),
        }
    }

    const fn counts(&self) -> bool {
        self.pulled.is_some() || self.pushed.is_some()
    }

    fn see(&mut self, times: Times, name: &str) {
        if let Some(pulled) = &mut self.pulled {
            pulled.see(Rank::by_pull(times, name));
        }
        if let Some(pushed) = &mut self.pushed {
            pushed.see(Rank::by_push(times, name));
        }
    }

    /// The first rule that keeps the candidate.
    fn rule(&self, keep: &Keep, times: Times, name: &str, now: Timestamp) -> Option<Rule> {
        let within = |time: Timestamp, duration: Duration| time > now.minus(duration);
        let is_top = |top: &Option<Top>, rank: Rank| top.as_ref().is_some_and(|top| top.has(&rank));
        if is_top(&self.pulled, Rank::by_pull(times, name)) {
            return Some(Rule::MostRecentlyPulled);
        }
        if is_top(&self.pushed, Rank::by_push(times, name)) {
            return Some(Rule::MostRecentlyPushed);
        }
        if let Some(duration) = keep.pulled_within {
            let pulled = times.pulled.is_some_and(|pulled| within(pulled, duration));
            // As in zot: there was no time yet to pull what was only just pushed.
            if pulled || within(times.pushed, duration) {
                return Some(Rule::PulledWithin);
            }
        }
        keep.pushed_within
            .filter(|duration| within(times.pushed, *duration))
            .map(|_| Rule::PushedWithin)
    }
}

/// The most recent candidates. If their times are equal, the name decides, so that two passes agree. Equal
/// pulls are ordered by the pushes first.
#[derive(Debug)]
struct Top {
    most: usize,
    heap: BinaryHeap<Reverse<Rank>>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(Option<Timestamp>, Option<Timestamp>, Box<str>);

impl Rank {
    fn by_pull(times: Times, name: &str) -> Self {
        Self(times.pulled, Some(times.pushed), name.into())
    }

    fn by_push(times: Times, name: &str) -> Self {
        // Pulls are not always known.
        Self(Some(times.pushed), None, name.into())
    }
}

impl Top {
    const fn new(most: usize) -> Self {
        Self {
            most,
            heap: BinaryHeap::new(),
        }
    }

    fn see(&mut self, rank: Rank) {
        self.heap.push(Reverse(rank));
        if self.heap.len() > self.most {
            self.heap.pop();
        }
    }

    /// Whether the candidate is one of the most recent. One that was pushed or pulled after it was seen is.
    fn has(&self, rank: &Rank) -> bool {
        self.heap.len() < self.most || self.heap.peek().is_some_and(|Reverse(last)| rank >= last)
    }
}
