//! Decides which connections are served, by the client's address and by the number of all connections.

use super::slots::{Given, Slots};
use crate::http::{Standing, Strangers, TrustedProxies};
use arc_swap::ArcSwap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;

/// The peers between this server and its clients.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    /// Reverse proxies. Bounds by address do not apply to their connections.
    pub trusted_proxies: TrustedProxies,
    /// Load balancers that begin each connection with a PROXY header.
    pub proxy_protocol: TrustedProxies,
}

pub(super) struct Admission {
    strangers: Strangers,
    networks: Arc<ArcSwap<Networks>>,
    /// The number of connections that may be open.
    most: usize,
    slots: Mutex<Slots>,
    freed: Notify,
}

impl Admission {
    pub(super) fn new(strangers: Strangers, networks: Arc<ArcSwap<Networks>>, most: usize) -> Self {
        Self {
            strangers,
            networks,
            most: most.max(1),
            slots: Mutex::default(),
            freed: Notify::new(),
        }
    }

    /// Whether connections from this peer begin with a PROXY header.
    pub(super) fn sends_proxy_header(&self, peer: IpAddr) -> bool {
        self.networks.load().proxy_protocol.contains(peer)
    }

    /// Counts a connection for the client's address. If the address has too many, one of them is closed for
    /// the new one. The new one is refused if a request is being answered on each of them.
    pub(super) fn admit(&self, standing: &Standing, client: IpAddr) -> Result<(), Refused> {
        if self.networks.load().trusted_proxies.contains(client) {
            standing.is_proxy(true);
            return Ok(());
        }
        let stranger = self.strangers.at(client);
        if !stranger.connects() {
            let Some(given) = self.slots().give_away_of(stranger.source()) else {
                metrics::counter!("wharfinger_connections_refused_total", "reason" => "address").increment(1);
                return Err(Refused);
            };
            Self::close(&given, "address");
            stranger.connects_instead();
        }
        standing.counts_for(stranger);
        Ok(())
    }

    /// A place among all connections, if need be that of an unidentified one. `None` if all open connections
    /// are identified or belong to proxies.
    pub(super) fn place(self: &Arc<Self>, standing: &Standing) -> Option<Place> {
        let mut slots = self.slots();
        if slots.len() >= self.most {
            Self::close(&slots.give_away()?, "all");
        }
        let id = slots.enter(standing.clone());
        drop(slots);
        Some(Place {
            admission: self.clone(),
            standing: standing.clone(),
            id,
        })
    }

    /// Closes the unidentified connection that has been idle for the longest, to free its file descriptor.
    pub(super) fn make_room(&self) {
        let given = self.slots().give_away_idle();
        given.inspect(|given| Self::close(given, "descriptors"));
    }

    /// Returns when a connection may have ended.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }

    fn close(Given { standing, at_once }: &Given, reason: &'static str) {
        metrics::counter!("wharfinger_connections_closed_for_others_total", "reason" => reason).increment(1);
        standing.give_way(*at_once);
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection, which is free again when this is dropped.
pub(super) struct Place {
    admission: Arc<Admission>,
    standing: Standing,
    id: u64,
}

impl Place {
    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The PROXY header has named the client of the connection.
    pub(super) fn is_known(&self) {
        self.admission.slots().file(self.id, &self.standing);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.slots().leave(self.id);
        self.admission.freed.notify_one();
    }
}

/// The client's address has too many connections, and a request is being answered on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused;

impl Refused {
    /// Logs at most one line a minute: a refused client can try again as fast as the network allows.
    pub(super) fn log(self, client: IpAddr) {
        static LAST: AtomicU64 = AtomicU64::new(0);
        static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
        let now = Instant::now().saturating_duration_since(*BEGAN).as_secs() + 60;
        let last = LAST.load(Ordering::Relaxed);
        if now >= last + 60
            && LAST
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            tracing::warn!(
                client.address = %client,
                "refused a connection: its address has http.unidentified.connectionsPerAddress connections without a login, and a \
                 request is being answered on each. Further refusals are only counted for a minute"
            );
        }
    }
}
