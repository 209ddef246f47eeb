//! The state of an open connection and of its requests: whether a caller was identified, whether a request is
//! in flight, and how long the connection has been idle. The server decides by it which connection to close
//! for another one.

use super::strangers::{Seat, Stranger};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The state of one connection. Clones share it.
#[derive(Clone, Debug)]
pub struct Standing(Arc<Connected>);

#[derive(Debug)]
struct Connected {
    identified: AtomicBool,
    /// Whether a load balancer uses the connection itself, for its health checks.
    balancer: AtomicBool,
    /// Whether the other end is a trusted proxy, which serves many clients.
    proxy: AtomicBool,
    stranger: OnceLock<Stranger>,
    asked: AtomicBool,
    in_flight: AtomicUsize,
    /// The seats of requests in flight, and of answers that wait in buffers.
    seated: AtomicUsize,
    /// When the client last sent a request, or sent or received a piece of a body, in milliseconds of the
    /// process.
    moved: AtomicU64,
    /// When the last request ended, or the connection began, in milliseconds of the process.
    idle_since: AtomicU64,
    gives_way: AtomicBool,
    at_once: AtomicBool,
    wake: Notify,
    /// Whether written bytes have not reached the kernel yet.
    unflushed: AtomicBool,
    lingers: AtomicBool,
    /// The last rejection of a certificate: a hash of the certificate and the reason, and the id of the
    /// request whose log line has them.
    refused: Mutex<Option<(u64, String)>>,
    /// The seats of answered requests whose answers are still in buffers.
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
            wake: Notify::new(),
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

    /// Counts the connection towards this address until it identifies its caller. The address has already
    /// added it.
    pub fn counts_for(&self, stranger: Stranger) {
        if let Err(second) = self.0.stranger.set(stranger) {
            second.disconnects();
        }
    }

    /// The connection is a load balancer's own. It is neither counted nor closed for others.
    pub fn is_balancer(&self) {
        self.0.balancer.store(true, Ordering::Relaxed);
    }

    /// Sets whether the other end is a trusted proxy. If it is, the connection is not closed for others, and
    /// an identified request does not identify the others.
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

    /// Whether a request has identified its caller. The connection's other requests then belong to it as
    /// well.
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

    /// Whether the connection has had a request.
    #[must_use]
    pub fn was_asked(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// How long the connection has been idle. `None` while a request is in flight, or the end of an answer
    /// waits in a buffer.
    #[must_use]
    pub fn idle_for(&self) -> Option<Duration> {
        self.is_idle()
            .then(|| Duration::from_millis(now().saturating_sub(self.0.idle_since.load(Ordering::Relaxed))))
    }

    fn is_idle(&self) -> bool {
        self.0.in_flight.load(Ordering::SeqCst) == 0 && !self.0.unflushed.load(Ordering::SeqCst)
    }

    /// The connection's loss, and when its client was last active. `None` if the connection must not be
    /// closed for another one.
    #[must_use]
    pub fn loss(&self) -> Option<(Loss, u64)> {
        if self.0.identified.load(Ordering::Relaxed) || self.is_exempt() {
            return None;
        }
        let moved = self.0.moved.load(Ordering::Relaxed);
        Some(if self.is_idle() {
            (Loss::Idle, self.0.idle_since.load(Ordering::Relaxed))
        } else if self.0.seated.load(Ordering::SeqCst) == 0 {
            (Loss::Busy, moved)
        } else {
            (Loss::Seated, moved)
        })
    }

    /// Tells the connection to end, since another one needs its place. With `at_once` it also ends if a
    /// request is in flight.
    pub fn give_way(&self, at_once: bool) {
        self.0.at_once.store(at_once, Ordering::SeqCst);
        self.0.gives_way.store(true, Ordering::SeqCst);
        self.0.wake.notify_one();
    }

    /// Whether the connection must end although a request is in flight.
    #[must_use]
    pub fn ends_at_once(&self) -> bool {
        self.0.at_once.load(Ordering::SeqCst)
    }

    /// The client sent or received something.
    pub fn moved(&self) {
        self.0.moved.store(now(), Ordering::Relaxed);
    }

    /// Returns when the connection must end.
    pub async fn must_give_way(&self) {
        while !self.0.gives_way.load(Ordering::SeqCst) {
            self.0.wake.notified().await;
        }
    }

    /// Bytes were written, and may wait in a buffer.
    pub fn wrote(&self) {
        if !self.0.unflushed.load(Ordering::Relaxed) {
            self.0.unflushed.store(true, Ordering::SeqCst);
        }
    }

    /// All written bytes have reached the kernel.
    pub fn flushed(&self) {
        if self.0.unflushed.load(Ordering::Relaxed) {
            self.0.unflushed.store(false, Ordering::SeqCst);
            if self.0.lingers.load(Ordering::SeqCst) {
                self.rise();
            }
        }
    }

    /// Keeps the seat of a finished request until its answer has left the buffers of this connection.
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

    /// The earlier request of this connection that was rejected for the same reason, if it was the last
    /// rejection. Otherwise remembers `request`.
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

/// What is lost if a connection is closed for another one. Later variants lose more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// No request is in flight.
    Idle,
    /// A request is being read, waits for a seat, or has an answer that holds neither files nor memory.
    Busy,
    /// A request of an unidentified caller is being answered.
    Seated,
}

/// One request. It is in flight until the last clone is dropped. The server drops its clone when the answer
/// is sent.
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
    /// With `body_taken` the request has no body to read.
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

    /// The caller is identified, and so is the connection, unless it is a proxy's.
    pub fn identified(&self) {
        self.0.identified.store(true, Ordering::Relaxed);
        self.0.standing.identified();
    }

    /// Whether this request, or an earlier one of the connection, has identified its caller.
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

    /// Whether all of the request's body was read.
    #[must_use]
    pub fn body_is_taken(&self) -> bool {
        self.0.body_taken.load(Ordering::Relaxed)
    }

    pub fn body_taken(&self, taken: bool) {
        self.0.body_taken.store(taken, Ordering::Relaxed);
    }
}

/// A request on a new connection.
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
    fn a_repeated_rejection_names_the_first_one_of_its_connection() {
        let one = Standing::default();
        let other = Standing::default();
        assert_eq!(one.refused_before("expired", "1"), None);
        assert_eq!(one.refused_before("expired", "2").as_deref(), Some("1"));
        assert_eq!(one.refused_before("unknown authority", "3"), None);
        assert_eq!(one.refused_before("unknown authority", "4").as_deref(), Some("3"));
        assert_eq!(other.refused_before("unknown authority", "5"), None);
    }
}
