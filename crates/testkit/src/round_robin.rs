//! Spreads TCP connections over replicas, like a load balancer without health checks of its own: it skips a
//! replica that refuses a connection.

use crate::link::{Line, Serving};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::TcpStream;

pub struct RoundRobin {
    address: SocketAddr,
    replicas: Arc<Replicas>,
    _serving: Serving,
}

struct Replicas {
    all: Vec<Replica>,
    next: AtomicUsize,
}

#[derive(Default)]
struct Replica {
    address: Mutex<Option<SocketAddr>>,
    line: Line,
}

impl RoundRobin {
    /// Replicas have no address at first.
    pub async fn over(replicas: usize) -> Self {
        let replicas = Arc::new(Replicas {
            all: std::iter::repeat_with(Replica::default).take(replicas).collect(),
            next: AtomicUsize::new(0),
        });
        let (address, serving) = Serving::start({
            let replicas = replicas.clone();
            move |client| replicas.clone().serve(client)
        })
        .await;
        Self {
            address,
            replicas,
            _serving: serving,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the replica listens. `None` if it gets no connections.
    pub fn place(&self, replica: usize, address: Option<SocketAddr>) {
        *self.replicas.all[replica].address.lock().unwrap() = address;
    }

    /// The way to this replica.
    pub fn line(&self, replica: usize) -> &Line {
        &self.replicas.all[replica].line
    }
}

impl Replicas {
    async fn serve(self: Arc<Self>, client: TcpStream) {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        for number in first..first + self.all.len() {
            let replica = &self.all[number % self.all.len()];
            let address = *replica.address.lock().unwrap();
            let Some(address) = address else { continue };
            if let Ok(server) = TcpStream::connect(address).await {
                drop(server.set_nodelay(true));
                return replica.line.carry(client, server).await;
            }
        }
        // No replica listens.
        drop(client.set_zero_linger());
    }
}
