//! The keys that say who may do what.

use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// `accessControl`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AccessControl {
    /// Rules by repository pattern (`*` matches one segment, `**` any depth). Only the longest matching
    /// pattern applies.
    #[serde(default)]
    pub repositories: BTreeMap<String, Repository>,
    /// Users and groups who may do the listed actions in all repositories.
    pub admin_policy: Option<Grant>,
    /// Named groups of users.
    #[serde(default)]
    pub groups: BTreeMap<String, Group>,
    /// Who may read `/metrics` on the registry's own address. Default: no caller. On the listener of
    /// `http.health` it is public.
    pub metrics: Option<Metrics>,
}

/// `accessControl.metrics`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Metrics {
    /// Usernames and SPIFFE IDs, as in `policies[]`.
    #[serde(default)]
    pub users: Vec<String>,
    /// With `[read]`, callers without a credential may read them too.
    #[serde(default)]
    pub anonymous_policy: Vec<Action>,
}

/// `accessControl.repositories[]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Repository {
    /// Permissions of users and groups.
    #[serde(default)]
    pub policies: Vec<Grant>,
    /// Permissions of every authenticated identity.
    #[serde(default)]
    pub default_policy: Vec<Action>,
    /// Permissions of callers without a credential.
    #[serde(default)]
    pub anonymous_policy: Vec<Action>,
    /// Patterns of tags that cannot be moved or deleted once they exist, except with the action `override`.
    /// They are globs over the whole tag (`v*`, `*`, `[0-9]*`, `{stable,lts}`), not regular expressions. A
    /// pattern that begins with `!` is an exception (`!*-dev`), wherever it is in the list. A push of the digest
    /// that the tag already has still succeeds. Tags such as `sha256-<hex>` and `sha256-<hex>.sig`, which clients
    /// make for signatures and referrers, are never immutable. As with permissions, only the list of the longest
    /// matching repository pattern applies. See [how to make tags immutable](../how-to/immutable-tags.md). Default
    /// none.
    #[serde(default)]
    pub immutable_tags: Vec<String>,
}

/// `policies[]` and `adminPolicy`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Grant {
    /// Usernames, SPIFFE IDs (`spiffe://td/path`), or all SPIFFE IDs below a path (`spiffe://td/path/`).
    #[serde(default)]
    pub users: Vec<String>,
    /// Groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The allowed actions.
    #[serde(default)]
    pub actions: Vec<Action>,
}

/// An action
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Read,
    Create,
    Update,
    Delete,
    #[serde(rename = "detectManifestCollision")]
    DetectManifestCollision,
    Override,
}

impl Action {
    /// Whether the action permits something by itself. `detectManifestCollision` only refuses deletions by
    /// digest of a manifest with several tags, and `override` needs `update` or `delete` beside it.
    #[must_use]
    pub const fn permits(self) -> bool {
        !matches!(self, Self::DetectManifestCollision | Self::Override)
    }
}

/// `accessControl.groups[]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Usernames.
    #[serde(default)]
    pub users: Vec<String>,
}
