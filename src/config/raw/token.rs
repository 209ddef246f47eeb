//! The keys of the tokens that the registry issues.

use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// `http.auth.token`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Token {
    /// How long tokens may be used after their credential was presented. Default `1h`. With `0` they expire
    /// with the credential, and there are no refresh tokens.
    pub session_lifetime: Option<String>,
    /// A PEM file with signing keys, each EC on P-256. The first key signs, and the others only verify.
    /// Reloaded when it changes. Default: the registry creates keys, stores them in `stateDirectory` and
    /// replaces them every 30 days.
    pub signing_key_file: Option<PathBuf>,
}
