//! `wharfinger probe FILE`: finds out by trying what the object store of a configuration can do.

use super::{FAILED, SUCCESS, fail, load, say};
use crate::config::StorePlace;
use crate::storage::bucket::Settings;
use crate::storage::bucket::probe::{self, Finding, Need, Report, Verdict};
use clap::{Args, ValueEnum};
use std::fmt::Write as _;
use std::path::PathBuf;

#[derive(Args)]
pub(super) struct Options {
    /// The configuration, whose storage.storageDriver names the bucket
    file: PathBuf,
    /// Another URL of the same service, such as a second gateway. May be repeated
    #[arg(long, value_name = "URL")]
    endpoint: Vec<String>,
    /// How to print the report
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

pub(super) async fn run(options: &Options) -> u8 {
    let config = match load(&options.file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let StorePlace::Bucket(place) = &config.fixed.storage else {
        return fail("the store is a folder: only an object store, storage.storageDriver, is probed");
    };
    let report = match probe::full(&endpoints(&place.settings, &options.endpoint)).await {
        Ok(report) => report,
        Err(why) => return fail(&why.to_string()),
    };
    match options.output {
        Output::Text => say(&table(&report)),
        Output::Json => match serde_json::to_string_pretty(&report) {
            Ok(text) => say(&text),
            Err(why) => return fail(&why.to_string()),
        },
    }
    let is_fit = report.is_fit_for_replicas() || place.single_replica && report.is_fit_for_one();
    if is_fit { SUCCESS } else { FAILED }
}

/// The configured endpoint, and the others with the same settings.
fn endpoints(settings: &Settings, others: &[String]) -> Vec<Settings> {
    let others = others.iter().map(|url| {
        let mut other = settings.clone();
        other.tls.plain = url.starts_with("http://");
        other.endpoint = Some(url.trim_end_matches('/').to_owned());
        other
    });
    std::iter::once(settings.clone()).chain(others).collect()
}

/// The findings, and what they mean. It does not end with a newline.
fn table(report: &Report) -> String {
    let mut rows = vec![["ABILITY", "FOUND", "NEEDED FOR", "DETAILS"].map(str::to_owned)];
    rows.extend(report.findings.iter().map(row));
    let mut widths = [0; 4];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = format!("{}\n", report.endpoints.join("\n"));
    for row in rows {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        let cells: Vec<_> = cells.collect();
        let _ = write!(text, "\n{}", cells.join("  ").trim_end());
    }
    let _ = write!(text, "\n\n{}: {}", report.bucket, meaning(report));
    text
}

fn row(finding: &Finding) -> [String; 4] {
    let found = match finding.verdict {
        Verdict::Yes => "yes",
        Verdict::No => "NO",
        Verdict::Unknown => "unknown",
    };
    let need = match finding.need {
        Need::Always => "every registry",
        Need::Replicas => "order",
        Need::Nothing => "-",
    };
    [finding.name, found, need, &finding.details].map(str::to_owned)
}

fn meaning(report: &Report) -> &'static str {
    if report.is_fit_for_replicas() {
        "any number of replicas may use this store"
    } else if report.is_fit_for_one() {
        "only one registry at a time may use this store, with singleReplica: true, since it does not keep the conditions of writes"
    } else {
        "no registry may use this store"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdict: Verdict, need: Need) -> Report {
        let finding = Finding {
            name: "create if absent",
            verdict,
            need,
            details: "seen".to_owned(),
        };
        Report {
            bucket: "s3://bucket".to_owned(),
            endpoints: vec!["the bucket at https://s3.example.org".to_owned()],
            version: 1,
            findings: vec![finding],
        }
    }

    #[test]
    fn the_table_ends_with_what_the_findings_mean() {
        for (verdict, need, expected) in [
            (Verdict::Yes, Need::Replicas, "any number of replicas"),
            (Verdict::No, Need::Replicas, "the conditions of writes"),
            (Verdict::Unknown, Need::Replicas, "the conditions of writes"),
            (Verdict::No, Need::Always, "no registry"),
            (Verdict::No, Need::Nothing, "any number of replicas"),
        ] {
            let text = table(&report(verdict, need));
            let last = text.lines().last().unwrap_or_default();
            assert!(
                last.starts_with("s3://bucket: ") && last.contains(expected),
                "{text}"
            );
            assert!(text.contains("\nABILITY           FOUND"), "{text}");
        }
    }
}
