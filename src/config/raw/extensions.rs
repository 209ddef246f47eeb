//! The keys of zot's extensions that are built.

use schemars::JsonSchema;
use serde::Deserialize;

/// `extensions`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Extensions {
    /// Metrics on the registry's own address.
    pub metrics: Option<MetricsExtension>,
}

/// `extensions.metrics`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MetricsExtension {
    /// Whether the registry's own address serves metrics. Default true. The listener of `http.health` always
    /// serves them.
    pub enable: Option<bool>,
    /// The path of the metrics.
    pub prometheus: Option<Prometheus>,
}

/// `extensions.metrics.prometheus`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Prometheus {
    /// The path of the metrics on the registry's own address. Default `/metrics`.
    pub path: Option<String>,
}
