//! The keys that say who may do what.

use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// `accessControl`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AccessControl {
    /// By repository pattern (`*` one segment, `**` any depth). The longest pattern that matches decides.
    #[serde(default)]
    pub repositories: BTreeMap<String, Repository>,
    /// Who may do the listed actions everywhere.
    pub admin_policy: Option<Grant>,
    /// Named groups of users.
    #[serde(default)]
    pub groups: BTreeMap<String, Group>,
    /// Who may read `/metrics` on the registry's own address. Default: nobody. The listener of `http.health`
    /// asks nobody.
    pub metrics: Option<Metrics>,
}

/// `accessControl.metrics`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Metrics {
    /// Usernames and SPIFFE IDs, as in `policies[]`.
    #[serde(default)]
    pub users: Vec<String>,
    /// `[read]`: those who present no credential, too.
    #[serde(default)]
    pub anonymous_policy: Vec<Action>,
}

/// `accessControl.repositories[]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Repository {
    /// Rights of users and groups.
    #[serde(default)]
    pub policies: Vec<Grant>,
    /// Rights of every authenticated identity.
    #[serde(default)]
    pub default_policy: Vec<Action>,
    /// Rights of those who present no credential.
    #[serde(default)]
    pub anonymous_policy: Vec<Action>,
}

/// `policies[]` and `adminPolicy`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Grant {
    /// Usernames, SPIFFE IDs (`spiffe://td/path`) or all below a path (`spiffe://td/path/`).
    #[serde(default)]
    pub users: Vec<String>,
    /// Groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// What they may do.
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
}

impl Action {
    /// Whether it permits something. `detectManifestCollision` only refuses deletions by digest while several
    /// tags lead to the manifest.
    #[must_use]
    pub const fn permits(self) -> bool {
        !matches!(self, Self::DetectManifestCollision)
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
