//! The PROXY protocol, versions 1 and 2. A load balancer that passes TLS through names its client in a header
//! before the handshake. The parser is pure. It has a hundred lines of its own, since the crates for it are
//! seldom released, do much more, and do not bound the header.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use crate::limits::PROXY_HEADER_BYTES;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The content of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The connection belongs to this client.
    Client(SocketAddr),
    /// The connection is the load balancer's own, as for a health check (`LOCAL`), or the load balancer knows
    /// no address (`UNKNOWN`).
    Own,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxyHeader {
    #[error("it does not begin with a PROXY header")]
    Absent,
    #[error("its PROXY header is malformed")]
    Malformed,
    #[error("its PROXY header has more than {PROXY_HEADER_BYTES} bytes")]
    TooLong,
}

use InvalidProxyHeader::{Absent, Malformed, TooLong};

impl ProxyHeader {
    /// The header at the beginning of `bytes`, and its length. `None` if more bytes are needed.
    ///
    /// # Errors
    ///
    /// When no header can begin with these bytes.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, InvalidProxyHeader> {
        if begins(bytes, V1) {
            return v1(bytes);
        }
        if begins(bytes, V2) { v2(bytes) } else { Err(Absent) }
    }

    /// Whether a connection that begins with these bytes has a header.
    #[must_use]
    pub(super) fn is_begun(bytes: &[u8]) -> bool {
        bytes.starts_with(V1) || bytes.starts_with(V2)
    }
}

const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header of version 1, with the end of the line.
const LONGEST_V1: usize = 107;
/// The length of a header of version 2 before the addresses.
const FIXED: usize = 16;

/// Whether `bytes` agree with the signature, as far as there are bytes.
fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    bytes
        .iter()
        .zip(signature)
        .all(|(byte, expected)| byte == expected)
}

fn v1(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, InvalidProxyHeader> {
    let Some(end) = bytes.iter().take(LONGEST_V1).position(|byte| *byte == b'\n') else {
        return if bytes.len() < LONGEST_V1 {
            Ok(None)
        } else {
            Err(Malformed)
        };
    };
    let line = bytes
        .get(..end)
        .and_then(|line| line.strip_suffix(b"\r"))
        .ok_or(Malformed)?;
    let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
    let words: Vec<_> = line.split(' ').skip(1).collect();
    let header = match words[..] {
        ["UNKNOWN", ..] => ProxyHeader::Own,
        [family, client, server, client_port, server_port] => {
            let ip = match family {
                "TCP4" => v4,
                "TCP6" => v6,
                _ => return Err(Malformed),
            };
            let client = SocketAddr::new(ip(client)?, port(client_port)?);
            // The server's address is not needed, but must be well-formed.
            ip(server)?;
            port(server_port)?;
            ProxyHeader::Client(client)
        }
        _ => return Err(Malformed),
    };
    Ok(Some((header, end + 1)))
}

fn v4(text: &str) -> Result<IpAddr, InvalidProxyHeader> {
    text.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| Malformed)
}

fn v6(text: &str) -> Result<IpAddr, InvalidProxyHeader> {
    text.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| Malformed)
}

/// Parses a port, which may have only digits.
fn port(text: &str) -> Result<u16, InvalidProxyHeader> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or(Malformed)
}

fn v2(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, InvalidProxyHeader> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else {
        return Ok(None);
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if FIXED + length > PROXY_HEADER_BYTES {
        return Err(TooLong);
    }
    let local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed),
    };
    // Typed values follow the addresses, such as the host name that the client wants. They are not needed.
    let Some(addresses) = rest.get(..length) else {
        return Ok(None);
    };
    let header = match family {
        _ if local => ProxyHeader::Own,
        0x11 => {
            let (client, rest) = addresses.split_first_chunk::<4>().ok_or(Malformed)?;
            named(Ipv4Addr::from(*client).into(), rest.get(4..))?
        }
        0x21 => {
            let (client, rest) = addresses.split_first_chunk::<16>().ok_or(Malformed)?;
            named(Ipv6Addr::from(*client).into(), rest.get(16..))?
        }
        // There is no address, or a local socket.
        0x00 | 0x31 => ProxyHeader::Own,
        _ => return Err(Malformed),
    };
    Ok(Some((header, FIXED + length)))
}

