//! The certificates of the server that have expired, or soon will.

use crate::clock::Timestamp;
use pki_types::CertificateDer;
use std::time::Duration;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A certificate of the server that clients reject, or soon will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiring {
    /// `file server.crt`, or `Workload API`.
    pub source: String,
    pub subject: String,
    pub serial: String,
    pub expiry: Expiry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    NotYetValid { from: Timestamp },
    Soon { at: Timestamp },
    Expired { at: Timestamp },
}

impl Expiring {
    #[must_use]
    pub const fn is_expired(&self) -> bool {
        matches!(self.expiry, Expiry::Expired { .. })
    }

    /// A sentence for the operator, with the fix.
    #[must_use]
    pub fn sentence(&self, now: Timestamp) -> String {
        let Self {
            source,
            subject,
            serial,
            expiry,
        } = self;
        let whose = format!("the TLS certificate {subject:?} (serial {serial}, {source})");
        match expiry {
            Expiry::Expired { at } => {
                format!(
                    "{whose} expired at {at}, {} ago: clients refuse to connect; renew it",
                    rough(now.since(*at))
                )
            }
            Expiry::Soon { at } => {
                format!(
                    "{whose} expires at {at}, in {}: renew it, or clients will refuse to connect",
                    rough(at.since(now))
                )
            }
            Expiry::NotYetValid { from } => {
                format!(
                    "{whose} is not valid before {from}, in {}: clients refuse to connect until then; check the clock",
                    rough(from.since(now))
                )
            }
        }
    }
}

/// The expiring certificates of one chain. Tools renew a certificate when about a third of its life is left,
/// so one with less than a sixth was probably forgotten. For a certificate of a year that would be two
/// months, but two weeks are enough.
pub(super) fn expiring(source: &str, chain: &[CertificateDer<'_>], now: Timestamp) -> Vec<Expiring> {
    let one = |der: &CertificateDer<'_>| {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let validity = certificate.validity();
        let from = Timestamp::from_secs(validity.not_before.timestamp());
        let at = Timestamp::from_secs(validity.not_after.timestamp());
        let soon = (at.since(from) / 6).min(TWO_WEEKS);
        let expiry = if now >= at {
            Expiry::Expired { at }
        } else if now < from {
            Expiry::NotYetValid { from }
        } else if at.since(now) < soon {
            Expiry::Soon { at }
        } else {
            return None;
        };
        let subject = certificate.subject().to_string();
        let serial = certificate.raw_serial_as_string();
        Some(Expiring {
            source: source.to_owned(),
            subject,
            serial,
            expiry,
        })
    };
    chain.iter().filter_map(one).collect()
}

fn rough(span: Duration) -> String {
    let secs = span.as_secs();
    let (count, unit) = match secs {
        0..120 => (secs, "second"),
        120..7_200 => (secs / 60, "minute"),
        7_200..172_800 => (secs / 3_600, "hour"),
        _ => (secs / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

const TWO_WEEKS: Duration = Duration::from_secs(14 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};
    use time::OffsetDateTime;

    const DAY: i64 = 86_400;
    const START: i64 = 1_790_000_000;

    fn certificate(days: i64) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["registry.example.org".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "registry");
        params.not_before = OffsetDateTime::from_unix_timestamp(START).unwrap();
        params.not_after = OffsetDateTime::from_unix_timestamp(START + days * DAY).unwrap();
        params
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap()
            .der()
            .clone()
    }

    #[test]
    fn a_certificate_expires_soon_in_the_last_sixth_of_its_life_and_at_most_two_weeks() {
        for (life, after, expected) in [
            (90, -DAY, "not valid before"),
            (90, 75 * DAY, ""),
            (90, 76 * DAY + 1, "expires at"),
            (90, 90 * DAY, "expired at"),
            (365, 300 * DAY, ""),
            (365, 352 * DAY, "expires at"),
            (6, 4 * DAY, ""),
            (6, 5 * DAY + 1, "expires at"),
        ] {
            let now = Timestamp::from_secs(START + after);
            let found = expiring("file server.crt", &[certificate(life)], now);
            let said: Vec<_> = found.iter().map(|one| one.sentence(now)).collect();
            match expected {
                "" => assert_eq!(said, [""; 0], "{life} days, after {after} s"),
                _ => assert!(
                    said.len() == 1 && said[0].contains(expected) && said[0].contains("file server.crt"),
                    "{life} days, after {after} s: {said:?}"
                ),
            }
        }
    }

    #[test]
    fn every_certificate_of_the_chain_is_checked() {
        let now = Timestamp::from_secs(START + 10 * DAY);
        let found = expiring("file server.crt", &[certificate(90), certificate(9)], now);
        assert_eq!(
            found.iter().map(|one| one.expiry).collect::<Vec<_>>(),
            [Expiry::Expired {
                at: Timestamp::from_secs(START + 9 * DAY)
            }]
        );
        assert!(
            found[0].sentence(now).contains("1 day ago") || found[0].sentence(now).contains("24 hours ago"),
            "{}",
            found[0].sentence(now)
        );
    }
}
