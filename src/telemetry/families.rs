//! Every metric. A test compares this list with the sources, and the reference page with this list.

use std::fmt::Write as _;

/// A metric with its labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    /// A sentence without its full stop.
    pub help: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family {
        name,
        kind: Kind::Counter,
        labels,
        help,
    }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family {
        name,
        kind: Kind::Gauge,
        labels,
        help,
    }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family {
        name,
        kind: Kind::Histogram,
        labels,
        help,
    }
}

/// The labels of a key source: the issuer or trust domain, the kind of credential, the source.
const SOURCE: &[&str] = &["of", "verifies", "source"];

/// Sorted by name.
pub const FAMILIES: &[Family] = &[
    counter(
        "process_cpu_seconds_total",
        &[],
        "Processor time used by the process, in seconds",
    ),
    gauge(
        "process_max_fds",
        &[],
        "The limit on open file descriptors; each connection and each open blob uses one",
    ),
    gauge("process_open_fds", &[], "Open file descriptors"),
    gauge(
        "process_resident_memory_bytes",
        &[],
        "Resident memory of the process, including mapped files",
    ),
    gauge(
        "process_start_time_seconds",
        &[],
        "When the process started, in seconds since 1970",
    ),
    gauge(
        "process_virtual_memory_bytes",
        &[],
        "Address space of the process",
    ),
    gauge(
        "wharfinger_authority_expiry_days",
        &["of", "source", "authority", "subject"],
        "Days until an X.509 authority expires; the authorities of one source are numbered from 0, which is the first to expire",
    ),
    counter(
        "wharfinger_blobs_suspected_total",
        &[],
        "Blobs whose bytes were found to be damaged; the log names them",
    ),
    gauge(
        "wharfinger_body_memory_bytes",
        &[],
        "Memory of `http.bodyMemory` in use",
    ),
    counter(
        "wharfinger_body_memory_refusals_total",
        &[],
        "Requests, pulls included, that were answered with 503 because `http.bodyMemory`, or their caller's share of it, was in use",
    ),
    counter(
        "wharfinger_certificate_verifications_total",
        &[],
        "Verifications of a client certificate's chain: once per connection, and again when the authorities that verified it change",
    ),
    counter(
        "wharfinger_collected_bytes_total",
        &[],
        "Bytes of content that the garbage collector removed",
    ),
    counter(
        "wharfinger_collected_total",
        &["what"],
        "Items that the garbage collector removed, by reason",
    ),
    gauge(
        "wharfinger_collection_candidates",
        &[],
        "What may have become garbage by a deletion, a moved tag or an expired upload, and the garbage collector has not checked yet or found too young",
    ),
    counter(
        "wharfinger_collection_candidates_dropped_total",
        &[],
        "Candidates that did not fit in memory, and wait for the next walk through the whole store",
    ),
    gauge(
        "wharfinger_collection_seconds",
        &[],
        "Duration of the last complete walk of the garbage collector through the whole store",
    ),
    gauge(
        "wharfinger_collection_stopped_repositories",
        &[],
        "Repositories in which nothing is collected, because a manifest cannot be read; the log names them",
    ),
    counter(
        "wharfinger_collections_total",
        &["kind", "result"],
        "Runs of the garbage collector: `full` is a walk through the whole store, `recent` a check of what recently lost a reference, `asked` a walk for `wharfinger gc`; `done` or `failed`",
    ),
    gauge(
        "wharfinger_config_generation",
        &[],
        "Number of the configuration in force; it is 1 at the start and grows with each applied change",
    ),
    gauge(
        "wharfinger_config_last_reload_applied",
        &[],
        "1 if the present configuration file is in force, 0 if it was rejected",
    ),
    counter(
        "wharfinger_config_reloads_total",
        &["result"],
        "Changed configurations, `applied` or `refused`",
    ),
    counter(
        "wharfinger_connections_closed_for_others_total",
        &["reason"],
        "Unidentified connections that were closed to make room for a new one: `address`, the new one came from the same address; `all`, from any address",
    ),
    counter(
        "wharfinger_connections_refused_total",
        &["reason"],
        "Connections that were refused: `address`, one address has too many unidentified connections, and each is answering a request",
    ),
    gauge(
        "wharfinger_disk_free_bytes",
        &[],
        "Space that the registry can still use on the store's file system",
    ),
    gauge(
        "wharfinger_disk_free_files",
        &[],
        "Files (inodes) that can still be created on the store's file system; absent where it has no such limit",
    ),
    gauge(
        "wharfinger_disk_size_bytes",
        &[],
        "Size of the store's file system",
    ),
    counter(
        "wharfinger_http_received_bytes_total",
        &[],
        "Bytes of request bodies that were read",
    ),
    histogram(
        "wharfinger_http_request_seconds",
        &["route"],
        "Time from a request's header to its answer's header",
    ),
    gauge(
        "wharfinger_http_requests_in_flight",
        &[],
        "Requests whose answer is not completely sent",
    ),
    counter(
        "wharfinger_http_requests_total",
        &["route", "method", "status"],
        "Answered requests",
    ),
    counter(
        "wharfinger_http_sent_bytes_total",
        &[],
        "Bytes of answers' bodies that were sent",
    ),
    gauge(
        "wharfinger_info",
        &["version"],
        "Always 1; the label is the running version",
    ),
    gauge(
        "wharfinger_keys_age_seconds",
        SOURCE,
        "Time since a source last delivered or confirmed its keys",
    ),
    gauge(
        "wharfinger_keys_count",
        SOURCE,
        "Keys or X.509 authorities that a source holds",
    ),
    gauge(
        "wharfinger_keys_in_use",
        SOURCE,
        "1 for the source whose keys are in use, 0 for sources in reserve; absent until the first answer or failure",
    ),
    counter(
        "wharfinger_keys_refresh_failures_total",
        SOURCE,
        "Times that a source gave no usable answer",
    ),
    counter(
        "wharfinger_keys_refreshes_total",
        SOURCE,
        "Times that a source gave a usable answer",
    ),
    gauge(
        "wharfinger_keys_skipped_elements",
        SOURCE,
        "Elements of a source that cannot be used, without those that a standard says to ignore",
    ),
    gauge(
        "wharfinger_keys_stale_in_seconds",
        SOURCE,
        "Time until a source's keys expire unless it answers; absent for files",
    ),
    gauge(
        "wharfinger_keys_withheld",
        &["of", "verifies"],
        "Keys of a trust domain that are not used, because a trust domain that comes first in the configuration has them too",
    ),
    counter(
        "wharfinger_log_lines_dropped_total",
        &[],
        "Lines that are missing in the log because its reader was too slow or stopped reading",
    ),
    gauge(
        "wharfinger_quota_allowed_bytes",
        &["quota"],
        "The bytes that a quota of `storage.quotas` allows. The label is the repository pattern, or `(total)`",
    ),
    counter(
        "wharfinger_quota_rejections_total",
        &["quota"],
        "Uploads, mounts and manifests that were rejected because they would exceed the quota",
    ),
    gauge(
        "wharfinger_quota_used_bytes",
        &["quota"],
        "The bytes that count for the quota; absent while the store is counted for the first time",
    ),
    counter(
        "wharfinger_quota_warnings_total",
        &["quota", "percent"],
        "How often the use of the quota has risen to `80` or `95` percent",
    ),
    gauge(
        "wharfinger_scrub_age_seconds",
        &[],
        "Seconds since the last complete walk of `storage.scrub` through all blobs and manifests; absent before the first",
    ),
    counter(
        "wharfinger_scrub_bytes_total",
        &[],
        "Bytes that `storage.scrub` has hashed again",
    ),
    counter(
        "wharfinger_scrub_damaged_total",
        &["what"],
        "Damaged contents that `storage.scrub` found, `blob` or `manifest`, counted again in each walk; the log names them",
    ),
    gauge(
        "wharfinger_store_bytes",
        &["part"],
        "Size of the store's files: `blobs`, with unfinished uploads; `values`, large records such as manifests; `database`, all other records; `log`, the database's write-ahead log. Blobs and values are counted in the background, less often the more there are",
    ),
    gauge(
        "wharfinger_store_files",
        &["part"],
        "Number of files of the store's `blobs` and `values`",
    ),
    histogram(
        "wharfinger_store_request_seconds",
        &["operation"],
        "Time from a request to the bucket to the beginning of its answer",
    ),
    counter(
        "wharfinger_store_requests_total",
        &["operation", "outcome"],
        "Requests to the bucket: `refused` ones had a condition that did not hold, and `slow_down` ones were too many",
    ),
    counter(
        "wharfinger_streams_reset_total",
        &["reason"],
        "HTTP/2 streams that were reset: `not_taken`, the client did not read the answer; `address`, one address has too many without a login",
    ),
    gauge(
        "wharfinger_tls_certificate_expiry_days",
        &["source"],
        "Days until a certificate that the registry presents expires",
    ),
    counter(
        "wharfinger_tokens_several_audiences_total",
        &["credential"],
        "Accepted tokens that another service could replay, because they are also for other audiences",
    ),
    counter(
        "wharfinger_unknown_key_ids_total",
        &["of"],
        "Tokens whose `kid` an issuer or trust domain does not know: rotated out, not yet fetched, or made up",
    ),
    counter(
        "wharfinger_verdicts_total",
        &["credential", "result", "reason"],
        "Credentials, `accepted`, `refused` or `undecidable`, and why; `jwt_unknown_key` is a key that is not known, `keys_not_fetched` one that could not be looked up because the keys could not be fetched",
    ),
];

