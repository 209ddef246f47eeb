//! Publishes the messages of one stream in the slots of the configured trust domains, and saves copies on
//! disk.

use super::follow::Follower;
use super::wire::{ByDomain, State};
use super::{Following, OnPermissionDenied};
use crate::clock::{Clock, Timestamp};
use crate::trust::jwks::Parsed;
use crate::trust::refresh::{Place, SAVES};
use crate::trust::{LastGood, Slot, SourceKind};
use futures_util::future::BoxFuture;
use std::fmt::Display;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The bundles of the configured trust domains, for one kind of key.
pub(super) struct Bundles<T, E> {
    source: Arc<str>,
    domains: Vec<Domain<T>>,
    form: Form<T, E>,
    clock: Clock,
    last_good: Option<Arc<LastGood>>,
    said: Said,
}

/// The format of one kind of bundle.
pub(super) struct Form<T, E> {
    pub(super) name: &'static str,
    pub(super) parse: fn(&[u8]) -> Result<Parsed<T>, E>,
    /// A bundle without authorities.
    pub(super) empty: &'static [u8],
}

/// The latest state of the stream, for a trust domain that is added later.
enum Said {
    Nothing,
    /// The latest message, and when the stream was last seen open.
    Message(ByDomain, Timestamp),
    /// The agent denied access, with the reason.
    Denied(String),
}

struct Domain<T> {
    following: Following,
    id: String,
    place: Option<Place>,
    /// The copy on disk, while it is not in use.
    remembered: Option<Remembered<T>>,
    /// When the copy on disk was written.
    saved: Option<Timestamp>,
    /// Dropped when no configuration uses it any more.
    slot: Weak<Slot<T>>,
    /// The bytes that filled the slot. `None` if it was never filled, or if the bundle was withdrawn.
    good: Option<Vec<u8>>,
    /// Whether the slot holds the bundle of the latest message. Only then does the open stream keep it fresh.
    current: bool,
}

struct Remembered<T> {
    bundle: Parsed<T>,
    bytes: Vec<u8>,
    as_of: Timestamp,
}

impl<T: Clone + Default, E: Display> Bundles<T, E> {
    pub(super) fn new(
        source: Arc<str>,
        form: Form<T, E>,
        clock: Clock,
        last_good: Option<Arc<LastGood>>,
    ) -> Self {
        Self {
            source,
            domains: Vec::new(),
            form,
            clock,
            last_good,
            said: Said::Nothing,
        }
    }

    /// Adds a trust domain and returns its slot, which is updated as long as it is held. It is filled at once
    /// if a message has already arrived.
    pub(super) fn add(&mut self, following: Following) -> Arc<Slot<T>> {
        let slot = Slot::of(SourceKind::WorkloadApi, self.source.clone());
        let weak = Arc::downgrade(&slot);
        let Form { name, parse, .. } = self.form;
        let place = self
            .last_good
            .as_ref()
            .map(|all| all.place(format!("{} {} {name}", self.source, following.trust_domain)));
        let id = following.trust_domain.id();
        let mut domain = Domain {
            id,
            following,
            place,
            remembered: None,
            saved: None,
            slot: weak,
            good: None,
            current: false,
        };
        domain.remember(parse, &self.source, self.clock.now());
        match &self.said {
            Said::Nothing => {}
            Said::Message(message, as_of) => domain.take(message, &self.form, &slot, *as_of),
            Said::Denied(why) => domain.denied(why, &self.form, &slot, self.clock.now()),
        }
        self.domains.push(domain);
        slot
    }

    fn each(&mut self, mut what: impl FnMut(&mut Domain<T>, &Form<T, E>, &Slot<T>)) {
        let form = &self.form;
        self.domains.retain_mut(|domain| {
            let slot = domain.slot.upgrade();
            if let Some(slot) = &slot {
                what(domain, form, slot);
            }
            slot.is_some()
        });
    }
}

impl<S: State, T: Clone + Default, E: Display> Follower<S> for Bundles<T, E> {
    fn apply(&mut self, message: S) {
        let message = message.bundles();
        let now = self.clock.now();
        self.each(|domain, form, slot| domain.take(&message, form, slot, now));
        self.said = Said::Message(message, now);
    }

    fn confirm(&mut self) {
        let now = self.clock.now();
        self.each(|domain, form, slot| {
            if domain.current {
                domain.confirm(form, slot, now);
            }
        });
        if let Said::Message(_, as_of) = &mut self.said {
            *as_of = now;
        }
    }

    fn withdraw(&mut self, why: &str) {
        let now = self.clock.now();
        self.each(|domain, form, slot| domain.denied(why, form, slot, now));
        self.said = Said::Denied(why.to_owned());
    }

    fn fail(&mut self, why: &str) {
        let now = self.clock.now();
        self.each(|domain, _, slot| {
            slot.fail(why);
            domain.recall(slot, now);
        });
    }

    fn pause(&self) -> BoxFuture<'static, ()> {
        let shortest = self.domains.iter().map(|domain| domain.following.max_stale).min();
        let period =
            (shortest.unwrap_or(Duration::MAX) / 4).clamp(Duration::from_millis(10), Duration::from_secs(60));
        let clock = self.clock.clone();
        let at = clock.now().plus(period);
        Box::pin(async move { clock.reach(at).await })
    }
}

