//! Bounds for clients that have not identified themselves: their open connections and their requests in
//! progress, by address.
//!
//! A connection is checked once, when it is accepted. A request is checked only while its caller is
//! unidentified. That costs some atomic operations on a direct connection, or one short lock of a shard if a
//! proxy names the client.

use super::turns::{Crowded, Turns};
use crate::limits::{FORMS_OF_ADDRESS, WAIT_SECONDS, WAITING_OF_ADDRESS};
use crate::source_address::SourceAddress;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// How much one address may have open without a credential. Clients with the same address share the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrangerBounds {
    pub connections: usize,
    /// Requests whose answers hold files or memory. Some more may wait for one of these to end.
    pub requests: usize,
}

/// A hundred nodes behind one NAT have 300 requests in flight if each pulls three layers. All requests that
/// may be in flight, send a form or wait are only half of the connections, so that there is always a
/// connection that can be closed for the next one.
impl Default for StrangerBounds {
    fn default() -> Self {
        Self {
            connections: 1024,
            requests: 320,
        }
    }
}

/// All addresses. Clones share them.
#[derive(Clone, Debug)]
pub struct Strangers(Arc<Table>);

impl Strangers {
    #[must_use]
    pub fn new(bounds: StrangerBounds) -> Self {
        let table = Table {
            connections: 0.into(),
            requests: 0.into(),
            shards: Default::default(),
            hasher: RandomState::new(),
        };
        let strangers = Self(Arc::new(table));
        strangers.bound(bounds);
        strangers
    }

    /// Sets new bounds. Open connections and requests stay open.
    pub fn bound(&self, bounds: StrangerBounds) {
        self.0.connections.store(bounds.connections, Ordering::Relaxed);
        self.0.requests.store(bounds.requests, Ordering::Relaxed);
        for shard in &self.0.shards {
            // Dropping an entry locks its shard, so none may be dropped while the shard is locked.
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let entries: Vec<_> = shard.values().filter_map(Weak::upgrade).collect();
            drop(shard);
            entries
                .iter()
                .for_each(|entry| entry.requests.bound(self.0.requests.load(Ordering::Relaxed)));
        }
    }

    /// The entry of an address. It exists as long as it is used.
    #[must_use]
    pub fn at(&self, address: IpAddr) -> Stranger {
        let source = SourceAddress::of(address);
        let mut shard = self.0.shard(source);
        if let Some(known) = shard.get(&source).and_then(Weak::upgrade) {
            return Stranger(known);
        }
        let entry = Arc::new(Entry {
            source,
            connections: 0.into(),
            streams: 0.into(),
            requests: Turns::new(self.0.requests.load(Ordering::Relaxed)),
            forms: Turns::new(FORMS_OF_ADDRESS),
            table: self.0.clone(),
        });
        shard.insert(source, Arc::downgrade(&entry));
        Stranger(entry)
    }

    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        self.0
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap().len())
            .sum()
    }
}

impl Default for Strangers {
    fn default() -> Self {
        Self::new(StrangerBounds::default())
    }
}

/// The counts of one address. Clones share them.
#[derive(Clone, Debug)]
pub struct Stranger(Arc<Entry>);

impl Stranger {
    #[must_use]
    pub fn source(&self) -> SourceAddress {
        self.0.source
    }

    /// Counts one more connection, and returns whether the bound allows it.
    #[must_use]
    pub fn connects(&self) -> bool {
        let most = self.0.table.connections.load(Ordering::Relaxed);
        self.0
            .connections
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                (open < most).then_some(open + 1)
            })
            .is_ok()
    }

    /// Counts one more connection in place of another, which is about to close.
    pub fn connects_instead(&self) {
        self.0.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection has ended, or has identified its caller.
    pub(super) fn disconnects(&self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Opens one more HTTP/2 stream. An address may have as many of them as connections. Even a small answer
    /// occupies memory until the client has received it, and one connection can have many streams.
    #[must_use]
    pub fn stream(&self) -> Option<OpenStream> {
        let most = self.0.table.connections.load(Ordering::Relaxed);
        let opened = self
            .0
            .streams
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                (open < most).then_some(open + 1)
            });
        opened.is_ok().then(|| OpenStream(self.clone()))
    }

    /// A seat for an answer that holds files or memory until the client has received it. Waits in turn until
    /// another request of this address gives up its seat.
    ///
    /// # Errors
    ///
    /// When too many wait already, or none ended in time.
    pub async fn seat(&self) -> Result<Seat, Crowded> {
        self.sit(|entry| &entry.requests).await
    }

    /// A seat for a request that sends a form. A form identifies its caller only at its end. Forms have seats
    /// of their own, so they do not wait for answers.
    ///
    /// # Errors
    ///
    /// When too many wait already, or none ended in time.
    pub async fn form(&self) -> Result<Seat, Crowded> {
        self.sit(|entry| &entry.forms).await
    }

    async fn sit(&self, of: fn(&Entry) -> &Turns) -> Result<Seat, Crowded> {
        of(&self.0)
            .take(WAITING_OF_ADDRESS, Duration::from_secs(WAIT_SECONDS))
            .await?;
        Ok(Seat {
            stranger: self.clone(),
            of,
        })
    }
}

