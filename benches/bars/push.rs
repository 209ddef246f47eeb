//! The client's pushes. New content costs the client almost nothing during the measurement: all blobs of one
//! size begin with the same bytes, which are hashed once, and differ only at their end.

use super::image::{image, layer, random};
use super::load::{answer, header};
use super::{hex, sha256};
use sha2::{Digest as _, Sha256};
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const TAIL: usize = 32;
/// The end of a push may copy a large blob.
const PATIENCE: Duration = Duration::from_secs(300);

/// The beginning of large blobs.
pub(crate) struct Beginning {
    bytes: Vec<u8>,
    hash: Sha256,
}

impl Beginning {
    /// The beginning for blobs of `size` bytes.
    pub(crate) fn of(size: usize) -> Self {
        let bytes = random(size - TAIL);
        Self {
            hash: Sha256::new_with_prefix(&bytes),
            bytes,
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + TAIL
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Pushes `count` new blobs, `connections` at a time.
    pub(crate) fn push_new(&self, address: SocketAddr, count: usize, connections: usize) {
        let push = || {
            let tail = random(TAIL);
            let digest = hex(self.hash.clone().chain_update(&tail));
            push_on(
                &mut connect(address),
                "bench/push",
                &digest,
                &[&self.bytes, &tail],
            );
        };
        in_parallel(count, connections, || push);
    }
}

/// Pushes `count` images, each with a configuration, a small layer and its own tag.
pub(crate) fn push_images(address: SocketAddr, count: usize, connections: usize) {
    in_parallel(count, connections, || {
        let mut stream = connect(address);
        move || {
            let config = random(600);
            let small = random(4000);
            let of_config = sha256(&config);
            let of_layer = sha256(&small);
            push_on(&mut stream, "bench/small", &of_config, &[&config]);
            push_on(&mut stream, "bench/small", &of_layer, &[&small]);
            let manifest = image(&of_config, config.len(), &[layer(&of_layer, small.len())]);
            push_manifest_on(
                &mut stream,
                "bench/small",
                &format!("t{}", fastrand::u64(..)),
                &manifest,
            );
        }
    });
}

/// Runs the work `count` times on `workers` threads. Each thread prepares itself first.
pub(crate) fn in_parallel<W: FnMut()>(count: usize, workers: usize, ready: impl Fn() -> W + Sync) {
    let left = AtomicUsize::new(count);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut work = ready();
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                    .is_ok()
                {
                    work();
                }
            });
        }
    });
}

/// Pushes a blob with POST and PUT, as docker does without chunks.
pub(crate) fn push_blob(address: SocketAddr, repository: &str, digest: &str, bytes: &[u8]) {
    push_on(&mut connect(address), repository, digest, &[bytes]);
}

/// Pushes a blob with one POST.
pub(crate) fn push_blob_whole(address: SocketAddr, repository: &str, digest: &str, bytes: &[u8]) {
    let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
    let done = send(
        &mut connect(address),
        "POST",
        &path,
        "Content-Type: application/octet-stream\r\n",
        &[bytes],
    );
    assert!(done.starts_with("HTTP/1.1 201"), "{done}");
}

pub(crate) fn push_manifest(address: SocketAddr, repository: &str, tag: &str, manifest: &str) {
    push_manifest_on(&mut connect(address), repository, tag, manifest);
}

/// Starts an upload, sends half of a body and stops.
pub(crate) fn half_an_upload(address: SocketAddr, repository: &str, bytes: &[u8]) -> TcpStream {
    let mut stream = connect(address);
    let path = upload(&mut stream, repository);
    let head = format!(
        "PATCH {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        path.trim_end_matches(['?', '&']),
        2 * bytes.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    // A wait without an answer fails with a message.
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn push_on(stream: &mut TcpStream, repository: &str, digest: &str, parts: &[&[u8]]) {
    let path = upload(stream, repository);
    let done = send(
        stream,
        "PUT",
        &format!("{path}digest={digest}"),
        "Content-Type: application/octet-stream\r\n",
        parts,
    );
    assert!(done.starts_with("HTTP/1.1 201"), "{done}");
}

pub(crate) fn push_manifest_on(stream: &mut TcpStream, repository: &str, tag: &str, manifest: &str) {
    let kind = "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n";
    let done = send(
        stream,
        "PUT",
        &format!("/v2/{repository}/manifests/{tag}"),
        kind,
        &[manifest.as_bytes()],
    );
    assert!(done.starts_with("HTTP/1.1 201"), "{done}");
}

/// Starts an upload and returns the path to continue it, to which parameters can be added.
fn upload(stream: &mut TcpStream, repository: &str) -> String {
    let begun = send(
        stream,
        "POST",
        &format!("/v2/{repository}/blobs/uploads/"),
        "",
        &[],
    );
    assert!(begun.starts_with("HTTP/1.1 202"), "{begun}");
    let location = header(&begun, "location").unwrap();
    // An absolute location has an authority before its path.
    let path = location
        .split_once("://")
        .map_or(location, |(_, rest)| &rest[rest.find('/').unwrap()..]);
    format!("{path}{}", if path.contains('?') { '&' } else { '?' })
}

fn send(stream: &mut TcpStream, method: &str, path: &str, headers: &str, parts: &[&[u8]]) -> String {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    for part in parts {
        stream.write_all(part).unwrap();
    }
    answer(stream, false).0
}
