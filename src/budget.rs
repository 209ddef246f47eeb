//! The memory for bodies of requests: manifests and forms, which are read whole, and the batches of uploads.
//! All bodies together have a fixed number of bytes, so that many concurrent clients get slower and the
//! process does not grow. Large manifests on their way to slow clients are included. What a connection
//! buffers before a body is read is not: the HTTP server bounds that for each connection.
//!
//! Memory is given out in whole pieces, in the order of requests. A body waits for its first memory before it
//! is read. If that takes too long, the request is rejected unread. After that a body is never rejected: a
//! manifest or a form has reserved all that it may need, and an upload continues with what it has, writes it,
//! and waits for the next piece. An upload that holds memory while it waits for its client returns it when
//! others need it.
//! Each caller has a share, so that a slow or greedy caller delays only itself. An identified caller has a
//! quarter of the memory, and an address without a credential an eighth, each at least enough for one of the
//! largest manifests. All callers without a credential have half together, so that they cannot keep
//! identified callers from pushing. Forms have memory of their own, so that logins do not wait for pushes.

use crate::limits::{BODY_WAIT_SECONDS, MANIFEST_BYTES};
use crate::source_address::SourceAddress;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Memory is given out in multiples of this, in bytes.
pub const PIECE: usize = 16 * 1024;
/// The smallest budget, in bytes: three of the largest manifests and the forms. Callers without a credential
/// may use two of the manifests.
pub const LEAST: usize = 16 << 20;
/// The default budget, in bytes: 28 uploads at full speed or 14 of the largest manifests, which is a quarter
/// of a container of 256 MiB.
pub const USUAL: usize = 64 << 20;
/// The largest manifest, in pieces.
const LARGEST: usize = MANIFEST_BYTES / PIECE;

/// Cheap to clone; all clones share the memory.
#[derive(Clone)]
pub struct Budget(Arc<Pools>);

struct Pools {
    /// For everything except forms.
    all: Arc<Pool>,
    strangers: Arc<Pool>,
    forms: Arc<Pool>,
    /// The share of each caller of a kind, in pieces.
    identified_each: usize,
    stranger_each: usize,
    form_each: usize,
    /// The shares of callers that hold memory or wait for it.
    shares: Mutex<HashMap<Holder, Weak<Own>>>,
}

/// The caller whose body it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A caller of this name.
    Identified(String),
    /// A caller without a credential, by address. `None` for the clients of a proxy that does not name them:
    /// they have no share of their own.
    Stranger(Option<SourceAddress>),
    /// A form that may carry the credential itself, by address, as above.
    Form(Option<SourceAddress>),
}

/// The wait for memory took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no memory for a request's body was free within {BODY_WAIT_SECONDS}s: http.bodyMemory, or this caller's share of it, is in use"
)]
pub struct Exhausted;

impl Budget {
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let pieces = bytes / PIECE;
        let forms = pieces / 8;
        Self(Arc::new(Pools {
            all: Pool::new(pieces - forms),
            strangers: Pool::new(pieces / 2),
            forms: Pool::new(forms),
            identified_each: (pieces / 4).max(LARGEST),
            stranger_each: (pieces / 8).max(LARGEST),
            form_each: forms / 8,
            shares: Mutex::default(),
        }))
    }

    /// The share of one caller's bodies. All shares of one caller are the same.
    #[must_use]
    pub fn of(&self, holder: Holder) -> Share {
        let pools = &self.0;
        let mut shares = pools.shares();
        if let Some(known) = shares.get(&holder).and_then(Weak::upgrade) {
            return Share(known);
        }
        let (each, common) = match holder {
            Holder::Identified(_) => (Some(pools.identified_each), vec![&pools.all]),
            Holder::Stranger(from) => (
                from.map(|_| pools.stranger_each),
                vec![&pools.strangers, &pools.all],
            ),
            Holder::Form(from) => (from.map(|_| pools.form_each), vec![&pools.forms]),
        };
        let own = each
            .map(Pool::new)
            .into_iter()
            .chain(common.into_iter().cloned())
            .collect();
        let own = Arc::new(Own {
            holder: holder.clone(),
            pools: own,
            budget: pools.clone(),
        });
        shares.insert(holder, Arc::downgrade(&own));
        Share(own)
    }

    /// The number of bytes in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.all.used() + self.0.forms.used()
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("used", &self.used())
            .finish_non_exhaustive()
    }
}

