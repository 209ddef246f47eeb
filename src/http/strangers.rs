//! What clients that have not identified themselves have open, by address: connections, and requests that are being answered.
//!
//! A connection asks once, when it is accepted. A request asks only while its caller is unknown, and then costs some atomic operations
//! on a direct connection, or one short lock of a shard where a proxy names the client.

use crate::source_address::SourceAddress;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// How much one address may have open without a credential. Clients that share an address share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrangerBounds {
    pub connections: usize,
    /// Requests that are being answered. As many as `connections` may wait for one of these to end.
    pub requests: usize,
}

/// 300 is what a hundred nodes behind one NAT open when all pull three layers each.
impl Default for StrangerBounds {
    fn default() -> Self {
        Self { connections: 1024, requests: 256 }
    }
}

/// The table of all addresses. Clones share it.
#[derive(Clone, Debug)]
pub struct Strangers(Arc<Table>);

impl Strangers {
    #[must_use]
    pub fn new(bounds: StrangerBounds) -> Self {
        let table = Table { connections: 0.into(), requests: 0.into(), shards: Default::default(), hasher: RandomState::new() };
        let strangers = Self(Arc::new(table));
        strangers.bound(bounds);
        strangers
    }

    /// New bounds. What is open stays open.
    pub fn bound(&self, bounds: StrangerBounds) {
        self.0.connections.store(bounds.connections, Ordering::Relaxed);
        self.0.requests.store(bounds.requests, Ordering::Relaxed);
    }

    /// The entry of an address, which lasts as long as it is used.
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
            requests: 0.into(),
            waiting: 0.into(),
            freed: Notify::new(),
            table: self.0.clone(),
        });
        shard.insert(source, Arc::downgrade(&entry));
        Stranger(entry)
    }

    #[cfg(test)]
    fn entries(&self) -> usize {
        self.0.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }
}

impl Default for Strangers {
    fn default() -> Self {
        Self::new(StrangerBounds::default())
    }
}

/// One address. Clones share its counts.
#[derive(Clone, Debug)]
pub struct Stranger(Arc<Entry>);

impl Stranger {
    #[must_use]
    pub fn source(&self) -> SourceAddress {
        self.0.source
    }

    /// Counts one more connection, if the bound allows it.
    #[must_use]
    pub fn connects(&self) -> bool {
        let most = self.0.table.connections.load(Ordering::Relaxed);
        self.0.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| (open < most).then_some(open + 1)).is_ok()
    }

    /// The same where another connection of this address has just been told to close.
    pub fn connects_instead(&self) {
        self.0.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection is over, or has identified someone.
    pub(super) fn disconnects(&self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Leave for one more HTTP/2 stream, of which an address may have as many as connections. Even an answer of some bytes, or a refusal,
    /// occupies memory as long as its client does not take it, and a connection can have many.
    #[must_use]
    pub fn stream(&self) -> Option<OpenStream> {
        let most = self.0.table.connections.load(Ordering::Relaxed);
        let opened = self.0.streams.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| (open < most).then_some(open + 1));
        opened.is_ok().then(|| OpenStream(self.clone()))
    }

    /// Leave to be answered. Waits in turn for another request of this address to end, if too many are being answered.
    ///
    /// # Errors
    ///
    /// When too many wait already, or none ended in time.
    pub async fn seat(&self) -> Result<Seat, Crowded> {
        if let Some(seat) = self.try_seat() {
            return Ok(seat);
        }
        let most = self.0.table.connections.load(Ordering::Relaxed);
        let _waiting = Waiting::begin(&self.0.waiting, most).ok_or(Crowded)?;
        tokio::time::timeout(WAIT, self.wait()).await.map_err(|_| Crowded)
    }

    async fn wait(&self) -> Seat {
        loop {
            let mut freed = pin!(self.0.freed.notified());
            freed.as_mut().enable();
            if let Some(seat) = self.try_seat() {
                return seat;
            }
            freed.await;
        }
    }

    fn try_seat(&self) -> Option<Seat> {
        let most = self.0.table.requests.load(Ordering::SeqCst);
        let taken = self.0.requests.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |taken| (taken < most).then_some(taken + 1));
        taken.is_ok().then(|| Seat(self.clone()))
    }
}

