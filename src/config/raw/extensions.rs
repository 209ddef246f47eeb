//! The keys of zot's extensions that are built.

use schemars::JsonSchema;
use serde::Deserialize;

/// `extensions`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Extensions {
    /// The metrics on the registry's own address.
    pub metrics: Option<MetricsExtension>,
}

/// `extensions.metrics`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MetricsExtension {
    /// Whether the metrics are on the registry's own address. Default true. The listener of `http.health` has
    /// them always.
    pub enable: Option<bool>,
    /// Where they are.
    pub prometheus: Option<Prometheus>,
}

/// `extensions.metrics.prometheus`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Prometheus {
    /// Their path on the registry's own address. Default `/metrics`.
    pub path: Option<String>,
}
