//! The accept loop, and shutdown.

use super::admission::{Admission, Place};
use super::connection::{self, Handler, Serving};
use super::{Limits, Settings};
use crate::clock::Clock;
use crate::descriptors::{Spare, are_lacking};
use crate::http::Standing;
use futures_util::FutureExt as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

/// Serves `listener` until `shutdown`. Then closes it and lets running requests finish. Returns when they
/// have, or after [`Limits::drain_timeout`]. Every request has its [`Connection`](super::Connection) as an
/// extension.
pub async fn run<H: Handler>(
    listener: TcpListener,
    settings: Settings,
    handler: H,
    clock: Clock,
    shutdown: impl Future<Output = ()>,
) {
    let Settings {
        tls,
        limits,
        strangers,
        networks,
    } = settings;
    let limits = Arc::new(limits);
    let admission = Arc::new(Admission::new(strangers, networks, limits.connections));
    let serving = Arc::new(Serving {
        tls,
        limits: limits.clone(),
        handler,
        admission: admission.clone(),
    });
    let (drain, draining) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut acceptor = Acceptor {
        listener,
        admission: admission.clone(),
        spare: Spare::default(),
        logged: None,
    };
    // An accepted connection that waits for a place.
    let mut waiting: Option<Accepted> = None;
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => report(ended),
            accepted = acceptor.accept(), if waiting.is_none() => waiting = Some(accepted),
            () = a_place(&admission), if waiting.is_some() => {}
        }
        let Some(accepted) = waiting.take() else { continue };
        match accepted.place(&admission) {
            Placed::In(
                Accepted {
                    stream,
                    remote,
                    introduced,
                    ..
                },
                place,
            ) => {
                let introduced = introduced.unwrap_or_default();
                connections.spawn(connection::serve(
                    stream,
                    remote,
                    introduced,
                    serving.clone(),
                    draining.clone(),
                    place,
                ));
            }
            Placed::Waits(accepted) => waiting = Some(accepted),
            Placed::Out => {}
        }
    }
    drop(waiting);
    drop(acceptor);
    drain.send_replace(true);
    finish(connections, &limits, &clock).await;
}

struct Accepted {
    stream: TcpStream,
    remote: SocketAddr,
    standing: Standing,
    /// Whether the connection begins with a PROXY header, which names the client to count it for. `None`
    /// until that is decided. It is decided once, so that a reload cannot change whose connection it
    /// is.
    introduced: Option<bool>,
}

enum Placed {
    In(Accepted, Place),
    Waits(Accepted),
    Out,
}

impl Accepted {
    fn new((stream, remote): (TcpStream, SocketAddr)) -> Self {
        // A small answer must not wait for the acknowledgement of the one before it. A failure means that the
        // peer has closed the connection.
        drop(stream.set_nodelay(true));
        Self {
            stream,
            remote,
            standing: Standing::default(),
            introduced: None,
        }
    }

    fn place(mut self, admission: &Arc<Admission>) -> Placed {
        let peer = self.remote.ip();
        if self.introduced.is_none() {
            let introduced = admission.sends_proxy_header(peer);
            if !introduced && let Err(refused) = admission.admit(&self.standing, peer) {
                refused.log(peer);
                return Placed::Out;
            }
            self.introduced = Some(introduced);
        }
        match admission.place(&self.standing) {
            Some(place) => Placed::In(self, place),
            None => Placed::Waits(self),
        }
    }
}

/// Returns when there may be a place. No event tells that a connection has become idle, so this also returns
/// at intervals.
async fn a_place(admission: &Admission) {
    drop(tokio::time::timeout(LOOK_AGAIN, admission.freed()).await);
}

const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Accepts connections.
struct Acceptor {
    listener: TcpListener,
    admission: Arc<Admission>,
    /// A descriptor in reserve. When there are no others, it is used to accept one more connection, which
    /// then gets an answer.
    spare: Spare,
    /// When the log last reported that descriptors are exhausted.
    logged: Option<Instant>,
}

impl Acceptor {
    async fn accept(&mut self) -> Accepted {
        const PAUSE: Duration = Duration::from_millis(500);
        loop {
            self.keep_spare().await;
            let accepted = match self.listener.accept().await {
                // The kernel returns this error even if no connection is waiting.
                Err(error) if are_lacking(&error) => {
                    self.log_exhausted();
                    self.spare.give();
                    self.listener.accept().now_or_never()
                }
                accepted => Some(accepted),
            };
            match accepted {
                Some(Ok(accepted)) => return Accepted::new(accepted),
                Some(Err(error)) if !is_of_the_connection(&error) && !are_lacking(&error) => {
                    tracing::error!("cannot accept connections at the moment, and will try again: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
                _ => {}
            }
        }
    }

    /// Waits for a descriptor to spare. If none becomes free, closes idle connections, but gives new ones
    /// time to send a request.
    async fn keep_spare(&mut self) {
        const GRACE: Duration = Duration::from_millis(500);
        while !self.spare.keep() {
            self.log_exhausted();
            if tokio::time::timeout(GRACE, self.admission.freed()).await.is_err() {
                self.admission.make_room();
            }
        }
    }

    /// Reports that descriptors are exhausted, at most once a minute.
    fn log_exhausted(&mut self) {
        if self
            .logged
            .is_none_or(|logged| logged.elapsed() >= Duration::from_secs(60))
        {
            self.logged = Some(Instant::now());
            tracing::error!(
                "out of file descriptors: requests that need a file are answered with 503, and idle connections without a login are closed; \
                 raise the hard limit (LimitNOFILE=, ulimit -Hn)"
            );
        }
    }
}

fn is_of_the_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
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
        Err(_) => tracing::warn!(
            "closed {} connections that were still busy after {:?}",
            connections.len(),
            limits.drain_timeout
        ),
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a connection ended with a panic, which is a bug: {error}");
    }
}