impl<T: Clone + Default> Domain<T> {
    fn bound(&self, as_of: Timestamp) -> Timestamp {
        as_of.plus(self.following.max_stale)
    }

    /// Reads the copy on disk.
    fn remember<E: Display>(
        &mut self,
        parse: fn(&[u8]) -> Result<Parsed<T>, E>,
        source: &str,
        now: Timestamp,
    ) {
        let Some(copy) = self.place.as_ref().and_then(Place::load) else {
            return;
        };
        match parse(&copy.document) {
            Ok(bundle) => {
                self.remembered = Some(Remembered {
                    bundle,
                    bytes: copy.document,
                    as_of: copy.as_of.min(now),
                })
            }
            Err(why) => {
                tracing::warn!(source, trust_domain.name = %self.following.trust_domain, "the copy on disk cannot be used: {why}")
            }
        }
    }

    /// Uses the copy on disk, if this process has received no bundle yet.
    fn recall(&mut self, slot: &Slot<T>, now: Timestamp) {
        if slot.held().is_some() {
            return;
        }
        let Some(Remembered { bundle, bytes, as_of }) = self.remembered.take() else {
            return;
        };
        let until = self.bound(as_of);
        if now < until {
            let source: &str = slot.source();
            let name = &self.following.trust_domain;
            tracing::warn!(source, trust_domain.name = %name, "the Workload API does not answer, so the copy on disk of {as_of} is used until {until}");
            slot.recall(bundle.value, as_of, until);
            slot.annotate(None, bundle.skipped);
            self.good = Some(bytes);
        }
    }

    /// Records that the current bundle is still that of the agent.
    fn confirm<E>(&mut self, form: &Form<T, E>, slot: &Slot<T>, as_of: Timestamp) {
        slot.confirm(as_of, self.bound(as_of));
        let recent =
            |saved: Timestamp| as_of.since(saved) < self.following.max_stale / SAVES && saved <= as_of;
        if !self.saved.is_some_and(recent) {
            self.save(form, as_of);
        }
    }

    fn save<E>(&mut self, form: &Form<T, E>, as_of: Timestamp) {
        if let Some(place) = &self.place {
            place.save(self.good.as_deref().unwrap_or(form.empty), as_of);
            self.saved = Some(as_of);
        }
    }

    fn take<E: Display>(&mut self, message: &ByDomain, form: &Form<T, E>, slot: &Slot<T>, as_of: Timestamp) {
        match message.get(&self.id) {
            Some(bytes) if !bytes.is_empty() => self.replace(bytes, form, slot, as_of),
            // An empty X.509 bundle arrives as zero bytes (measured with SPIRE).
            _ => self.withdraw("the Workload API sends no bundle of it", form, slot, as_of),
        }
    }

    fn replace<E: Display>(&mut self, bytes: &[u8], form: &Form<T, E>, slot: &Slot<T>, as_of: Timestamp) {
        if self.good.as_deref() == Some(bytes) {
            self.current = true;
            return self.confirm(form, slot, as_of);
        }
        let source: &str = slot.source();
        let name = &self.following.trust_domain;
        match (form.parse)(bytes) {
            Ok(parsed) => {
                parsed
                    .skipped
                    .iter()
                    .for_each(|skipped| skipped.log(&format!("{source}, trust domain {name}")));
                tracing::info!(source, trust_domain.name = %name, "bundle replaced");
                slot.publish(parsed.value, as_of, self.bound(as_of));
                slot.annotate(None, parsed.skipped);
                (self.good, self.current) = (Some(bytes.to_vec()), true);
                self.save(form, as_of);
            }
            Err(why) => {
                tracing::warn!(source, trust_domain.name = %name, "the new bundle is malformed, so the old one stays in use: {why}");
                slot.fail(format!("malformed bundle: {why}"));
                self.current = false;
                self.recall(slot, as_of);
            }
        }
    }

    fn denied<E>(&mut self, why: &str, form: &Form<T, E>, slot: &Slot<T>, as_of: Timestamp) {
        match self.following.on_denied {
            OnPermissionDenied::Withdraw => self.withdraw(why, form, slot, as_of),
            OnPermissionDenied::Retain => {
                let source: &str = slot.source();
                let name = &self.following.trust_domain;
                tracing::warn!(source, trust_domain.name = %name, "the Workload API denied access, but the last bundle stays in use, because onPermissionDenied is `retain`: {why}");
                self.recall(slot, as_of);
            }
        }
        slot.fail(why);
    }

    fn withdraw<E>(&mut self, why: &str, form: &Form<T, E>, slot: &Slot<T>, as_of: Timestamp) {
        if self.current && self.good.is_none() {
            return self.confirm(form, slot, as_of); // already empty: the same generation
        }
        let source: &str = slot.source();
        let name = &self.following.trust_domain;
        tracing::warn!(source, trust_domain.name = %name, "bundle withdrawn, no credential of this trust domain is accepted: {why}");
        slot.publish(T::default(), as_of, self.bound(as_of));
        slot.annotate(None, Vec::new());
        (self.good, self.current) = (None, true);
        self.save(form, as_of);
    }
}
