//! The recorder of all measurements in the process.

use super::families::{BUCKETS, FAMILIES, Kind};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;
use std::time::Duration;

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Starts recording. Earlier measurements are lost, so call this first. A second call does nothing.
pub fn install() {
    RECORDER.get_or_init(|| {
        let handle = PrometheusBuilder::new()
            .set_buckets(&BUCKETS)
            .ok()?
            .install_recorder()
            .ok()?;
        for family in FAMILIES {
            match family.kind {
                Kind::Counter => metrics::describe_counter!(family.name, family.help),
                Kind::Gauge => metrics::describe_gauge!(family.name, family.help),
                Kind::Histogram => metrics::describe_histogram!(family.name, family.help),
            }
        }
        metrics::gauge!("wharfinger_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
        Some(handle)
    });
}

/// Renders everything that was recorded. Empty before [`install`].
pub(super) fn rendered() -> String {
    handle().map(PrometheusHandle::render).unwrap_or_default()
}

/// Sorts the samples of histograms into their buckets. Without this, their memory grows until the next
/// scrape.
pub fn upkeep() {
    if let Some(handle) = handle() {
        handle.run_upkeep();
    }
}

/// How often to call [`upkeep`].
pub const UPKEEP_EVERY: Duration = Duration::from_secs(5);

fn handle() -> Option<&'static PrometheusHandle> {
    RECORDER.get().and_then(Option::as_ref)
}