/// The upper bounds of every histogram's buckets, in seconds.
pub(super) const BUCKETS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0, 600.0];

/// The reference page, in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    for Family {
        name,
        kind,
        labels,
        help,
    } in FAMILIES
    {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(
            text,
            "| `{name}` | {} | {} | {help} |",
            kind.as_str(),
            labels.join(", ")
        );
    }
    let bounds: Vec<_> = BUCKETS.iter().map(ToString::to_string).collect();
    let _ = writeln!(
        text,
        "\nHistograms have buckets up to {} seconds.",
        bounds.join(", ")
    );
    text
}

const HEAD: &str = "# Metrics

<!-- Made from src/telemetry/families.rs by `UPDATE_DOCS=1 cargo test --test docs`. -->

`GET /metrics` answers in Prometheus's text format: on the listener of `http.health` to every caller, and on the registry's own
address to the users in `accessControl.metrics.users` (to any identity without `accessControl`, as in zot). No label has
a value that a caller chose, so the configuration bounds their number.

| name | type | labels | meaning |
|---|---|---|---|
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_their_unit_and_are_listed_once_in_order() {
        for Family { name, kind, help, .. } in FAMILIES {
            assert!(
                name.starts_with("wharfinger_") || name.starts_with("process_"),
                "{name}"
            );
            assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
            assert!(!help.ends_with('.') && !help.is_empty(), "{name}");
        }
        assert!(FAMILIES.is_sorted_by(|a, b| a.name < b.name), "not in order");
    }
}
