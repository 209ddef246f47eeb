//! `log`

use schemars::JsonSchema;
use serde::Deserialize;

/// `log`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// From this level on. Default `info`.
    pub level: Option<Level>,
    /// How lines look on standard error: `text` for people, `json` for programs, `auto` for text where
    /// standard error is a terminal and JSON elsewhere. Default `auto`. Read at start.
    pub format: Option<LogFormat>,
}

/// `log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Auto,
    Text,
    Json,
}

/// `log.level`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}
