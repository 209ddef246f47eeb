//! The client's requests. The client does as little as possible, to leave the machine to the servers. It
//! counts bodies in the kernel without a copy, and decrypts only the first TLS answer on a connection.

use super::tls::Tls;
use rustix::net::{RecvFlags, recv};
use rustls::{ClientConnection, StreamOwned};
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A wait without an answer fails with a message.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request to send.
#[derive(Clone)]
pub(crate) struct Ask {
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
    method: &'static str,
    path: String,
    token: Option<String>,
}

impl Ask {
    pub(crate) fn get(address: SocketAddr, path: &str) -> Self {
        Self {
            address,
            tls: None,
            method: "GET",
            path: path.to_owned(),
            token: None,
        }
    }

    pub(crate) fn tls(self, tls: &Arc<Tls>) -> Self {
        Self {
            tls: Some(tls.clone()),
            ..self
        }
    }

    /// The same request with another method.
    pub(crate) fn by(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    pub(crate) fn token(self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self
        }
    }

    fn request(&self, last: bool) -> String {
        let Self { method, path, .. } = self;
        let accept = "application/vnd.oci.image.manifest.v1+json";
        let mut text = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bars\r\nAccept: {accept}\r\n"
        );
        if let Some(token) = &self.token {
            text += &format!("Authorization: Bearer {token}\r\n");
        }
        text + if last { "Connection: close\r\n\r\n" } else { "\r\n" }
    }

    /// Sends the request `count` times on `connections` open connections.
    pub(crate) fn many(&self, count: usize, connections: usize) {
        let left = AtomicUsize::new(count);
        std::thread::scope(|scope| {
            for _ in 0..connections {
                scope.spawn(|| {
                    let mut connection = self.connect(false);
                    while left
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                        .is_ok()
                    {
                        connection.ask();
                    }
                });
            }
        });
    }

    /// Sends `count` requests for content of `size` bytes, `connections` at a time, each on a new connection.
    pub(crate) fn large(&self, size: usize, count: usize, connections: usize) {
        let left = AtomicUsize::new(count);
        std::thread::scope(|scope| {
            for _ in 0..connections {
                scope.spawn(|| {
                    while left
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                        .is_ok()
                    {
                        let got = self.throw_away();
                        assert!(got >= size, "{}: {got} of {size} bytes", self.path);
                    }
                });
            }
        });
    }

    /// The number of bytes that arrived before the server closed the connection.
    fn throw_away(&self) -> usize {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
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
            match uncopied(&stream, &mut room) {
                0 => return all,
                length => all += length,
            }
        }
    }

    /// Opens a connection. `last` means that it is used for one request only.
    fn connect(&self, last: bool) -> Connection {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let wire = match &self.tls {
            Some(tls) => Wire::Tls {
                stream: Box::new(tls.shake(stream)),
                length: None,
            },
            None => Wire::Plain(stream),
        };
        Connection {
            request: self.request(last),
            bodiless: self.method == "HEAD",
            wire,
        }
    }

    /// Connects, sends one request and closes, `count` times.
    pub(crate) fn handshakes(&self, count: usize) {
        for _ in 0..count {
            self.connect(true).ask();
        }
    }

    /// An open connection after one answer.
    pub(crate) fn idle(&self) -> Connection {
        let mut connection = self.connect(false);
        connection.ask();
        connection
    }

    /// Starts a download, reads its beginning and stops.
    pub(crate) fn begun(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(self.request(true).as_bytes()).unwrap();
        stream.read_exact(&mut [0; 4096]).unwrap();
        stream
    }
}

/// A connection that repeats one request.
pub(crate) struct Connection {
    request: String,
    bodiless: bool,
    wire: Wire,
}

enum Wire {
    Plain(TcpStream),
    /// The length of the first answer. All others must have the same.
    Tls {
        stream: Box<StreamOwned<ClientConnection, TcpStream>>,
        length: Option<usize>,
    },
}

impl Connection {
    /// Sends the request once. The answer must be 200.
    pub(crate) fn ask(&mut self) {
        let Self {
            request,
            bodiless,
            wire,
        } = self;
        let head = match wire {
            Wire::Plain(stream) => {
                stream.write_all(request.as_bytes()).unwrap();
                answer(stream, *bodiless).0
            }
            Wire::Tls { stream, length } => {
                stream.write_all(request.as_bytes()).unwrap();
                stream.flush().unwrap();
                if let Some(length) = *length {
                    return throw_away_sealed(&mut stream.sock, length);
                }
                let (head, found) = answer(&mut **stream, *bodiless);
                *length = Some(found);
                head
            }
        };
        assert!(head.starts_with("HTTP/1.1 200"), "{request}{head}");
    }
}

/// Reads an answer of `length` bytes without decryption. It consists of TLS 1.3 records, each with a header,
/// and an encrypted type byte and a tag (RFC 8446, section 5.2).
fn throw_away_sealed(stream: &mut TcpStream, length: usize) {
    const KIND_AND_TAG: usize = 1 + 16;
    let mut left = length;
    while left > 0 {
        let mut header = [0; 5];
        stream.read_exact(&mut header).unwrap();
        let sealed = usize::from(u16::from_be_bytes([header[3], header[4]]));
        stream.discard(sealed);
        left = left
            .checked_sub(sealed - KIND_AND_TAG)
            .expect("an answer that is as long as the first");
    }
}

/// A stream whose bytes can be read or skipped.
pub(crate) trait Stream: Read {
    fn discard(&mut self, length: usize);
}

impl Stream for TcpStream {
    fn discard(&mut self, length: usize) {
        let mut room = vec![0; length];
        let mut left = length;
        while left > 0 {
            let got = uncopied(self, &mut room[..left]);
            assert!(got > 0, "the server closed the connection in a body");
            left -= got;
        }
    }
}

impl Stream for StreamOwned<ClientConnection, TcpStream> {
    fn discard(&mut self, length: usize) {
        self.read_exact(&mut vec![0; length]).unwrap();
    }
}

/// Discards bytes in the kernel and returns their number, at most the length of `room`. Nothing is written
/// into `room` (`tcp(7)`).
fn uncopied(stream: &TcpStream, room: &mut [u8]) -> usize {
    loop {
        match recv(stream, &mut *room, RecvFlags::TRUNC) {
            Ok((_, length)) => return length,
            Err(rustix::io::Errno::INTR) => {}
            Err(why) => panic!("{why}"),
        }
    }
}

/// The head of an answer and its total length. The body is discarded.
pub(crate) fn answer(stream: &mut impl Stream, bodiless: bool) -> (String, usize) {
    let mut buffer = [0; 16 << 10];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).unwrap();
        assert!(read > 0, "the server closed the connection");
        filled += read;
        let Some(end) = buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        let length = header(&head, "content-length")
            .and_then(|length| length.parse::<usize>().ok())
            .unwrap_or(0);
        let all = end + 4 + if bodiless { 0 } else { length };
        stream.discard(all - filled);
        return (head, all);
    }
}

pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        line.split_once(':')
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    })
}