/// The seat of a request that is being answered, or whose form is being read.
#[derive(Debug)]
pub struct Seat {
    stranger: Stranger,
    of: fn(&Entry) -> &Turns,
}

impl Drop for Seat {
    fn drop(&mut self) {
        (self.of)(&self.stranger.0).give_back();
    }
}

/// One HTTP/2 stream of a connection that has not identified its caller.
#[derive(Debug)]
pub struct OpenStream(Stranger);

impl Drop for OpenStream {
    fn drop(&mut self) {
        let Self(Stranger(entry)) = self;
        entry.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Table {
    connections: AtomicUsize,
    requests: AtomicUsize,
    shards: [Mutex<HashMap<SourceAddress, Weak<Entry>>>; 32],
    hasher: RandomState,
}

impl Table {
    fn shard(&self, source: SourceAddress) -> MutexGuard<'_, HashMap<SourceAddress, Weak<Entry>>> {
        let [first, ..] = &self.shards;
        let at = self.hasher.hash_one(source) % 32;
        let shard = usize::try_from(at)
            .ok()
            .and_then(|at| self.shards.get(at))
            .unwrap_or(first);
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Entry {
    source: SourceAddress,
    connections: AtomicUsize,
    streams: AtomicUsize,
    requests: Turns,
    forms: Turns,
    table: Arc<Table>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut shard = self.table.shard(self.source);
        // A new entry of the same address may already have replaced this one.
        if shard
            .get(&self.source)
            .is_some_and(|entry| entry.strong_count() == 0)
        {
            shard.remove(&self.source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn strangers(connections: usize, requests: usize) -> Strangers {
        Strangers::new(StrangerBounds {
            connections,
            requests,
        })
    }

    fn at(strangers: &Strangers, address: &str) -> Stranger {
        strangers.at(address.parse().unwrap())
    }

    #[test]
    fn connections_are_bounded_by_address() {
        let strangers = strangers(2, 1);
        let one = at(&strangers, "2001:db8::1");
        let same = at(&strangers, "2001:db8::2");
        let other = at(&strangers, "2001:db8:0:1::1");
        assert!(one.connects() && same.connects() && !one.connects() && !same.connects() && other.connects());
        one.disconnects();
        assert!(same.connects());
        strangers.bound(StrangerBounds {
            connections: 3,
            requests: 1,
        });
        assert!(one.connects() && !one.connects());
        drop((one, same, other));
        assert_eq!(
            strangers.entries(),
            0,
            "an address that has nothing open is forgotten"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn requests_and_forms_are_bounded_separately_by_address() {
        let strangers = strangers(2, 1);
        let one = at(&strangers, "192.0.2.1");
        let other = at(&strangers, "192.0.2.2");
        let seat = one.seat().await.unwrap();
        other.seat().await.unwrap();
        let forms: Vec<_> = (0..FORMS_OF_ADDRESS)
            .filter_map(|_| one.form().now_or_never())
            .collect();
        assert_eq!(forms.len(), FORMS_OF_ADDRESS);
        assert!(one.form().now_or_never().is_none());
        other.form().await.unwrap();
        let mut waiting: Vec<_> = (0..WAITING_OF_ADDRESS).map(|_| Box::pin(one.seat())).collect();
        assert!(
            waiting
                .iter_mut()
                .all(|waits| waits.as_mut().now_or_never().is_none())
        );
        assert_eq!(
            one.seat().await.unwrap_err(),
            Crowded::Waiting {
                most: WAITING_OF_ADDRESS
            }
        );
        drop(seat);
        let seated = waiting.remove(0).await.unwrap();
        let began = tokio::time::Instant::now();
        let after = Duration::from_secs(WAIT_SECONDS);
        assert_eq!(waiting.remove(0).await.unwrap_err(), Crowded::Late { after });
        assert!(began.elapsed() <= after);
        drop(seated);
    }

    #[tokio::test]
    async fn a_higher_bound_lets_waiting_requests_continue() {
        let strangers = strangers(2, 1);
        let one = at(&strangers, "192.0.2.1");
        let _seat = one.seat().await.unwrap();
        let mut second = Box::pin(one.seat());
        assert!(second.as_mut().now_or_never().is_none());
        strangers.bound(StrangerBounds {
            connections: 2,
            requests: 2,
        });
        let _second = second.await.unwrap();
        assert!(one.seat().now_or_never().is_none());
    }
}