impl Pools {
    fn shares(&self) -> MutexGuard<'_, HashMap<Holder, Weak<Own>>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The share of one caller's bodies. Cheap to clone.
#[derive(Clone)]
pub struct Share(Arc<Own>);

struct Own {
    holder: Holder,
    /// Memory is taken from each of these in this order. The caller's own share comes first, so that a caller
    /// who waits for it holds no memory of the shared pools.
    pools: Vec<Arc<Pool>>,
    budget: Arc<Pools>,
}

impl Drop for Own {
    fn drop(&mut self) {
        let mut shares = self.budget.shares();
        // A new share may have replaced this one.
        if shares
            .get(&self.holder)
            .is_some_and(|share| share.strong_count() == 0)
        {
            shares.remove(&self.holder);
        }
    }
}

impl Share {
    /// Reserves so many bytes, rounded up to pieces. Call this before reading anything of a body.
    pub async fn reserve(&self, bytes: usize) -> Result<Held, Exhausted> {
        if let Some(held) = self.try_take(bytes) {
            return Ok(held);
        }
        let waiting = tokio::time::timeout(Duration::from_secs(BODY_WAIT_SECONDS), self.take(bytes));
        waiting.await.map_err(|_| {
            metrics::counter!("wharfinger_body_memory_refusals_total").increment(1);
            Exhausted
        })
    }

    /// Like [`Share::reserve`], without a time limit. Call this only while holding no memory, or two callers
    /// that hold some would wait for each other.
    pub async fn take(&self, bytes: usize) -> Held {
        let pieces = self.pieces(bytes);
        let mut permits = Vec::with_capacity(self.0.pools.len());
        for pool in &self.0.pools {
            permits.extend(pool.take(pieces).await);
        }
        Held {
            permits,
            _share: self.clone(),
        }
    }

    /// Takes the memory at once, or returns `None`.
    #[must_use]
    pub fn try_take(&self, bytes: usize) -> Option<Held> {
        let pieces = self.pieces(bytes);
        let permits = self
            .0
            .pools
            .iter()
            .map(|pool| pool.try_take(pieces))
            .collect::<Option<_>>()?;
        Some(Held {
            permits,
            _share: self.clone(),
        })
    }

    /// Returns when others wait for memory that this caller holds.
    pub async fn wanted(&self) {
        let wanted = self.0.pools.iter().map(|pool| Box::pin(pool.wanted()));
        futures_util::future::select_all(wanted).await;
    }

    /// At most as many pieces as the share has.
    fn pieces(&self, bytes: usize) -> u32 {
        let most = self.0.pools.iter().map(|pool| pool.pieces).min().unwrap_or(1);
        u32::try_from(bytes.div_ceil(PIECE))
            .unwrap_or(u32::MAX)
            .clamp(1, most)
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share")
            .field("holder", &self.0.holder)
            .finish_non_exhaustive()
    }
}

/// Memory that is given back when this is dropped.
#[derive(Debug)]
pub struct Held {
    /// One permit for each pool of the share.
    permits: Vec<OwnedSemaphorePermit>,
    /// Keeps the share alive, so that the caller does not get a second one.
    _share: Share,
}

impl Held {
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.permits.first().map_or(0, OwnedSemaphorePermit::num_permits) * PIECE
    }

    /// Adds memory of the same share.
    pub fn add(&mut self, more: Self) {
        self.permits
            .iter_mut()
            .zip(more.permits)
            .for_each(|(own, more)| own.merge(more));
    }

    /// Gives back everything beyond so many bytes.
    pub fn keep(&mut self, bytes: usize) {
        let needed = bytes.div_ceil(PIECE).max(1);
        for permit in &mut self.permits {
            drop(permit.split(permit.num_permits().saturating_sub(needed)));
        }
    }
}

struct Pool {
    free: Arc<Semaphore>,
    pieces: u32,
    waiting: AtomicUsize,
    /// Notified when a caller begins to wait.
    wanted: Notify,
}

