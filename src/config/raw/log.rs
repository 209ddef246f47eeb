//! `log`

use schemars::JsonSchema;
use serde::Deserialize;

/// `log`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// The lowest level that is logged. Default `info`.
    pub level: Option<Level>,
    /// The format of the log on standard error: `text` for people, `json` for programs, `auto` for text on a
    /// terminal and JSON elsewhere. Default `auto`. Changes need a restart.
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
