//! The hostile client, with its own address, a number of connections, and a number of bytes per second.

use super::site::Site;
use super::tls::{self, Tls};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::client::TlsStream;

pub(crate) const CONNECTIONS: usize = 1000;
const BYTES_A_SECOND: f64 = 1e6;
/// About how many bytes a handshake sends besides certificates.
const HANDSHAKE_BYTES: usize = 2000;

#[derive(Clone)]
pub(crate) struct Attacker(Arc<State>);

struct State {
    address: SocketAddr,
    authority: String,
    sent: AtomicU64,
    open: AtomicUsize,
    most: AtomicUsize,
    /// The time at which the next byte may be sent.
    next: Mutex<Instant>,
}

impl Attacker {
    pub(crate) fn new(site: &Site) -> Self {
        Self(Arc::new(State {
            address: site.address,
            authority: site.pki.servers.pem.clone(),
            sent: AtomicU64::default(),
            open: AtomicUsize::default(),
            most: AtomicUsize::default(),
            next: Mutex::new(Instant::now()),
        }))
    }

    pub(crate) fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn most_connections(&self) -> usize {
        self.0.most.load(Ordering::Relaxed)
    }

    /// Waits until this many bytes may be sent.
    pub(crate) async fn pay(&self, bytes: usize) {
        /// Timers are too coarse for single bytes, so bytes are sent a little ahead and waited for later.
        const AHEAD: Duration = Duration::from_millis(10);
        let mut next = self.0.next.lock().await;
        if *next > Instant::now() + AHEAD {
            sleep_until(*next).await;
        }
        *next = (*next).max(Instant::now()) + Duration::from_secs_f64(bytes as f64 / BYTES_A_SECOND);
        self.0.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn tls(&self, chain: Option<&super::certificates::Chain>, http2: bool) -> Tls {
        Tls::new(
            &self.0.authority,
            chain.map(|chain| (chain.certificates.clone(), &chain.key)),
            http2,
        )
    }

    /// Connects with TLS. Returns `None` if the server rejects the connection.
    pub(crate) async fn connect(&self, tls: &Tls, certificates: usize) -> Option<Held> {
        self.pay(HANDSHAKE_BYTES + certificates).await;
        let connecting = timeout(Duration::from_secs(15), tls.connect(ADDRESS, self.0.address));
        let stream = connecting.await.ok()?.ok()?;
        Some(
            Held {
                stream,
                attacker: self.clone(),
            }
            .counted(),
        )
    }

    /// Connects and sends nothing.
    pub(crate) async fn socket(&self) -> Option<TcpStream> {
        self.pay(60).await;
        timeout(Duration::from_secs(5), tls::connect(ADDRESS, self.0.address))
            .await
            .ok()?
            .ok()
    }

    pub(crate) async fn write(&self, stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Option<()> {
        self.pay(bytes.len()).await;
        stream.write_all(bytes).await.ok()?;
        stream.flush().await.ok()
    }
}

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// A connection that is counted while it is open.
pub(crate) struct Held {
    pub(crate) stream: TlsStream<TcpStream>,
    attacker: Attacker,
}

impl Held {
    fn counted(self) -> Self {
        let state = &self.attacker.0;
        let open = state.open.fetch_add(1, Ordering::Relaxed) + 1;
        state.most.fetch_max(open, Ordering::Relaxed);
        self
    }

    /// Sends a request and reads the beginning of the answer. Returns `None` if the connection ended.
    pub(crate) async fn ask(&mut self, request: &str) -> Option<()> {
        self.attacker
            .clone()
            .write(&mut self.stream, request.as_bytes())
            .await?;
        let read = timeout(Duration::from_secs(30), self.stream.read(&mut [0; 16 << 10]))
            .await
            .ok()?
            .ok()?;
        (read > 0).then_some(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.attacker.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
