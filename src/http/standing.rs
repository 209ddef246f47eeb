//! What is known of a connection and of each request on it while it is open: whether it has identified
//! someone, what is in flight, and since when nothing is. The server reads it to decide which connection must
//! give way; `auth` says who was identified.

use super::strangers::{Seat, Stranger};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// One connection. Clones share it.
#[derive(Clone, Debug)]
pub struct Standing(Arc<Connected>);

#[derive(Debug)]
struct Connected {
    identified: AtomicBool,
    /// A load balancer's own connection, for its checks.
    balancer: AtomicBool,
    /// A trusted proxy, which speaks for many.
    proxy: AtomicBool,
    stranger: OnceLock<Stranger>,
    asked: AtomicBool,
    in_flight: AtomicUsize,
    /// Seats of requests in flight, and those that linger.
    seated: AtomicUsize,
    /// When the client last sent a request, or sent or took a piece of a body, in milliseconds of the
    /// process.
    moved: AtomicU64,
    /// When the last request ended, or the connection began, in milliseconds of the process.
    idle_since: AtomicU64,
    gives_way: AtomicBool,
    at_once: AtomicBool,
    told: Notify,
    /// Whether anything written is not yet with the kernel.
    unflushed: AtomicBool,
    lingers: AtomicBool,
    /// The certificate that the log says was refused, why, and in which request: a hash of the first two, and
    /// the request's id.
    refused: Mutex<Option<(u64, String)>>,
    /// Of requests that were answered into buffers which the client has not taken yet.
    lingering: Mutex<Vec<Seat>>,
}

impl Default for Standing {
    fn default() -> Self {
        Self(Arc::new(Connected {
            identified: false.into(),
            balancer: false.into(),
            proxy: false.into(),
            stranger: OnceLock::new(),
            asked: false.into(),
            in_flight: 0.into(),
            seated: 0.into(),
            moved: now().into(),
            idle_since: now().into(),
            gives_way: false.into(),
            at_once: false.into(),
            told: Notify::new(),
            unflushed: false.into(),
            lingers: false.into(),
            refused: Mutex::default(),
            lingering: Mutex::default(),
        }))
    }
}

impl Standing {
    #[cfg(test)]
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The connection comes from this address, which has counted it, and counts it until it has identified
    /// someone.
    pub fn counts_for(&self, stranger: Stranger) {
        if let Err(second) = self.0.stranger.set(stranger) {
            second.disconnects();
        }
    }

    /// The other end is a load balancer that speaks for itself. Its connection is neither counted nor closed
    /// for others.
    pub fn is_balancer(&self) {
        self.0.balancer.store(true, Ordering::Relaxed);
    }

    /// Whether the other end is a trusted proxy. As long as it is, its connection is not closed for others,
    /// and no request on it vouches for another one.
    pub fn is_proxy(&self, proxy: bool) {
        if self.0.proxy.load(Ordering::Relaxed) != proxy {
            self.0.proxy.store(proxy, Ordering::Relaxed);
        }
    }

