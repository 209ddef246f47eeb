//! What one stream says about the configured trust domains, put into their slots. No I/O.

use super::wire::ByDomain;
use crate::clock::{Clock, Timestamp};
use crate::spiffe_id::TrustDomain;
use crate::trust::Slot;
use crate::trust::jwks::Parsed;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

/// The configured trust domains' authorities of one kind.
pub(super) struct Bundles<T, E> {
    domains: Vec<Domain<T>>,
    parse: fn(&[u8]) -> Result<Parsed<T>, E>,
    clock: Clock,
    max_stale: Duration,
}

struct Domain<T> {
    name: TrustDomain,
    id: String,
    slot: Arc<Slot<T>>,
    /// The bytes that filled the slot; none if it was never filled or its domain was withdrawn.
    good: Option<Vec<u8>>,
    /// Whether the latest message agrees with the slot. Only then does the open stream keep it fresh.
    current: bool,
}

impl<T: Clone + Default, E: Display> Bundles<T, E> {
    pub(super) fn new(
        slots: impl IntoIterator<Item = (TrustDomain, Arc<Slot<T>>)>,
        parse: fn(&[u8]) -> Result<Parsed<T>, E>,
        clock: Clock,
        max_stale: Duration,
    ) -> Self {
        let domain = |(name, slot): (TrustDomain, _)| Domain { id: name.id(), name, slot, good: None, current: false };
        Self { domains: slots.into_iter().map(domain).collect(), parse, clock, max_stale }
    }

    /// Takes a message, which is the whole state (W-6).
    pub(super) fn apply(&mut self, mut message: ByDomain) {
        let (as_of, usable_until) = self.bound();
        for domain in &mut self.domains {
            match message.remove(&domain.id) {
                Some(bytes) if !bytes.is_empty() => domain.replace(bytes, self.parse, as_of, usable_until),
                // Zero bytes is how an emptied X.509 bundle looks (measured with SPIRE); a default value replaces too.
                _ => domain.withdraw("the Workload API has no bundle of it (any more)", as_of, usable_until),
            }
        }
    }

    /// The stream is open, so what it said last holds.
    pub(super) fn confirm(&self) {
        let (as_of, usable_until) = self.bound();
        for domain in self.domains.iter().filter(|domain| domain.current) {
            domain.slot.confirm(as_of, usable_until);
        }
    }

    /// The caller may not know these authorities any more (W-7).
    pub(super) fn withdraw(&mut self, why: &str) {
        let (as_of, usable_until) = self.bound();
        for domain in &mut self.domains {
            domain.withdraw(why, as_of, usable_until);
            domain.slot.fail(why);
        }
    }

    /// The stream is not open. What is held stays.
    pub(super) fn fail(&self, why: &str) {
        for domain in &self.domains {
            domain.slot.fail(why);
        }
    }

    /// How often to [`Bundles::confirm`].
    pub(super) fn period(&self) -> Duration {
        (self.max_stale / 4).clamp(Duration::from_millis(10), Duration::from_secs(60))
    }

    fn bound(&self) -> (Timestamp, Timestamp) {
        let now = self.clock.now();
        (now, now.plus(self.max_stale))
    }
}

impl<T: Clone + Default> Domain<T> {
    fn replace<E: Display>(&mut self, bytes: Vec<u8>, parse: fn(&[u8]) -> Result<Parsed<T>, E>, as_of: Timestamp, usable_until: Timestamp) {
        if self.good.as_ref() == Some(&bytes) {
            self.current = true;
            return self.slot.confirm(as_of, usable_until);
        }
        let source: &str = self.slot.source();
        match parse(&bytes) {
            Ok(parsed) => {
                for skipped in &parsed.skipped {
                    tracing::warn!(source, trust_domain.name = %self.name, "skipped, the rest counts: {skipped}");
                }
                tracing::info!(source, trust_domain.name = %self.name, "bundle replaced");
                self.slot.publish(parsed.value, as_of, usable_until);
                (self.good, self.current) = (Some(bytes), true);
            }
            Err(why) => {
                tracing::warn!(source, trust_domain.name = %self.name, "bundle stays as it was, the new one is malformed: {why}");
                self.slot.fail(format!("malformed bundle: {why}"));
                self.current = false;
            }
        }
    }

    fn withdraw(&mut self, why: &str, as_of: Timestamp, usable_until: Timestamp) {
        if self.current && self.good.is_none() {
            return self.slot.confirm(as_of, usable_until); // already empty: the same generation
        }
        tracing::warn!(source = &**self.slot.source(), trust_domain.name = %self.name, "bundle withdrawn, nothing of this trust domain is accepted: {why}");
        self.slot.publish(T::default(), as_of, usable_until);
        (self.good, self.current) = (None, true);
    }
}
