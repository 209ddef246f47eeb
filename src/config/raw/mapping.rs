//! `claimMapping`

use schemars::JsonSchema;
use serde::Deserialize;

/// `claimMapping`: CEL over `claims`, `vars` and `credential`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ClaimMapping {
    /// Named expressions. Each may use the earlier ones as `vars.<name>`.
    #[serde(default)]
    pub variables: Vec<Variable>,
    /// Expressions that must be true.
    #[serde(default)]
    pub validations: Vec<Validation>,
    /// An expression that yields a string.
    pub username: Option<String>,
    /// An expression that yields a list of strings. Default: no groups.
    pub groups: Option<String>,
    /// Accept a username that begins with another configured issuer and a slash, so that it looks like a
    /// subject of that issuer. Default false: such a credential is rejected.
    pub allow_other_issuers_usernames: Option<bool>,
}

/// `claimMapping.variables[]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// The name that follows `vars.`.
    pub name: String,
    /// The expression.
    pub expression: String,
}

/// `claimMapping.validations[]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// The expression.
    pub expression: String,
    /// The message in the log if the expression is false.
    pub message: String,
}