    #[must_use]
    pub fn is_exempt(&self) -> bool {
        self.0.proxy.load(Ordering::Relaxed) || self.0.balancer.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn stranger(&self) -> Option<&Stranger> {
        self.0.stranger.get()
    }

    /// Whether a request of this connection has identified someone, and so the connection's other requests.
    #[must_use]
    pub fn is_identified(&self) -> bool {
        self.0.identified.load(Ordering::Relaxed) && !self.is_exempt()
    }

    fn identified(&self) {
        if !self.is_exempt()
            && !self.0.identified.load(Ordering::Relaxed)
            && !self.0.identified.swap(true, Ordering::Relaxed)
        {
            self.0.stranger.get().inspect(|stranger| stranger.disconnects());
        }
    }

    /// Whether there was a request at all.
    #[must_use]
    pub fn was_asked(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// How long nothing has been in flight. `None` while something is, or while the last of an answer waits
    /// in a buffer.
    #[must_use]
    pub fn idle_for(&self) -> Option<Duration> {
        self.is_idle()
            .then(|| Duration::from_millis(now().saturating_sub(self.0.idle_since.load(Ordering::Relaxed))))
    }

    fn is_idle(&self) -> bool {
        self.0.in_flight.load(Ordering::SeqCst) == 0 && !self.0.unflushed.load(Ordering::SeqCst)
    }

    /// What the connection does, and since when the client has done nothing. `None` if it is never closed for
    /// another one.
    #[must_use]
    pub fn stake(&self) -> Option<(Stake, u64)> {
        if self.0.identified.load(Ordering::Relaxed) || self.is_exempt() {
            return None;
        }
        let moved = self.0.moved.load(Ordering::Relaxed);
        Some(if self.is_idle() {
            (Stake::Idle, self.0.idle_since.load(Ordering::Relaxed))
        } else if self.0.seated.load(Ordering::SeqCst) == 0 {
            (Stake::Busy, moved)
        } else {
            (Stake::Seated, moved)
        })
    }

    /// Tells the connection to end, since another one needs its place; `at_once` also if a request is in
    /// flight.
    pub fn give_way(&self, at_once: bool) {
        self.0.at_once.store(at_once, Ordering::SeqCst);
        self.0.gives_way.store(true, Ordering::SeqCst);
        self.0.told.notify_one();
    }

    /// Whether it has been told to end although a request is in flight.
    #[must_use]
    pub fn ends_at_once(&self) -> bool {
        self.0.at_once.load(Ordering::SeqCst)
    }

    /// The client sent or took something.
    pub fn moved(&self) {
        self.0.moved.store(now(), Ordering::Relaxed);
    }

    /// Returns when the connection was told to end.
    pub async fn told_to_give_way(&self) {
        while !self.0.gives_way.load(Ordering::SeqCst) {
            self.0.told.notified().await;
        }
    }

    /// Something was written, and may wait in a buffer.
    pub fn wrote(&self) {
        if !self.0.unflushed.load(Ordering::Relaxed) {
            self.0.unflushed.store(true, Ordering::SeqCst);
        }
    }

    /// Everything that was written is with the kernel.
    pub fn flushed(&self) {
        if self.0.unflushed.load(Ordering::Relaxed) {
            self.0.unflushed.store(false, Ordering::SeqCst);
            if self.0.lingers.load(Ordering::SeqCst) {
                self.rise();
            }
        }
    }

    /// A request is over, and its answer may still be in a buffer of this connection: the seat is given back
    /// once it is not.
    fn linger(&self, seat: Seat) {
        self.0
            .lingering
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(seat);
        self.0.lingers.store(true, Ordering::SeqCst);
        if !self.0.unflushed.load(Ordering::SeqCst) {
            self.rise();
        }
    }

    /// The request of this connection that was refused last for the same reason. If there is none, `request`
    /// is now the one.
    pub(super) fn refused_before(&self, reason: &str, request: &str) -> Option<String> {
        let mut hasher = DefaultHasher::new();
        reason.hash(&mut hasher);
        let mut refused = self.0.refused.lock().unwrap_or_else(PoisonError::into_inner);
        match &*refused {
            Some((same, first)) if *same == hasher.finish() => Some(first.clone()),
            _ => {
                *refused = Some((hasher.finish(), request.to_owned()));
                None
            }
        }
    }

    fn rise(&self) {
        let mut lingering = self.0.lingering.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.lingers.store(false, Ordering::SeqCst);
        let seats = std::mem::take(&mut *lingering);
        drop(lingering);
        self.0.seated.fetch_sub(seats.len(), Ordering::SeqCst);
        drop(seats);
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        if !*self.identified.get_mut() {
            self.stranger.get().inspect(|stranger| stranger.disconnects());
        }
    }
}

/// What a connection loses if it is closed for another one: the more, the later it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stake {
    /// No request is in flight.
    Idle,
    /// A request is read, waits for its seat, or has an answer that holds nothing.
    Busy,
    /// A request of an unidentified caller is being answered.
    Seated,
}

/// One request. It is in flight until the last clone is dropped, which the server does when the answer is
/// sent.
#[derive(Clone, Debug)]
pub struct ActiveRequest(Arc<Active>);

#[derive(Debug)]
struct Active {
    standing: Standing,
    identified: AtomicBool,
    body_taken: AtomicBool,
    seat: OnceLock<Seat>,
}

impl ActiveRequest {
    /// `body_taken`: there is none.
    #[must_use]
    pub fn new(standing: &Standing, body_taken: bool) -> Self {
        standing.0.in_flight.fetch_add(1, Ordering::SeqCst);
        standing.0.asked.store(true, Ordering::SeqCst);
        standing.moved();
        let standing = standing.clone();
        let body_taken = body_taken.into();
        Self(Arc::new(Active {
            standing,
            identified: false.into(),
            body_taken,
            seat: OnceLock::new(),
        }))
    }

    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.0.standing
    }

    /// The request's caller is known. So is the connection's, unless a proxy speaks for many on it.
    pub fn identified(&self) {
        self.0.identified.store(true, Ordering::Relaxed);
        self.0.standing.identified();
    }

    /// Whether this request, or an earlier one of the connection, has identified someone.
    #[must_use]
    pub fn is_identified(&self) -> bool {
        self.0.identified.load(Ordering::Relaxed) || self.0.standing.is_identified()
    }

    /// Keeps the seat until the answer is sent.
    pub fn sits(&self, seat: Seat) {
        if self.0.seat.set(seat).is_ok() {
            self.0.standing.0.seated.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Whether the last of the request's body was taken.
    #[must_use]
    pub fn body_is_taken(&self) -> bool {
        self.0.body_taken.load(Ordering::Relaxed)
    }

    pub fn body_taken(&self, taken: bool) {
        self.0.body_taken.store(taken, Ordering::Relaxed);
    }
}

/// The only request of a connection of its own.
impl Default for ActiveRequest {
    fn default() -> Self {
        Self::new(&Standing::default(), true)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        if let Some(seat) = self.seat.take() {
            self.standing.linger(seat);
        }
        let Standing(connected) = &self.standing;
        connected.idle_since.store(now(), Ordering::Relaxed);
        connected.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

/// In milliseconds.
fn now() -> u64 {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(Instant::now().saturating_duration_since(*BEGAN).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_the_first_of_its_reason_once_a_connection() {
        let one = Standing::default();
        let other = Standing::default();
        assert_eq!(one.refused_before("expired", "1"), None);
        assert_eq!(one.refused_before("expired", "2").as_deref(), Some("1"));
        assert_eq!(one.refused_before("unknown authority", "3"), None);
        assert_eq!(one.refused_before("unknown authority", "4").as_deref(), Some("3"));
        assert_eq!(other.refused_before("unknown authority", "5"), None);
    }
}