impl Pool {
    /// At least one piece.
    fn new(pieces: usize) -> Arc<Self> {
        let pieces = u32::try_from(pieces).unwrap_or(u32::MAX).max(1);
        let free = Arc::new(Semaphore::new(
            usize::try_from(pieces).unwrap_or(Semaphore::MAX_PERMITS),
        ));
        Arc::new(Self {
            free,
            pieces,
            waiting: AtomicUsize::new(0),
            wanted: Notify::new(),
        })
    }

    fn used(&self) -> usize {
        usize::try_from(self.pieces)
            .unwrap_or(usize::MAX)
            .saturating_sub(self.free.available_permits())
            * PIECE
    }

    /// Fails while other callers wait.
    fn try_take(&self, pieces: u32) -> Option<OwnedSemaphorePermit> {
        self.free.clone().try_acquire_many_owned(pieces).ok()
    }

    /// Serves callers in order. `None` only if the semaphore is closed, which never happens.
    async fn take(&self, pieces: u32) -> Option<OwnedSemaphorePermit> {
        if let Some(taken) = self.try_take(pieces) {
            return Some(taken);
        }
        let _waiting = Waiting::begin(self);
        self.free.clone().acquire_many_owned(pieces).await.ok()
    }

    async fn wanted(&self) {
        let notified = self.wanted.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if self.waiting.load(Ordering::SeqCst) == 0 {
            notified.await;
        }
    }
}

struct Waiting<'a>(&'a Pool);

