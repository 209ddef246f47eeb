//! The keys of the tokens that the registry issues.

use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// `http.auth.token`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Token {
    /// How long after a credential was presented anything that was issued for it may be used. Default `1h`;
    /// `0`: never longer than the credential, and no refresh tokens.
    pub session_lifetime: Option<String>,
    /// A PEM file with the keys to sign with, each EC on P-256: the first signs, the others verify only. Read
    /// again when it changes. Default: made here, kept in `stateDirectory` and replaced every 30 days.
    pub signing_key_file: Option<PathBuf>,
}
