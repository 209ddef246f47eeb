//! The issuers and trust domains that are trusted now, and the age of their keys.

use crate::clock::Timestamp;
use crate::identity::Authenticator;
use crate::trust::{Authorities, KeyStatus, Keys, Status};
use serde::{Deserialize, Serialize};

/// The trust of the registry at one moment. It contains no secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The time of the report, in RFC 3339.
    pub at: String,
    /// The generation of the configuration.
    pub generation: u64,
    pub trusted: Vec<Trusted>,
    /// The certificates that the server presents.
    pub certificates: Vec<CertificateReport>,
}

/// One kind of key of one issuer or trust domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trusted {
    pub what: What,
    pub name: String,
    pub verifies: Verifies,
    /// The sources in order of preference.
    pub sources: Vec<SourceReport>,
    /// Keys that are ignored because a trust domain earlier in the configuration has them too.
    #[serde(default)]
    pub withheld: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    Issuer,
    TrustDomain,
    CertificateAuthority,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verifies {
    Jwt,
    X509,
}

impl Verifies {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::X509 => "x509",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceReport {
    pub source: String,
    /// `inline`, `file`, `workload-api`, `federation` or `oidc`.
    pub kind: String,
    /// Whether this source's keys are in use: it is the first source with fresh keys.
    pub in_use: bool,
    /// Whether the source has not been queried yet or its first answer is pending. A failed source is not pending.
    #[serde(default)]
    pub pending: bool,
    /// Whether its keys come from the disk, where an earlier process saved them.
    pub from_disk: bool,
    pub keys: Vec<KeyReport>,
    /// The time since the source last sent or confirmed its keys. Absent if it never answered.
    pub age_seconds: Option<i64>,
    /// The time until the keys expire, and zero after that. Absent if the source never answered or its keys do not
    /// expire.
    pub stale_in_seconds: Option<i64>,
    /// The bundle's `spiffe_sequence`.
    pub sequence: Option<u64>,
    /// Zero if the next refresh is due.
    pub next_refresh_in_seconds: Option<i64>,
    pub refreshes: u64,
    pub failures: u64,
    pub last_error: Option<String>,
    /// Unusable elements of its answer.
    pub skipped: Vec<String>,
    /// Elements that a standard says to ignore: keys for another use, or of an unknown type.
    #[serde(default)]
    pub ignored: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyReport {
    /// The `kid`, or the subject of an X.509 authority.
    pub id: Option<String>,
    pub algorithms: Vec<String>,
    /// The expiry of an X.509 authority, in RFC 3339.
    pub not_after: Option<String>,
    /// Zero after it has expired.
    pub expires_in_seconds: Option<i64>,
    /// For a JWT key that the issuer's latest key set lacks: the time until which it still verifies, in RFC 3339.
    #[serde(default)]
    pub withdrawn_until: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateReport {
    pub source: String,
    pub not_after: String,
    pub expires_in_seconds: i64,
}

impl Report {
    /// Builds a report. `certificates` have their source and their expiry.
    #[must_use]
    pub fn new(
        generation: u64,
        authenticator: &Authenticator,
        certificates: &[(String, Timestamp)],
        now: Timestamp,
    ) -> Self {
        let mut trusted: Vec<Trusted> = Vec::new();
        for issuer in authenticator.issuers() {
            // Entries with the same issuer and name share their keys.
            let label = issuer.label();
            if !trusted
                .iter()
                .any(|known| known.what == What::Issuer && known.name == label)
            {
                trusted.push(of(What::Issuer, &label, Verifies::Jwt, &issuer.keys, now));
            }
        }
        for domain in authenticator.domains() {
            let name = domain.rules.trust_domain.as_str();
            trusted.extend(
                domain
                    .jwt
                    .as_ref()
                    .map(|keys| of(What::TrustDomain, name, Verifies::Jwt, keys, now)),
            );
            trusted.extend(
                domain
                    .x509
                    .as_ref()
                    .map(|keys| of(What::TrustDomain, name, Verifies::X509, keys, now)),
            );
        }
        for entry in authenticator.certificates() {
            trusted.push(of(
                What::CertificateAuthority,
                &entry.name,
                Verifies::X509,
                &entry.authorities,
                now,
            ));
        }
        let certificate = |(source, not_after): &(String, Timestamp)| CertificateReport {
            source: source.clone(),
            not_after: not_after.to_string(),
            expires_in_seconds: between(now, *not_after),
        };
        Self {
            at: now.to_string(),
            generation,
            trusted,
            certificates: certificates.iter().map(certificate).collect(),
        }
    }

    /// Whether the registry has keys for every trusted issuer and trust domain.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.trusted.iter().all(Trusted::is_verifiable)
    }

    /// Whether a source has neither answered nor failed yet.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.trusted
            .iter()
            .any(|trusted| trusted.sources.iter().any(|source| source.pending))
    }

    /// Whether a trusted issuer or trust domain has no keys although no answer is pending, or two trust
    /// domains have the same key.
    #[must_use]
    pub fn is_alarming(&self) -> bool {
        self.trusted.iter().any(|trusted| {
            (!trusted.is_verifiable() && !trusted.is_pending()) || !trusted.withheld.is_empty()
        })
    }
}

impl Trusted {
    fn is_verifiable(&self) -> bool {
        self.sources.iter().any(|source| source.in_use)
    }

