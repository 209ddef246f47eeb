//! A report as a table: one line for each source, and its problems below.

use super::report::{Report, SourceReport};
use std::fmt::Write as _;

const HEAD: [&str; 9] = [
    "NAME", "VERIFIES", "SOURCE", "KEYS", "EXPIRES", "AGE", "STALE IN", "NEXT", "STATE",
];

/// The report as a table. It ends with a newline.
#[must_use]
pub fn table(report: &Report) -> String {
    let mut rows = vec![(HEAD.map(str::to_owned), Vec::new())];
    for trusted in &report.trusted {
        let mut withheld: Vec<_> = trusted
            .withheld
            .iter()
            .map(|what| format!("withheld: {what}"))
            .collect();
        for source in &trusted.sources {
            let soonest = source.keys.iter().filter_map(|key| key.expires_in_seconds).min();
            let row = [
                trusted.name.clone(),
                trusted.verifies.as_str().to_owned(),
                source.source.clone(),
                source.keys.len().to_string(),
                length(soonest),
                length(source.age_seconds),
                if source.age_seconds.is_some() && source.stale_in_seconds.is_none() {
                    "never".into()
                } else {
                    length(source.stale_in_seconds)
                },
                length(source.next_refresh_in_seconds),
                state(source),
            ];
            let sequence = source.sequence.map(|sequence| format!("sequence: {sequence}"));
            let error = source.last_error.as_ref().map(|why| format!("last error: {why}"));
            let withdrawn = source
                .keys
                .iter()
                .filter_map(|key| Some((key, key.withdrawn_until.as_ref()?)));
            let withdrawn = withdrawn.map(|(key, until)| {
                format!(
                    "key {}: not in the latest key set, verifies until {until}",
                    key.id.as_deref().unwrap_or("without an ID")
                )
            });
            let skipped = source.skipped.iter().map(|skipped| format!("skipped: {skipped}"));
            let ignored = source.ignored.iter().map(|ignored| format!("ignored: {ignored}"));
            rows.push((
                row,
                sequence
                    .into_iter()
                    .chain(error)
                    .chain(withdrawn)
                    .chain(skipped)
                    .chain(ignored)
                    .chain(withheld.drain(..))
                    .collect(),
            ));
        }
    }
    let mut widths = [0; HEAD.len()];
    for (row, _) in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for (row, notes) in rows {
        let cells: Vec<_> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
        for note in notes {
            let _ = writeln!(text, "    {note}");
        }
    }
    for certificate in &report.certificates {
        let _ = writeln!(
            text,
            "\nserver certificate from {}: expires in {}",
            certificate.source,
            length(Some(certificate.expires_in_seconds))
        );
    }
    let _ = writeln!(
        text,
        "\nconfiguration generation {}, at {}",
        report.generation, report.at
    );
    text
}

fn state(source: &SourceReport) -> String {
    let state = match (source.in_use, source.age_seconds) {
        (true, _) if source.keys.is_empty() => "in use, but has no keys",
        (true, _) if source.from_disk => "in use, from disk",
        (true, _) => "in use",
        (false, None) if source.pending => "no answer yet",
        (false, None) => "never answered",
        (false, Some(_)) if source.stale_in_seconds.is_some_and(|left| left <= 0) => "stale",
        (false, Some(_)) => "in reserve",
    };
    state.to_owned()
}

/// At most the two largest units, such as `5d` or `3h20m`. A time in the past is `0s`.
fn length(seconds: Option<i64>) -> String {
    let Some(seconds) = seconds else {
        return "-".to_owned();
    };
    let total = seconds.max(0).unsigned_abs();
    let days = total / 86_400;
    let hours = total / 3600 % 24;
    let minutes = total / 60 % 60;
    let rest = total % 60;
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, _) => format!("{minutes}m"),
        (0, _, 0) => format!("{hours}h"),
        (0, ..) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{CertificateReport, KeyReport, Trusted, Verifies, What};

    fn source(name: &str) -> SourceReport {
        SourceReport {
            source: name.into(),
            kind: "oidc".into(),
            in_use: false,
            pending: false,
            from_disk: false,
            keys: vec![],
            age_seconds: None,
            stale_in_seconds: None,
            sequence: None,
            next_refresh_in_seconds: None,
            refreshes: 0,
            failures: 0,
            last_error: None,
            skipped: vec![],
            ignored: vec![],
        }
    }

    #[test]
    fn each_source_has_one_line_with_its_problems_below() {
        let key = KeyReport {
            id: Some("CN=a".into()),
            algorithms: vec![],
            not_after: None,
            expires_in_seconds: Some(200_000),
            withdrawn_until: None,
        };
        let good = SourceReport {
            in_use: true,
            keys: vec![key],
            age_seconds: Some(75),
            stale_in_seconds: Some(86_000),
            sequence: Some(7),
            ..source("Workload API")
        };
        let failing = SourceReport {
            last_error: Some("connection refused".into()),
            skipped: vec!["keys[1]: no kty".into()],
            ignored: vec!["keys[2]: for encryption".into()],
            next_refresh_in_seconds: Some(-3),
            ..source("https://issuer.test")
        };
        let file = SourceReport {
            age_seconds: Some(5),
            ..source("file a.pem")
        };
        let report = Report {
            at: "2026-11-24T04:55:59Z".into(),
            generation: 3,
            trusted: vec![
                Trusted {
                    what: What::TrustDomain,
                    name: "prod.test".into(),
                    verifies: Verifies::X509,
                    sources: vec![good, file],
                    withheld: vec!["the authority CN=b".into()],
                },
                Trusted {
                    what: What::Issuer,
                    name: "https://issuer.test".into(),
                    verifies: Verifies::Jwt,
                    sources: vec![failing],
                    withheld: vec![],
                },
            ],
            certificates: vec![CertificateReport {
                source: "file tls.crt".into(),
                not_after: String::new(),
                expires_in_seconds: 3600,
            }],
        };
        let expected = "\
NAME                 VERIFIES  SOURCE               KEYS  EXPIRES  AGE  STALE IN  NEXT  STATE
prod.test            x509      Workload API         1     2d       1m   23h53m    -     in use
    sequence: 7
    withheld: the authority CN=b
prod.test            x509      file a.pem           0     -        5s   never     -     in reserve
https://issuer.test  jwt       https://issuer.test  0     -        -    -         0s    never answered
    last error: connection refused
    skipped: keys[1]: no kty
    ignored: keys[2]: for encryption

server certificate from file tls.crt: expires in 1h

configuration generation 3, at 2026-11-24T04:55:59Z
";
        assert_eq!(table(&report), expected);
        assert!(!report.is_complete());
    }
}
