//! The accept loop, and its end.

use super::connection::{self, Handler};
use super::{Limits, Settings};
use crate::clock::Clock;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};

/// Serves `listener` until `shutdown`; then closes it, lets the requests that are running finish, and returns when they have or
/// [`Limits::drain_timeout`] is over. Every request carries its [`Connection`](super::Connection) as an extension.
pub async fn run<H: Handler>(listener: TcpListener, settings: Settings, handler: H, clock: Clock, shutdown: impl Future<Output = ()>) {
    let Settings { tls, limits } = settings;
    let limits = Arc::new(limits);
    let slots = Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS)));
    let (drain, draining) = watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let (slot, stream, remote) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => {
                report(ended);
                continue;
            }
            accepted = accept(&listener, &slots) => accepted,
        };
        // A small answer must not wait for the acknowledgement of the one before it. A failure means that the peer has gone.
        drop(stream.set_nodelay(true));
        let tls = tls.as_ref().map(super::Tls::config);
        connections.spawn(connection::serve(stream, remote, tls, limits.clone(), handler.clone(), draining.clone(), slot));
    }
    drop(listener);
    drain.send_replace(true);
    finish(connections, &limits, &clock).await;
}

/// The next connection, when there is room for one.
async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> (Option<OwnedSemaphorePermit>, TcpStream, SocketAddr) {
    const PAUSE: Duration = Duration::from_millis(500);
    let slot = slots.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => return (slot, stream, remote),
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                // Out of descriptors, most likely. Connections that end will free some.
                tracing::error!("cannot accept connections at the moment, and will try again: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn is_of_the_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

async fn finish(mut connections: JoinSet<()>, limits: &Limits, clock: &Clock) {
    let began = clock.now();
    let all = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    match tokio::time::timeout(limits.drain_timeout, all).await {
        Ok(()) => tracing::info!("every connection ended within {:?}", clock.now().since(began)),
        Err(_) => tracing::warn!("cut off {} connections that were still busy after {:?}", connections.len(), limits.drain_timeout),
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a connection ended with a panic, which is a bug: {error}");
    }
}
