//! One scrape: everything that was recorded, and gauges of the present state.

use super::exposition::rendered;
use super::families::FAMILIES;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

/// The content type of [`Scrape::text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Gauges of the present state. They are collected at each scrape, so a value that no longer exists is not
/// shown.
#[derive(Debug, Default)]
pub struct Samples(BTreeMap<&'static str, Family>);

#[derive(Debug, Default)]
struct Family {
    lines: String,
    /// The sets of labels that have a value.
    known: BTreeSet<String>,
}

impl Samples {
    /// Adds one value of the family `name`, which must be listed with these labels.
    pub fn add(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        let Family { lines, known } = self.0.entry(name).or_default();
        let labels: Vec<_> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
            .collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        // Prometheus rejects the whole scrape if a sample is there twice.
        if known.insert(labels.clone()) {
            let _ = writeln!(lines, "{name}{labels} {value}");
        }
    }

    fn write(&self, text: &mut String) {
        for (name, Family { lines, .. }) in &self.0 {
            if let Some(family) = FAMILIES.iter().find(|family| family.name == *name) {
                let _ = write!(
                    text,
                    "# HELP {name} {}\n# TYPE {name} {}\n{lines}\n",
                    family.help,
                    family.kind.as_str()
                );
            }
        }
    }
}

/// Collects all metrics. Cheap to clone.
#[derive(Clone)]
pub struct Scrape(Arc<dyn Fn(&mut Samples) + Send + Sync>);

impl Scrape {
    /// `present` adds the gauges of the present state.
    pub fn new(present: impl Fn(&mut Samples) + Send + Sync + 'static) -> Self {
        Self(Arc::new(present))
    }

    #[must_use]
    pub fn text(&self) -> String {
        let mut samples = Samples::default();
        (self.0)(&mut samples);
        let mut text = rendered();
        samples.write(&mut text);
        text
    }
}

/// Without gauges of the present state.
impl Default for Scrape {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape")
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::install;

    #[test]
    fn a_reading_has_what_was_recorded_and_what_is_present() {
        install();
        let scrape = Scrape::new(|samples| samples.add("wharfinger_http_requests_in_flight", &[], 3.0));
        let text = scrape.text();
        let version = format!("wharfinger_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION"));
        assert!(text.contains(&version), "{text}");
        assert!(
            text.contains(
                "# TYPE wharfinger_http_requests_in_flight gauge\nwharfinger_http_requests_in_flight 3\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn of_two_samples_with_the_same_labels_the_first_is_shown() {
        let mut samples = Samples::default();
        for value in [1.0, 2.0] {
            samples.add("wharfinger_info", &[("version", "a")], value);
        }
        let mut text = String::new();
        samples.write(&mut text);
        assert!(
            text.ends_with("gauge\nwharfinger_info{version=\"a\"} 1\n\n"),
            "{text}"
        );
    }

    #[test]
    fn label_values_cannot_break_out() {
        let mut samples = Samples::default();
        samples.add("wharfinger_info", &[("version", "a\"b\\c\nd")], 1.0);
        let mut text = String::new();
        samples.write(&mut text);
        assert!(
            text.ends_with("wharfinger_info{version=\"a\\\"b\\\\c\\nd\"} 1\n\n"),
            "{text}"
        );
    }
}