/// One request that is being answered.
#[derive(Debug)]
pub struct Seat(Stranger);

impl Drop for Seat {
    fn drop(&mut self) {
        let Self(Stranger(entry)) = self;
        entry.requests.fetch_sub(1, Ordering::SeqCst);
        if entry.waiting.load(Ordering::SeqCst) > 0 {
            entry.freed.notify_one();
        }
    }
}

/// One HTTP/2 stream of a connection that has not identified anyone.
#[derive(Debug)]
pub struct OpenStream(Stranger);

impl Drop for OpenStream {
    fn drop(&mut self) {
        let Self(Stranger(entry)) = self;
        entry.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Too many requests of one address are being answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowded;

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
        let shard = usize::try_from(at).ok().and_then(|at| self.shards.get(at)).unwrap_or(first);
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Entry {
    source: SourceAddress,
    connections: AtomicUsize,
    streams: AtomicUsize,
    requests: AtomicUsize,
    waiting: AtomicUsize,
    freed: Notify,
    table: Arc<Table>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut shard = self.table.shard(self.source);
        // A new entry of the same address may have taken its place already.
        if shard.get(&self.source).is_some_and(|entry| entry.strong_count() == 0) {
            shard.remove(&self.source);
        }
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| (now < most).then_some(now + 1)).ok()?;
        Some(Self(waiting))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// How long a request waits for another one of its address to end.
const WAIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn strangers(connections: usize, requests: usize) -> Strangers {
        Strangers::new(StrangerBounds { connections, requests })
    }

    fn at(strangers: &Strangers, address: &str) -> Stranger {
        strangers.at(address.parse().unwrap())
    }

    #[test]
    fn connections_are_bounded_by_address() {
        let strangers = strangers(2, 1);
        let (one, same, other) = (at(&strangers, "2001:db8::1"), at(&strangers, "2001:db8::2"), at(&strangers, "2001:db8:0:1::1"));
        assert!(one.connects() && same.connects() && !one.connects() && !same.connects() && other.connects());
        one.disconnects();
        assert!(same.connects());
        strangers.bound(StrangerBounds { connections: 3, requests: 1 });
        assert!(one.connects() && !one.connects());
        drop((one, same, other));
        assert_eq!(strangers.entries(), 0, "an address that has nothing open is forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn requests_wait_in_turn_and_not_for_ever() {
        let strangers = strangers(2, 1);
        let (one, other) = (at(&strangers, "192.0.2.1"), at(&strangers, "192.0.2.2"));
        let seat = one.seat().await.unwrap();
        other.seat().await.unwrap();
        let (mut second, mut third) = (Box::pin(one.seat()), Box::pin(one.seat()));
        assert!(second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none());
        assert_eq!(one.seat().await.unwrap_err(), Crowded, "two wait already");
        drop(seat);
        let seat = second.await.unwrap();
        assert!(third.as_mut().now_or_never().is_none(), "one seat, one request");
        drop(seat);
        let _seat = third.await.unwrap();
        assert_eq!(one.seat().await.unwrap_err(), Crowded, "nobody stands up in time");
    }

    #[tokio::test]
    async fn a_request_that_gives_up_waiting_does_not_keep_the_seat_from_the_next() {
        let strangers = strangers(2, 1);
        let one = at(&strangers, "192.0.2.1");
        let seat = one.seat().await.unwrap();
        let (mut second, mut third) = (Box::pin(one.seat()), Box::pin(one.seat()));
        assert!(second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none());
        drop(seat);
        drop(second);
        third.await.unwrap();
    }
}
