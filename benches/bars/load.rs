//! The client. It does as little as it can, so that the machine is the servers': large answers are counted in the kernel and never
//! copied, and of TLS ones nothing is decrypted.

use super::sha256;
use super::tls::Tls;
use rustix::net::{RecvFlags, recv};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What to ask for, and how.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) token: Option<String>,
}

impl Ask {
    pub(crate) fn get(address: SocketAddr, path: &str) -> Self {
        Self { address, tls: None, method: "GET", path: path.to_owned(), token: None }
    }

    pub(crate) fn tls(self, tls: &Arc<Tls>) -> Self {
        Self { tls: Some(tls.clone()), ..self }
    }

    pub(crate) fn head(self) -> Self {
        Self { method: "HEAD", ..self }
    }

    pub(crate) fn token(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }

    fn request(&self, last: bool) -> String {
        let Self { method, path, .. } = self;
        let accept = "application/vnd.oci.image.manifest.v1+json";
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bars\r\nAccept: {accept}\r\n");
        if let Some(token) = &self.token {
            text += &format!("Authorization: Bearer {token}\r\n");
        }
        text + if last { "Connection: close\r\n\r\n" } else { "\r\n" }
    }

    /// Asks `count` times on `connections` connections that stay open.
    pub(crate) fn many(&self, count: usize, connections: usize) {
        let left = AtomicUsize::new(count);
        std::thread::scope(|scope| {
            for _ in 0..connections {
                scope.spawn(|| {
                    let mut stream = self.connect();
                    let request = self.request(false);
                    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                        stream.write_all(request.as_bytes()).unwrap();
                        let answer = answer(&mut stream, self.method == "HEAD");
                        assert!(answer.starts_with("HTTP/1.1 200"), "{} {}: {answer}", self.method, self.path);
                    }
                });
            }
        });
    }

    /// Asks `count` times, `connections` at a time, each on a connection of its own, for something of `size` bytes.
    pub(crate) fn large(&self, size: usize, count: usize, connections: usize) {
        let left = AtomicUsize::new(count);
        std::thread::scope(|scope| {
            for _ in 0..connections {
                scope.spawn(|| {
                    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                        let got = self.throw_away();
                        assert!(got >= size, "{}: {got} of {size} bytes", self.path);
                    }
                });
            }
        });
    }

    /// How many bytes came before the server closed the connection.
    fn throw_away(&self) -> usize {
        let stream = TcpStream::connect(self.address).unwrap();
        let stream = match &self.tls {
            Some(tls) => {
                let mut shaken = tls.shake(stream);
                shaken.write_all(self.request(true).as_bytes()).unwrap();
                shaken.flush().unwrap();
                shaken.sock
            }
            None => {
                (&stream).write_all(self.request(true).as_bytes()).unwrap();
                stream
            }
        };
        let mut room = vec![0; 1 << 20];
        let mut all = 0;
        loop {
            match recv(&stream, &mut room[..], RecvFlags::TRUNC) {
                Ok((_, 0)) => return all,
                Ok((_, length)) => all += length,
                Err(rustix::io::Errno::INTR) => {}
                Err(why) => panic!("{}: {why} after {all} bytes", self.path),
            }
        }
    }

    pub(crate) fn connect(&self) -> Box<dyn Stream> {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        match &self.tls {
            Some(tls) => Box::new(tls.shake(stream)),
            None => Box::new(stream),
        }
    }

    /// Connects, asks once and closes, `count` times.
    pub(crate) fn handshakes(&self, count: usize) {
        for _ in 0..count {
            self.once();
        }
    }

    pub(crate) fn once(&self) {
        let mut stream = self.connect();
        stream.write_all(self.request(true).as_bytes()).unwrap();
        let answer = answer(&mut stream, false);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// A connection that has had one answer and stays open.
    pub(crate) fn idle(&self) -> Box<dyn Stream> {
        let mut stream = self.connect();
        stream.write_all(self.request(false).as_bytes()).unwrap();
        answer(&mut stream, self.method == "HEAD");
        stream
    }

    /// A download of which the beginning was read, and nothing more.
    pub(crate) fn begun(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(self.request(true).as_bytes()).unwrap();
        stream.read_exact(&mut [0; 4096]).unwrap();
        stream
    }
}

