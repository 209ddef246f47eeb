//! Turns a report into metrics.

use super::report::{Report, What};
use crate::telemetry::Samples;

/// How many authorities of one source get a metric. Those that expire first are chosen.
const AUTHORITIES: usize = 50;
const DAY: f64 = 86_400.0;

/// Adds the report's figures to the samples.
pub fn gauges(report: &Report, samples: &mut Samples) {
    for trusted in &report.trusted {
        let of = match trusted.what {
            What::Issuer | What::TrustDomain => trusted.name.clone(),
            What::CertificateAuthority => format!("x509 {}", trusted.name),
        };
        if trusted.what == What::TrustDomain {
            let labels = [("of", of.as_str()), ("verifies", trusted.verifies.as_str())];
            samples.add("wharfinger_keys_withheld", &labels, count(trusted.withheld.len()));
        }
        for source in &trusted.sources {
            let labels = [
                ("of", of.as_str()),
                ("verifies", trusted.verifies.as_str()),
                ("source", source.source.as_str()),
            ];
            let mut add = |name, value| samples.add(name, &labels, value);
            add("wharfinger_keys_count", count(source.keys.len()));
            // A missing sample keeps an alert on zero from firing while the registry starts.
            if !trusted.is_pending() {
                add("wharfinger_keys_in_use", if source.in_use { 1.0 } else { 0.0 });
            }
            add("wharfinger_keys_skipped_elements", count(source.skipped.len()));
            add("wharfinger_keys_refreshes_total", number(source.refreshes));
            add("wharfinger_keys_refresh_failures_total", number(source.failures));
            if let Some(age) = source.age_seconds {
                add("wharfinger_keys_age_seconds", seconds(age));
            }
            if let Some(left) = source.stale_in_seconds {
                add("wharfinger_keys_stale_in_seconds", seconds(left));
            }
            let mut expiring: Vec<_> = source
                .keys
                .iter()
                .filter_map(|key| Some((key.expires_in_seconds?, key.id.as_deref())))
                .collect();
            expiring.sort_unstable();
            for (index, (left, subject)) in expiring.into_iter().take(AUTHORITIES).enumerate() {
                let index = index.to_string();
                let labels = [
                    labels[0],
                    labels[2],
                    ("authority", index.as_str()),
                    ("subject", subject.unwrap_or_default()),
                ];
                samples.add("wharfinger_authority_expiry_days", &labels, seconds(left) / DAY);
            }
        }
    }
    for certificate in &report.certificates {
        samples.add(
            "wharfinger_tls_certificate_expiry_days",
            &[("source", &certificate.source)],
            seconds(certificate.expires_in_seconds) / DAY,
        );
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a metric is a float, and real values are exact in it"
)]
const fn seconds(value: i64) -> f64 {
    value as f64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a metric is a float, and real values are exact in it"
)]
const fn number(value: u64) -> f64 {
    value as f64
}

fn count(value: usize) -> f64 {
    f64::from(u32::try_from(value).unwrap_or(u32::MAX))
}
