//! Every metric there is. A test holds this list against the sources, and the reference against this list.

use std::fmt::Write as _;

/// One metric with all its label values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    /// One sentence without its full stop.
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

/// Of one source: the issuer or trust domain, the kind of credential, the source.
const SOURCE: &[&str] = &["of", "verifies", "source"];

/// By name.
pub const FAMILIES: &[Family] = &[
    counter(
        "process_cpu_seconds_total",
        &[],
        "Processor time that the process has used, in seconds",
    ),
    gauge(
        "process_max_fds",
        &[],
        "How many file descriptors the process may have open; each connection takes one, and so does each blob",
    ),
    gauge("process_open_fds", &[], "File descriptors that are open"),
    gauge(
        "process_resident_memory_bytes",
        &[],
        "Memory of the process that is not swapped out, with the files it has mapped",
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
        "Days until an X.509 authority expires; those of one source are numbered, the first to expire is 0",
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
        "Requests, pulls included, that were answered with 503 since `http.bodyMemory`, or their caller's share of it, was in use",
    ),
    counter(
        "wharfinger_certificate_judgements_total",
        &[],
        "Client certificates whose chain was verified: once a connection, and again when the authorities that vouched for it change",
    ),
    gauge(
        "wharfinger_config_generation",
        &[],
        "Counts the configurations that were in force since the start; the first is 1",
    ),
    gauge(
        "wharfinger_config_last_reload_applied",
        &[],
        "1, or 0 if the configuration file as it is now was refused",
    ),
    counter(
        "wharfinger_config_reloads_total",
        &["result"],
        "Changed configurations, `applied` or `refused`",
    ),
    counter(
        "wharfinger_connections_closed_for_others_total",
        &["reason"],
        "Connections that had identified nobody and were closed for another: `address`, one more of the same address; `all`, one more",
    ),
    counter(
        "wharfinger_connections_refused_total",
        &["reason"],
        "Connections that were refused: `address`, too many of one address that identified nobody, and a request is being answered on each",
    ),
    gauge(
        "wharfinger_disk_free_bytes",
        &[],
        "What the registry may still take of the file system that the store is on",
    ),
    gauge(
        "wharfinger_disk_free_files",
        &[],
        "Files that can still be made there (inodes); absent where the file system has no such bound",
    ),
    gauge(
        "wharfinger_disk_size_bytes",
        &[],
        "The size of the file system that the store is on",
    ),
    counter(
        "wharfinger_http_received_bytes_total",
        &[],
        "Bytes of request bodies that were read",
    ),
    histogram(
        "wharfinger_http_request_seconds",
        &["route"],
        "From a request's header to its answer's header",
    ),
    gauge(
        "wharfinger_http_requests_in_flight",
        &[],
        "Requests whose answer has not been sent to its end",
    ),
    counter(
        "wharfinger_http_requests_total",
        &["route", "method", "status"],
        "Requests that were answered",
    ),
    counter(
        "wharfinger_http_sent_bytes_total",
        &[],
        "Bytes of answers' bodies that were sent",
    ),
    gauge("wharfinger_info", &["version"], "Always 1; the version that runs"),
    gauge(
        "wharfinger_keys_age_seconds",
        SOURCE,
        "Since a source last said or confirmed what it holds",
    ),
    gauge(
        "wharfinger_keys_count",
        SOURCE,
        "Keys or X.509 authorities that a source holds",
    ),
    gauge(
        "wharfinger_keys_in_use",
        SOURCE,
        "1 for the source whose keys verify now, 0 for those in reserve; absent until the first answer or failure",
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
        "Elements of what a source holds that cannot be used, without those that a standard says to ignore",
    ),
    gauge(
        "wharfinger_keys_stale_in_seconds",
        SOURCE,
        "Until what a source holds counts no more, unless it answers; absent for files",
    ),
    gauge(
        "wharfinger_keys_withheld",
        &["of", "verifies"],
        "Keys of a trust domain that do not count, since another one that comes first in the configuration holds them too",
    ),
    counter(
        "wharfinger_log_lines_dropped_total",
        &[],
        "Lines that are missing in the log, since its reader did not take them or has gone",
    ),
    gauge(
        "wharfinger_store_bytes",
        &["part"],
        "What the store's files hold: `blobs`, with uploads that are not finished; `values`, large records such as manifests; `database`, all other records; `log`, the database's write-ahead log. Blobs and values are counted in the background, more rarely the more there are",
    ),
    gauge(
        "wharfinger_store_files",
        &["part"],
        "Files of the store's `blobs` and `values`",
    ),
    counter(
        "wharfinger_streams_reset_total",
        &["reason"],
        "HTTP/2 streams that were reset: `not_taken`, the client did not take the answer; `address`, refused since one address has too many without a login",
    ),
    gauge(
        "wharfinger_tls_certificate_expiry_days",
        &["source"],
        "Days until a certificate that the registry presents expires",
    ),
    counter(
        "wharfinger_tokens_several_audiences_total",
        &["credential"],
        "Tokens accepted that others than this registry could replay",
    ),
    counter(
        "wharfinger_unknown_key_ids_total",
        &["of"],
        "Tokens whose `kid` an issuer or trust domain does not know: rotated out, not yet fetched, or made up",
    ),
    counter(
        "wharfinger_verdicts_total",
        &["credential", "result", "reason"],
        "Credentials, `accepted`, `refused` or `undecidable`, and why; a key that is not known is `jwt_unknown_key`, and one that nobody could be asked about `keys_not_fetched`",
    ),
];

/// The upper bounds of every histogram's buckets, in seconds.
pub(super) const BUCKETS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0, 600.0];

/// The page about them, in Markdown.
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

`GET /metrics` answers in Prometheus's text format: on the listener of `http.health` to whoever reaches it, and on the registry's own
address to those whom `accessControl.metrics.users` names (to any identity where there is no `accessControl`, as in zot). No label has
a value that a stranger chose, so their number is bounded by the configuration.

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