    /// Whether no source is in use, but an answer is pending.
    pub(super) fn is_pending(&self) -> bool {
        !self.is_verifiable() && self.sources.iter().any(|source| source.pending)
    }
}

fn of<T: Keys>(what: What, name: &str, verifies: Verifies, keys: &Authorities<T>, now: Timestamp) -> Trusted {
    let statuses = keys.status();
    let fresh = |status: &Status| status.usable_until.is_some_and(|until| now < until);
    let used = statuses.iter().position(fresh);
    let sources = statuses
        .iter()
        .enumerate()
        .map(|(index, status)| source(status, used == Some(index), now));
    Trusted {
        what,
        name: name.to_owned(),
        verifies,
        sources: sources.collect(),
        withheld: keys.withheld(now),
    }
}

fn source(status: &Status, in_use: bool, now: Timestamp) -> SourceReport {
    let stale = status.usable_until.filter(|until| *until != Timestamp::MAX);
    SourceReport {
        source: status.source.to_string(),
        kind: status.kind.as_str().to_owned(),
        in_use,
        pending: status.attempts == 0 && status.as_of.is_none(),
        from_disk: status.from_disk,
        keys: status
            .keys
            .iter()
            .filter(|key| key.withdrawn_until.is_none_or(|until| now < until))
            .map(|key| key_report(key, now))
            .collect(),
        age_seconds: status.as_of.map(|as_of| between(as_of, now)),
        stale_in_seconds: stale.map(|until| between(now, until)),
        sequence: status.sequence,
        next_refresh_in_seconds: status.next_refresh.map(|next| between(now, next)),
        refreshes: status.attempts.saturating_sub(status.failures),
        failures: status.failures,
        last_error: status.last_error.clone(),
        skipped: status
            .skipped
            .iter()
            .filter(|one| !one.ignored)
            .map(ToString::to_string)
            .collect(),
        ignored: status
            .skipped
            .iter()
            .filter(|one| one.ignored)
            .map(ToString::to_string)
            .collect(),
    }
}

fn key_report(key: &KeyStatus, now: Timestamp) -> KeyReport {
    KeyReport {
        id: key.id.clone(),
        algorithms: key.algorithms.iter().map(ToString::to_string).collect(),
        not_after: key.not_after.map(|at| at.to_string()),
        expires_in_seconds: key.not_after.map(|at| between(now, at)),
        withdrawn_until: key.withdrawn_until.map(|at| at.to_string()),
    }
}

/// In whole seconds. Zero if `to` is in the past.
fn between(from: Timestamp, to: Timestamp) -> i64 {
    to.as_secs().saturating_sub(from.as_secs()).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::gauges;
    use crate::telemetry::Scrape;
    use crate::trust::jwks::KeySet;
    use crate::trust::{Slot, SourceKind};

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    /// A report about one issuer with this source.
    fn report(slot: &std::sync::Arc<Slot<KeySet>>, now: Timestamp) -> Report {
        let keys = Authorities::new(vec![slot.clone()]);
        let trusted = vec![of(What::Issuer, "https://issuer.test", Verifies::Jwt, &keys, now)];
        Report {
            at: now.to_string(),
            generation: 1,
            trusted,
            certificates: Vec::new(),
        }
    }

    #[test]
    fn a_source_without_a_first_answer_is_pending_and_one_that_failed_is_not() {
        let slot = Slot::of(SourceKind::Oidc, "https://issuer.test");
        let pages = |report: &Report| {
            let report = report.clone();
            Scrape::new(move |samples| gauges(&report, samples))
                .text()
                .contains("wharfinger_keys_in_use{of=\"https://issuer.test\",verifies=\"jwt\",source=\"https://issuer.test\"} 0")
        };
        let asked = report(&slot, at(1));
        assert!(
            asked.is_pending() && !asked.is_alarming() && !asked.is_complete() && !pages(&asked),
            "{asked:?}"
        );
        slot.fail("connection refused");
        let failed = report(&slot, at(2));
        assert!(
            !failed.is_pending() && failed.is_alarming() && pages(&failed),
            "{failed:?}"
        );
        slot.publish(KeySet::default(), at(3), at(10));
        let answered = report(&slot, at(4));
        assert!(
            answered.is_complete() && !answered.is_alarming() && !pages(&answered),
            "{answered:?}"
        );
    }

    #[test]
    fn no_time_is_negative() {
        let slot = Slot::of(SourceKind::Oidc, "https://issuer.test");
        slot.publish(KeySet::default(), at(100), at(110));
        slot.plan(at(105));
        let source = |now| report(&slot, now).trusted.remove(0).sources.remove(0);
        let overdue = source(at(200));
        assert_eq!(
            (overdue.stale_in_seconds, overdue.next_refresh_in_seconds),
            (Some(0), Some(0))
        );
        assert_eq!(source(at(50)).age_seconds, Some(0), "a clock that was set back");
    }
}