pub(crate) trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// The head of an answer; its body is read and thrown away.
pub(crate) fn answer(stream: &mut (impl Read + ?Sized), bodiless: bool) -> String {
    let mut buffer = vec![0; 64 << 10];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).unwrap();
        assert!(read > 0, "the server closed the connection");
        filled += read;
        let Some(end) = buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        let length = header(&head, "content-length").and_then(|length| length.parse::<usize>().ok()).unwrap_or(0);
        let mut left = if bodiless { 0 } else { (end + 4 + length).saturating_sub(filled) };
        while left > 0 {
            let most = left.min(buffer.len());
            let read = stream.read(&mut buffer[..most]).unwrap();
            assert!(read > 0, "the server closed the connection in a body");
            left -= read;
        }
        return head;
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()))
}

fn send(stream: &mut TcpStream, method: &str, path: &str, headers: &str, body: &[u8]) -> String {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    answer(stream, false)
}

fn upload(stream: &mut TcpStream, repository: &str) -> String {
    let begun = send(stream, "POST", &format!("/v2/{repository}/blobs/uploads/"), "", b"");
    assert!(begun.starts_with("HTTP/1.1 202"), "{begun}");
    let location = header(&begun, "location").unwrap();
    // An absolute one has an authority before its path.
    let path = location.split_once("://").map_or(location, |(_, rest)| &rest[rest.find('/').unwrap()..]);
    format!("{path}{}", if path.contains('?') { '&' } else { '?' })
}

/// With POST and PUT, as docker does without chunks.
pub(crate) fn push_blob(address: SocketAddr, repository: &str, digest: &str, bytes: &[u8]) {
    push_blob_on(&mut connect(address), repository, digest, bytes);
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

pub(crate) fn push_blob_on(stream: &mut TcpStream, repository: &str, digest: &str, bytes: &[u8]) {
    let path = upload(stream, repository);
    let done = send(stream, "PUT", &format!("{path}digest={digest}"), "Content-Type: application/octet-stream\r\n", bytes);
    assert!(done.starts_with("HTTP/1.1 201"), "{done}");
}

pub(crate) fn push_manifest(address: SocketAddr, repository: &str, tag: &str, manifest: &str) {
    push_manifest_on(&mut connect(address), repository, tag, manifest);
}

pub(crate) fn push_manifest_on(stream: &mut TcpStream, repository: &str, tag: &str, manifest: &str) {
    let kind = "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n";
    let done = send(stream, "PUT", &format!("/v2/{repository}/manifests/{tag}"), kind, manifest.as_bytes());
    assert!(done.starts_with("HTTP/1.1 201"), "{done}");
}

/// An upload of which half a body was sent, and nothing more.
pub(crate) fn half_an_upload(address: SocketAddr, repository: &str, bytes: &[u8]) -> TcpStream {
    let mut stream = connect(address);
    let path = upload(&mut stream, repository);
    let head =
        format!("PATCH {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", path.trim_end_matches(['?', '&']), 2 * bytes.len());
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}

/// Pushes `count` blobs that nobody has seen, of the size of `bytes`, `connections` at a time.
pub(crate) fn push_new(address: SocketAddr, bytes: &[u8], count: usize, connections: usize) {
    let left = AtomicUsize::new(count);
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let mut bytes = bytes.to_vec();
                    fastrand::fill(&mut bytes[..16]);
                    push_blob(address, "bench/push", &sha256(&bytes), &bytes);
                }
            });
        }
    });
}

/// Pushes `count` images of a configuration and a small layer, each with a tag of its own.
pub(crate) fn push_images(address: SocketAddr, count: usize, connections: usize) {
    let left = AtomicUsize::new(count);
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let mut stream = connect(address);
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let (config, layer) = (super::servers::random(600), super::servers::random(4000));
                    let (of_config, of_layer) = (sha256(&config), sha256(&layer));
                    push_blob_on(&mut stream, "bench/small", &of_config, &config);
                    push_blob_on(&mut stream, "bench/small", &of_layer, &layer);
                    let entry =
                        serde_json::json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": of_layer, "size": 4000});
                    let manifest = super::servers::image(&of_config, 600, &[entry]);
                    push_manifest_on(&mut stream, "bench/small", &format!("t{}", fastrand::u64(..)), &manifest);
                }
            });
        }
    });
}