/// `ports` has the client's port, then the server's.
fn named(client: IpAddr, ports: Option<&[u8]>) -> Result<ProxyHeader, InvalidProxyHeader> {
    let Some([high, low, _, _, ..]) = ports else {
        return Err(Malformed);
    };
    Ok(ProxyHeader::Client(SocketAddr::new(
        client,
        u16::from_be_bytes([*high, *low]),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> ProxyHeader {
        ProxyHeader::Client(text.parse().unwrap())
    }

    /// A header of version 2 with these bytes after the signature.
    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        [
            V2,
            &[command, family],
            &u16::try_from(rest.len()).unwrap().to_be_bytes(),
            rest,
        ]
        .concat()
    }

    fn good() -> Vec<(Vec<u8>, ProxyHeader)> {
        let v4 = [203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x67, 0x01, 0xbb];
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
        v6[15] = 7;
        v6[32..34].copy_from_slice(&[0x12, 0x67]);
        let with_values = [&v4[..], b"\x02\x00\x05r.exa\x04\x00\x00"].concat();
        vec![
            (
                b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n".to_vec(),
                client("203.0.113.7:4711"),
            ),
            (
                b"PROXY TCP6 2001:db8::7 fd00::1 4711 443\r\n".to_vec(),
                client("[2001:db8::7]:4711"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), ProxyHeader::Own),
            (
                b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(),
                ProxyHeader::Own,
            ),
            (version_2(0x21, 0x11, &v4), client("203.0.113.7:4711")),
            (version_2(0x21, 0x11, &with_values), client("203.0.113.7:4711")),
            (version_2(0x21, 0x21, &v6), client("[2001:db8::7]:4711")),
            (version_2(0x20, 0x00, &[]), ProxyHeader::Own),
            (version_2(0x20, 0x11, &v4), ProxyHeader::Own),
            (version_2(0x21, 0x00, &[]), ProxyHeader::Own),
            (version_2(0x21, 0x31, &[0; 216]), ProxyHeader::Own),
        ]
    }

    #[test]
    fn a_header_is_read_to_its_last_byte_and_no_further() {
        for (bytes, header) in good() {
            assert_eq!(
                ProxyHeader::parse(&bytes),
                Ok(Some((header, bytes.len()))),
                "{bytes:?}"
            );
            for cut in 0..bytes.len() {
                assert_eq!(
                    ProxyHeader::parse(&bytes[..cut]),
                    Ok(None),
                    "{bytes:?} up to {cut}"
                );
            }
            let more = [&bytes[..], b"\x16\x03\x01\r\n"].concat();
            assert_eq!(ProxyHeader::parse(&more), Ok(Some((header, bytes.len()))));
        }
    }

    #[test]
    fn other_bytes_are_rejected() {
        for (bytes, why) in [
            (b"\x16\x03\x01\x02\x00\x01".to_vec(), Absent),
            (b"GET / HTTP/1.1\r\n".to_vec(), Absent),
            (b"PROXZ".to_vec(), Absent),
            (b"\r\n\r\n\0\r\nQUIT\r".to_vec(), Absent),
            (b"PROXY \r\n".to_vec(), Malformed),
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711\r\n".to_vec(), Malformed),
            (
                b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443 1\r\n".to_vec(),
                Malformed,
            ),
            (
                b"PROXY TCP4 203.0.113.7 10.0.0.1 +4711 443\r\n".to_vec(),
                Malformed,
            ),
            (
                b"PROXY TCP4 203.0.113.7 10.0.0.1 65536 443\r\n".to_vec(),
                Malformed,
            ),
            (
                b"PROXY TCP4 2001:db8::7 10.0.0.1 4711 443\r\n".to_vec(),
                Malformed,
            ),
            (b"PROXY TCP6 203.0.113.7 fd00::1 4711 443\r\n".to_vec(), Malformed),
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\n".to_vec(), Malformed),
            (
                b"PROXY TCP4  203.0.113.7 10.0.0.1 4711 443\r\n".to_vec(),
                Malformed,
            ),
            (
                b"PROXY UDP4 203.0.113.7 10.0.0.1 4711 443\r\n".to_vec(),
                Malformed,
            ),
            ([&b"PROXY UNKNOWN "[..], &[b'x'; 100]].concat(), Malformed),
            (version_2(0x11, 0x11, &[0; 12]), Malformed),
            (version_2(0x22, 0x11, &[0; 12]), Malformed),
            (version_2(0x21, 0x11, &[0; 11]), Malformed),
            (version_2(0x21, 0x21, &[0; 35]), Malformed),
            (version_2(0x21, 0x12, &[0; 12]), Malformed),
            (version_2(0x21, 0x11, &[0; PROXY_HEADER_BYTES]), TooLong),
        ] {
            assert_eq!(
                ProxyHeader::parse(&bytes),
                Err(why),
                "{:?}",
                String::from_utf8_lossy(&bytes)
            );
        }
    }
}
