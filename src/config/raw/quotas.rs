//! The keys that limit what is stored.

use crate::config::values::TextOrNumber;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// `storage.quotas`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Quotas {
    /// The most bytes of all blobs and manifests, in bytes or as `500GiB` or `2TiB`. Content that several
    /// repositories have counts once. Garbage counts until it is collected. Default no limit.
    pub total: Option<TextOrNumber>,
    /// The most bytes by repository pattern, for example `'team-a/**': 500GiB`: the blobs and manifests of
    /// all repositories that match, together. A blob counts in each repository that has it. If several
    /// patterns match a repository, all of their quotas apply. See [how to limit what is
    /// stored](../how-to/quotas.md).
    #[serde(default)]
    pub repositories: BTreeMap<String, TextOrNumber>,
}
