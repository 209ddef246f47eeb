//! A TCP proxy on loopback. A test can hold what passes through it, slow it down, and break its connections.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

/// How many connections there are at once. Further ones wait.
const CONNECTIONS: usize = 512;
/// How many bytes a connection holds in each direction, apart from the kernel's buffers.
const BUFFER: usize = 64 << 10;

/// The way between two programs, for all of their connections.
#[derive(Clone)]
pub struct Line(Arc<watch::Sender<State>>);

#[derive(Clone, Copy, Default)]
struct State {
    held: bool,
    delay: Duration,
    resets: u64,
}

impl Default for Line {
    fn default() -> Self {
        Self(Arc::new(watch::channel(State::default()).0))
    }
}

impl Line {
    /// Nothing passes until [`Self::release`], as in a network that lost its route. What was sent arrives
    /// then, even if its sender has given up.
    pub fn hold(&self) {
        self.0.send_modify(|state| state.held = true);
    }

    pub fn release(&self) {
        self.0.send_modify(|state| state.held = false);
    }

    /// Everything arrives this much later, in order.
    pub fn delay(&self, delay: Duration) {
        self.0.send_modify(|state| state.delay = delay);
    }

    /// Breaks all connections. What is held is lost.
    pub fn reset(&self) {
        self.0.send_modify(|state| state.resets += 1);
    }

    /// Carries bytes until both sides have ended, or the connection breaks.
    pub(crate) async fn carry(&self, mut one: TcpStream, mut other: TcpStream) {
        let mut watched = self.0.subscribe();
        let resets = watched.borrow_and_update().resets;
        let ended = {
            let (one_reads, one_writes) = one.split();
            let (other_reads, other_writes) = other.split();
            let carried = async {
                tokio::try_join!(
                    self.pump(one_reads, other_writes),
                    self.pump(other_reads, one_writes)
                )
            };
            let broken = watched.wait_for(|state| state.resets != resets);
            tokio::select! {
                result = carried => result.is_ok(),
                _ = broken => false,
            }
        };
        if !ended {
            // The other side learns of it at once, too.
            drop(one.set_zero_linger());
            drop(other.set_zero_linger());
        }
    }

    async fn pump(&self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = from.read(&mut buffer).await?;
            self.pass().await;
            if length == 0 {
                return to.shutdown().await;
            }
            to.write_all(&buffer[..length]).await?;
        }
    }

    async fn pass(&self) {
        let mut watched = self.0.subscribe();
        let delay = watched.wait_for(|state| !state.held).await.unwrap().delay;
        if delay > Duration::ZERO {
            tokio::time::sleep(delay).await;
        }
    }
}

/// A proxy in front of one address.
pub struct Link {
    address: SocketAddr,
    line: Line,
    _serving: Serving,
}

impl Link {
    pub async fn to(target: SocketAddr) -> Self {
        let line = Line::default();
        let (address, serving) = Serving::start({
            let line = line.clone();
            move |client| {
                let line = line.clone();
                async move {
                    match TcpStream::connect(target).await {
                        Ok(server) => line.carry(client, server).await,
                        Err(_) => drop(client.set_zero_linger()),
                    }
                }
            }
        })
        .await;
        Self {
            address,
            line,
            _serving: serving,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn line(&self) -> &Line {
        &self.line
    }
}

/// A listener that ends with its connections when this is dropped.
pub(crate) struct Serving(AbortHandle);

impl Serving {
    /// Listens on an unused port of loopback.
    pub(crate) async fn start<F: Future<Output = ()> + Send + 'static>(
        connected: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> (SocketAddr, Self) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let accepting = async move {
            let (alive, _) = watch::channel(());
            loop {
                let permit = room.clone().acquire_owned().await.unwrap();
                let Ok((client, _)) = listener.accept().await else {
                    continue;
                };
                drop(client.set_nodelay(true));
                let carried = connected(client);
                let mut owner = alive.subscribe();
                tokio::spawn(async move {
                    let carried = pin!(carried);
                    tokio::select! {
                        () = carried => {}
                        _ = owner.changed() => {}
                    }
                    drop(permit);
                });
            }
        };
        (address, Self(tokio::spawn(accepting).abort_handle()))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
