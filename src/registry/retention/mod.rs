//! Which tags and manifests a repository keeps: zot's `storage.retention`. Everything here is pure: from the
//! policies, the facts about tags and manifests, and the time, it computes verdicts and their reasons. It
//! deletes nothing.
//!
//! The first policy with a pattern that matches the repository decides. Its rules are those of zot
//! (<https://zotregistry.dev/latest/articles/retention/>). `docs/how-to/retention.md` lists the differences.

mod policy;
mod survey;
mod verdict;

#[cfg(test)]
mod tests;

pub use policy::{Keep, KeepTags, Patterns, Policy, Retention, Share};
pub use survey::{Survey, TagFacts, Times, UntaggedFacts};
pub use verdict::{GivenUp, Kept, Rule, Subject, Verdict};
