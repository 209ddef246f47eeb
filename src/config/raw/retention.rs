//! The keys that say which tags and manifests are kept.

use schemars::JsonSchema;
use serde::Deserialize;

/// `storage.retention`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Retention {
    /// The policies only log and report what they would delete. Default false.
    pub dry_run: Option<bool>,
    /// Untagged manifests, and referrers whose subject is gone, are kept for this long after they were pushed
    /// or last pulled. It does not apply to tags: a tag is kept for `storage.gcDelay` after it was last pushed,
    /// and zot deletes it at once. Default `storage.gcDelay`.
    pub delay: Option<String>,
    /// The largest share of a repository's tags, or of its manifests, that the policies may delete in one pass,
    /// from 0 to 1. Tags that are only kept because they are younger than `storage.gcDelay` do not count. If a
    /// pass would delete more, it leaves that repository alone and logs an error. It may always delete 100
    /// manifests. `wharfinger gc` has no such limit. Default 0.5.
    pub max_share: Option<f64>,
    /// The first policy whose patterns match a repository decides about it. A repository without a policy
    /// keeps everything.
    #[serde(default)]
    pub policies: Vec<RetentionPolicy>,
}

/// `storage.retention.policies[]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RetentionPolicy {
    /// Patterns of repositories, as in `accessControl.repositories`.
    #[serde(default)]
    pub repositories: Vec<String>,
    /// The tags to keep. Without an entry every tag is kept. Otherwise the first entry that matches a tag
    /// decides, and tags that no entry matches are deleted. Tags of signatures (`sha256-….sig` and the like)
    /// stay with their manifest.
    #[serde(default)]
    pub keep_tags: Vec<KeepTags>,
    /// Keeps every tag that `accessControl.repositories.<pattern>.immutableTags` makes immutable, whatever
    /// `keepTags` and `deleteReferrers` say. Default false: retention also deletes immutable tags.
    pub keep_immutable: Option<bool>,
    /// Untagged manifests to keep although `deleteUntagged` is true. Without rules in it, none are kept.
    pub keep_untagged: Option<KeepUntagged>,
    /// Whether to delete manifests that have no tag, no subject, and no index that lists them. Default true.
    pub delete_untagged: Option<bool>,
    /// Whether to delete manifests whose subject is not in the repository, such as signatures of a deleted
    /// image. Default false.
    pub delete_referrers: Option<bool>,
    /// Replaces `storage.retention.maxShare` for these repositories.
    pub max_share: Option<f64>,
}

/// `storage.retention.policies[].keepTags[]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct KeepTags {
    /// Regular expressions. The entry decides about a tag if one of them matches any part of it (`^` and `$`
    /// stand for the ends). Without patterns it decides about every tag. Without rules it keeps all these
    /// tags.
    #[serde(default)]
    pub patterns: Vec<String>,
    /// Keeps this many of these tags: those whose manifests were pulled last. Tags that were never pulled
    /// come last.
    pub most_recently_pulled_count: Option<i64>,
    /// Keeps this many of these tags: those that were pushed last.
    pub most_recently_pushed_count: Option<i64>,
    /// Keeps tags whose manifest was pulled within this time, and tags that were pushed within it.
    pub pulled_within: Option<String>,
    /// Keeps tags that were pushed within this time.
    pub pushed_within: Option<String>,
}

/// `storage.retention.policies[].keepUntagged`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct KeepUntagged {
    /// Keeps this many of the manifests without a tag: those that were pulled last. As in zot, the count
    /// includes the children of indexes and referrers, which are kept anyway.
    pub most_recently_pulled_count: Option<i64>,
    /// Keeps this many of them: those that were pushed last. Pushing a manifest again does not make it newer,
    /// as in zot. The count includes the same manifests.
    pub most_recently_pushed_count: Option<i64>,
    /// Keeps manifests that were pulled or pushed within this time.
    pub pulled_within: Option<String>,
    /// Keeps manifests that were pushed within this time.
    pub pushed_within: Option<String>,
}