impl<'a> Waiting<'a> {
    fn begin(pool: &'a Pool) -> Self {
        pool.waiting.fetch_add(1, Ordering::SeqCst);
        pool.wanted.notify_waiters();
        Self(pool)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::FORM_BYTES;
    use futures_util::FutureExt;

    /// A budget so small that it leaves none for forms.
    fn budget(pieces: usize) -> (Budget, Share, Share) {
        let budget = Budget::new(pieces * PIECE);
        let identified = budget.of(caller("builder"));
        let stranger = budget.of(Holder::Stranger(None));
        (budget, identified, stranger)
    }

    fn caller(name: &str) -> Holder {
        Holder::Identified(name.to_owned())
    }

    fn from(address: &str) -> Option<SourceAddress> {
        Some(SourceAddress::of(address.parse().unwrap()))
    }

    #[test]
    fn memory_is_handed_out_in_whole_pieces_and_returned() {
        let (budget, identified, _) = budget(6);
        let mut held = identified.try_take(PIECE + 1).unwrap();
        assert_eq!((held.bytes(), budget.used()), (2 * PIECE, 2 * PIECE));
        held.add(identified.try_take(4 * PIECE).unwrap());
        assert_eq!((held.bytes(), budget.used()), (6 * PIECE, 6 * PIECE));
        assert!(identified.try_take(1).is_none());
        held.keep(10);
        assert_eq!((held.bytes(), budget.used()), (PIECE, PIECE));
        drop(held);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn callers_without_a_credential_have_half_and_identified_callers_all() {
        let (budget, identified, stranger) = budget(6);
        let theirs = stranger.try_take(3 * PIECE).unwrap();
        assert!(stranger.try_take(1).is_none());
        assert!(identified.try_take(3 * PIECE).is_some());
        drop(theirs);
        let all = identified.try_take(6 * PIECE).unwrap();
        assert!(stranger.try_take(1).is_none(), "no memory is left");
        drop(all);
        assert_eq!(stranger.try_take(usize::MAX).unwrap().bytes(), 3 * PIECE);
        assert_eq!(budget.used(), 0, "a rejected request holds nothing");
    }

    #[test]
    fn no_caller_can_use_up_the_budget() {
        let budget = Budget::new(USUAL);
        let most = |holder: Holder| {
            let share = budget.of(holder);
            let held = share.try_take(usize::MAX).unwrap();
            assert!(share.try_take(1).is_none());
            held
        };
        let holders = [
            (caller("a"), USUAL / 4),
            (caller("b"), USUAL / 4),
            (Holder::Stranger(from("192.0.2.1")), USUAL / 8),
            (Holder::Stranger(from("2001:db8::1")), USUAL / 8),
            (Holder::Form(from("192.0.2.1")), USUAL / 64),
            (Holder::Form(from("192.0.2.2")), USUAL / 64),
        ];
        let held: Vec<_> = holders
            .iter()
            .map(|(holder, bytes)| (most(holder.clone()), *bytes))
            .collect();
        for (held, bytes) in &held {
            assert_eq!(held.bytes(), *bytes);
        }
        assert!(
            budget
                .of(Holder::Stranger(from("2001:db8::2")))
                .try_take(1)
                .is_none(),
            "it is the same network"
        );
        assert_eq!(
            budget.used(),
            held.iter().map(|(held, _)| held.bytes()).sum::<usize>()
        );
        drop(held);
        assert_eq!(
            (budget.used(), budget.0.shares().len()),
            (0, 0),
            "callers who hold nothing are forgotten"
        );
    }

    #[test]
    fn every_share_fits_one_body_and_all_shares_fit_the_budget() {
        let budget = Budget::new(LEAST);
        let held: Vec<_> = (0..4)
            .map(|n| {
                budget
                    .of(Holder::Stranger(from(&format!("192.0.2.{n}"))))
                    .try_take(MANIFEST_BYTES)
            })
            .collect();
        assert_eq!(
            held.iter().flatten().map(Held::bytes).collect::<Vec<_>>(),
            [MANIFEST_BYTES; 2]
        );
        assert_eq!(
            budget.of(caller("a")).try_take(MANIFEST_BYTES).unwrap().bytes(),
            MANIFEST_BYTES
        );
        let forms: Vec<_> = (0..20)
            .map(|n| {
                budget
                    .of(Holder::Form(from(&format!("192.0.2.{n}"))))
                    .try_take(FORM_BYTES)
            })
            .collect();
        assert!(forms.iter().flatten().all(|form| form.bytes() == FORM_BYTES));
        let rest: Vec<_> = (0..LEAST / PIECE)
            .filter_map(|n| budget.of(caller(&n.to_string())).try_take(1))
            .collect();
        assert!(
            budget.of(Holder::Form(None)).try_take(1).is_none(),
            "there is room for sixteen of the largest forms"
        );
        assert_eq!((budget.used(), rest.is_empty()), (LEAST, false));
    }

    #[test]
    fn held_memory_belongs_to_its_caller_after_the_share_is_dropped() {
        let budget = Budget::new(LEAST);
        let held = budget
            .of(Holder::Stranger(from("192.0.2.1")))
            .try_take(usize::MAX);
        assert!(
            held.is_some()
                && budget
                    .of(Holder::Stranger(from("192.0.2.1")))
                    .try_take(1)
                    .is_none()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_waits_for_memory_but_not_for_ever() {
        let (budget, identified, stranger) = budget(6);
        let all = identified.reserve(6 * PIECE).await.unwrap();
        assert_eq!(stranger.reserve(1).await.unwrap_err(), Exhausted);
        let (waiting, given) = tokio::join!(identified.reserve(4 * PIECE), async {
            tokio::task::yield_now().await;
            drop(all);
        });
        assert_eq!((waiting.unwrap().bytes(), given), (4 * PIECE, ()));
        assert_eq!(budget.used(), 0, "a cancelled wait holds nothing");
    }

    #[tokio::test]
    async fn a_holder_of_memory_is_notified_when_others_need_it() {
        let (_, identified, stranger) = budget(4);
        let held = stranger.try_take(2 * PIECE).unwrap();
        let mut wanted = Box::pin(stranger.wanted());
        let mut not_wanted = Box::pin(identified.wanted());
        assert!(wanted.as_mut().now_or_never().is_none());
        assert!(not_wanted.as_mut().now_or_never().is_none());
        let mut waiting = Box::pin(stranger.take(1));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(
            wanted.as_mut().now_or_never().is_some(),
            "a holder that already waits"
        );
        assert!(
            stranger.wanted().now_or_never().is_some(),
            "a holder that asks later"
        );
        assert!(
            not_wanted.as_mut().now_or_never().is_none(),
            "only callers without a credential are short of memory"
        );
        drop(held);
        assert!(waiting.as_mut().now_or_never().is_some());
        assert!(stranger.wanted().now_or_never().is_none());
    }
}
