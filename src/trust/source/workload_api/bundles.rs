//! What one stream says about the configured trust domains, put into their slots. No I/O.

use super::follow::Follower;
use super::wire::{ByDomain, State};
use super::{Following, OnPermissionDenied};
use crate::clock::{Clock, Timestamp};
use crate::trust::jwks::Parsed;
use crate::trust::{Slot, SourceKind};
use std::fmt::Display;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The configured trust domains' authorities of one kind.
pub(super) struct Bundles<T, E> {
    source: Arc<str>,
    domains: Vec<Domain<T>>,
    parse: fn(&[u8]) -> Result<Parsed<T>, E>,
    clock: Clock,
    said: Said,
}

/// What holds of all trust domains, for one that is configured later.
enum Said {
    Nothing,
    /// The latest message, and when its stream was last seen open.
    Message(ByDomain, Timestamp),
    /// Why the caller may know nothing any more.
    Denied(String),
}

struct Domain<T> {
    following: Following,
    id: String,
    /// Gone when no configuration asks for it any more.
    slot: Weak<Slot<T>>,
    /// The bytes that filled the slot; none if it was never filled or its domain was withdrawn.
    good: Option<Vec<u8>>,
    /// Whether the latest message agrees with the slot. Only then does the open stream keep it fresh.
    current: bool,
}

impl<T: Clone + Default, E: Display> Bundles<T, E> {
    pub(super) fn new(source: Arc<str>, parse: fn(&[u8]) -> Result<Parsed<T>, E>, clock: Clock) -> Self {
        Self { source, domains: Vec::new(), parse, clock, said: Said::Nothing }
    }

    /// A trust domain's slot, which is filled as long as anyone holds it. It begins with what is known already.
    pub(super) fn add(&mut self, following: Following) -> Arc<Slot<T>> {
        let slot = Slot::of(SourceKind::WorkloadApi, self.source.clone());
        let weak = Arc::downgrade(&slot);
        let mut domain = Domain { id: following.trust_domain.id(), following, slot: weak, good: None, current: false };
        match &self.said {
            Said::Nothing => {}
            Said::Message(message, as_of) => domain.take(message, self.parse, &slot, *as_of),
            Said::Denied(why) => domain.denied(why, &slot, self.clock.now()),
        }
        self.domains.push(domain);
        slot
    }

    fn each(&mut self, mut what: impl FnMut(&mut Domain<T>, &Slot<T>)) {
        self.domains.retain_mut(|domain| {
            let slot = domain.slot.upgrade();
            if let Some(slot) = &slot {
                what(domain, slot);
            }
            slot.is_some()
        });
    }
}

impl<S: State, T: Clone + Default, E: Display> Follower<S> for Bundles<T, E> {
    fn apply(&mut self, message: S) {
        let (message, now, parse) = (message.bundles(), self.clock.now(), self.parse);
        self.each(|domain, slot| domain.take(&message, parse, slot, now));
        self.said = Said::Message(message, now);
    }

    fn confirm(&mut self) {
        let now = self.clock.now();
        self.each(|domain, slot| {
            if domain.current {
                slot.confirm(now, domain.bound(now));
            }
        });
        if let Said::Message(_, as_of) = &mut self.said {
            *as_of = now;
        }
    }

    fn withdraw(&mut self, why: &str) {
        let now = self.clock.now();
        self.each(|domain, slot| domain.denied(why, slot, now));
        self.said = Said::Denied(why.to_owned());
    }

    fn fail(&mut self, why: &str) {
        self.each(|_, slot| slot.fail(why));
    }

    fn period(&self) -> Duration {
        let shortest = self.domains.iter().map(|domain| domain.following.max_stale).min();
        (shortest.unwrap_or(Duration::MAX) / 4).clamp(Duration::from_millis(10), Duration::from_secs(60))
    }
}

impl<T: Clone + Default> Domain<T> {
    fn bound(&self, as_of: Timestamp) -> Timestamp {
        as_of.plus(self.following.max_stale)
    }

    fn take<E: Display>(&mut self, message: &ByDomain, parse: fn(&[u8]) -> Result<Parsed<T>, E>, slot: &Slot<T>, as_of: Timestamp) {
        match message.get(&self.id) {
            Some(bytes) if !bytes.is_empty() => self.replace(bytes, parse, slot, as_of),
            // Zero bytes is how an emptied X.509 bundle looks (measured with SPIRE); a default value replaces too.
            _ => self.withdraw("the Workload API has no bundle of it (any more)", slot, as_of),
        }
    }

    fn replace<E: Display>(&mut self, bytes: &[u8], parse: fn(&[u8]) -> Result<Parsed<T>, E>, slot: &Slot<T>, as_of: Timestamp) {
        if self.good.as_deref() == Some(bytes) {
            self.current = true;
            return slot.confirm(as_of, self.bound(as_of));
        }
        let (source, name): (&str, _) = (slot.source(), &self.following.trust_domain);
        match parse(bytes) {
            Ok(parsed) => {
                for skipped in &parsed.skipped {
                    tracing::warn!(source, trust_domain.name = %name, "skipped, the rest counts: {skipped}");
                }
                tracing::info!(source, trust_domain.name = %name, "bundle replaced");
                slot.publish(parsed.value, as_of, self.bound(as_of));
                slot.annotate(None, parsed.skipped);
                (self.good, self.current) = (Some(bytes.to_vec()), true);
            }
            Err(why) => {
                tracing::warn!(source, trust_domain.name = %name, "bundle stays as it was, the new one is malformed: {why}");
                slot.fail(format!("malformed bundle: {why}"));
                self.current = false;
            }
        }
    }

    fn denied(&mut self, why: &str, slot: &Slot<T>, as_of: Timestamp) {
        match self.following.on_denied {
            OnPermissionDenied::Withdraw => self.withdraw(why, slot, as_of),
            OnPermissionDenied::Retain => {
                let (source, name): (&str, _) = (slot.source(), &self.following.trust_domain);
                tracing::warn!(source, trust_domain.name = %name, "denied, and its bundle stays as onPermissionDenied asks: {why}");
            }
        }
        slot.fail(why);
    }

    fn withdraw(&mut self, why: &str, slot: &Slot<T>, as_of: Timestamp) {
        if self.current && self.good.is_none() {
            return slot.confirm(as_of, self.bound(as_of)); // already empty: the same generation
        }
        let (source, name): (&str, _) = (slot.source(), &self.following.trust_domain);
        tracing::warn!(source, trust_domain.name = %name, "bundle withdrawn, nothing of this trust domain is accepted: {why}");
        slot.publish(T::default(), as_of, self.bound(as_of));
        slot.annotate(None, Vec::new());
        (self.good, self.current) = (None, true);
    }
}
