//! A proxy before the store's S3 port, which counts the requests and the bytes that pass.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::{AddAssign, Sub};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::AbortHandle;

const BUFFER: usize = 256 << 10;

/// What passed, by what a cloud charges for it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    /// PUT, POST and lists.
    pub(crate) writes: u64,
    /// Other GET, and HEAD.
    pub(crate) reads: u64,
    /// DELETE
    pub(crate) removals: u64,
    /// Bytes to the store, with the heads of the requests.
    pub(crate) sent: u64,
    /// Bytes from the store.
    pub(crate) received: u64,
}

impl Counts {
    pub(crate) fn requests(&self) -> u64 {
        self.writes + self.reads + self.removals
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.writes += other.writes;
        self.reads += other.reads;
        self.removals += other.removals;
        self.sent += other.sent;
        self.received += other.received;
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            writes: self.writes - other.writes,
            reads: self.reads - other.reads,
            removals: self.removals - other.removals,
            sent: self.sent - other.sent,
            received: self.received - other.received,
        }
    }
}

pub(crate) struct Counting {
    pub(crate) address: SocketAddr,
    counts: Arc<Mutex<Counts>>,
    accepting: AbortHandle,
}

impl Counting {
    pub(crate) fn before(runtime: &Runtime, store: SocketAddr) -> Self {
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Mutex::new(Counts::default()));
        let accepting = {
            let counts = counts.clone();
            runtime.spawn(async move {
                loop {
                    let (client, _) = listener.accept().await.unwrap();
                    let server = TcpStream::connect(store).await.unwrap();
                    client.set_nodelay(true).unwrap();
                    server.set_nodelay(true).unwrap();
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    tokio::spawn(requests(from_client, to_server, counts.clone()));
                    tokio::spawn(answers(from_server, to_client, counts.clone()));
                }
            })
        };
        Self {
            address,
            counts,
            accepting: accepting.abort_handle(),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        *self.counts.lock().unwrap()
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, counts: Arc<Mutex<Counts>>) {
    let mut parser = Parser::default();
    let mut buffer = vec![0; BUFFER];
    while let Ok(length) = from.read(&mut buffer).await {
        let found = parser.read(&buffer[..length]);
        *counts.lock().unwrap() += found;
        if length == 0 || to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    drop(to.shutdown().await);
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, counts: Arc<Mutex<Counts>>) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(length) = from.read(&mut buffer).await {
        counts.lock().unwrap().received += length as u64;
        if length == 0 || to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    drop(to.shutdown().await);
}

/// Finds the requests in what a client sends on one connection.
#[derive(Default)]
struct Parser {
    head: Vec<u8>,
    /// Bytes that are left of a body.
    body: usize,
}

impl Parser {
    fn read(&mut self, mut bytes: &[u8]) -> Counts {
        let mut counts = Counts {
            sent: bytes.len() as u64,
            ..Counts::default()
        };
        while !bytes.is_empty() {
            let skipped = self.body.min(bytes.len());
            self.body -= skipped;
            bytes = &bytes[skipped..];
            let searched = self.head.len().saturating_sub(3);
            self.head.extend_from_slice(bytes);
            let end = self.head[searched..]
                .windows(4)
                .position(|four| four == b"\r\n\r\n");
            let Some(end) = end.map(|end| searched + end + 4) else {
                return counts;
            };
            bytes = &bytes[bytes.len() - (self.head.len() - end)..];
            self.head.truncate(end);
            let head = String::from_utf8_lossy(&self.head).to_ascii_lowercase();
            self.body = content_length(&head);
            self.head.clear();
            counts += count(head.lines().next().unwrap());
        }
        counts
    }
}

fn content_length(head: &str) -> usize {
    assert!(
        !head.contains("\r\ntransfer-encoding:"),
        "a request to the store without a length: {head}"
    );
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    length.map_or(0, |length| length.trim().parse().unwrap())
}

/// Counts a request by the first line of its head, in small letters.
fn count(line: &str) -> Counts {
    let mut counts = Counts::default();
    let (method, target) = line.split_once(' ').unwrap();
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let is_list = ["list-type=", "prefix=", "delimiter=", "uploads"]
        .iter()
        .any(|key| query.contains(key));
    match method {
        "put" | "post" => counts.writes = 1,
        "get" if is_list => counts.writes = 1,
        "get" | "head" => counts.reads = 1,
        "delete" => counts.removals = 1,
        other => panic!("an unknown method: {other}"),
    }
    counts
}
