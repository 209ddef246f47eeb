//! Reverse proxies that the operator trusts to describe their clients. Their headers name the scheme, the
//! host and the client. Their own certificate is never used as a credential. The same headers from other
//! addresses are ignored.
//!
//! Only one family of headers is read: `X-Forwarded-For` and `-Proto`, or RFC 7239's `Forwarded`. A proxy
//! that writes one family usually forwards the other as its client sent it. The same holds for
//! `X-Forwarded-Host`, which AWS load balancers do not write. Nothing in the header shows who wrote it, so it
//! is read only if the configuration says that the proxy writes it.
//!
//! A proxy appends to the header that it received, on the same line or on a new line. The lines are therefore
//! joined, and the list is read from its end. Each trusted proxy vouches only for the entry before its own.
//! Entries further left may be forged.

use http::HeaderMap;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// The addresses of trusted proxies, and the headers that they write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<Network>,
    family: Family,
}

impl TrustedProxies {
    /// The same proxies, with another family of headers.
    #[must_use]
    pub fn writing(self, family: Family) -> Self {
        Self { family, ..self }
    }

    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }
}

impl FromIterator<Network> for TrustedProxies {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        Self {
            networks: networks.into_iter().collect(),
            family: Family::default(),
        }
    }
}

/// The family of headers that the proxies write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// `X-Forwarded-For` and `X-Forwarded-Proto`. The host is the one in the request itself.
    #[default]
    XForwarded,
    /// `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.
    XForwardedHost,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Addresses with a common prefix, `10.0.0.0/8` or `fd00::/8`, or a single address. IPv4 addresses mapped to
/// IPv6 are IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The first address, as IPv6.
    first: u128,
    /// The length of the prefix, of 128 bits.
    bits: u32,
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        // A shift by all 128 bits overflows: every address is in a network with an empty prefix.
        let apart = self.first ^ number(address);
        apart.checked_shr(128 - self.bits).unwrap_or(0) == 0
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (address, length) = text
            .split_once('/')
            .map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().map_err(|_| InvalidNetwork)?;
        let most: u32 = if address.is_ipv4() { 32 } else { 128 };
        let length: u32 = length.map_or(Ok(most), str::parse).map_err(|_| InvalidNetwork)?;
        if length > most {
            return Err(InvalidNetwork);
        }
        Ok(Self {
            first: number(address),
            bits: 128 - most + length,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an address or a network, such as 192.0.2.10 or 2001:db8:7::/64")]
pub struct InvalidNetwork;

fn number(address: IpAddr) -> u128 {
    let v6 = match address {
        IpAddr::V4(v4) => Ipv4Addr::to_ipv6_mapped(&v4),
        IpAddr::V6(v6) => v6,
    };
    v6.to_bits()
}

/// What a trusted proxy says about the request that it forwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Forwarded {
    /// `http` or `https`. Other schemes are ignored.
    pub(super) scheme: Option<&'static str>,
    pub(super) host: Option<String>,
    /// The client's address, which is never that of a trusted proxy.
    pub(super) client: Option<IpAddr>,
}

impl Forwarded {
    pub(super) fn read(headers: &HeaderMap, proxies: &TrustedProxies) -> Self {
        match proxies.family {
            Family::XForwarded => Self {
                host: None,
                ..Self::x_forwarded(headers, proxies)
            },
            Family::XForwardedHost => Self::x_forwarded(headers, proxies),
            Family::Forwarded => Self::standard(headers, proxies),
        }
    }

    /// Reads the last scheme and the last host, which the nearest proxy wrote. In a longer list it is unknown
    /// which entry belongs to the client's own request, since some proxies append to these headers and
    /// others forward them.
    fn x_forwarded(headers: &HeaderMap, proxies: &TrustedProxies) -> Self {
        let last = |name| {
            joined(headers, name)
                .rsplit(',')
                .next()
                .map(|value| value.trim().to_owned())
                .unwrap_or_default()
        };
        let list = joined(headers, "x-forwarded-for");
        let mut addresses = list.rsplit(',').map_while(|entry| address(entry.trim()));
        let client = addresses.find(|address| !proxies.contains(*address));
        Self {
            scheme: scheme(&last("x-forwarded-proto")),
            host: Some(last("x-forwarded-host")).filter(|host| !host.is_empty()),
            client,
        }
    }

    /// Each proxy writes one element. The first proxy wrote the element that names the client, so scheme and
    /// host are taken from that element.
    fn standard(headers: &HeaderMap, proxies: &TrustedProxies) -> Self {
        let mut forwarded = Self::default();
        for element in elements(&joined(headers, "forwarded")) {
            let parameter = |name: &str| {
                let mut pairs =
                    split_outside_quotes(element, ';').filter_map(|pair| pair.trim().split_once('='));
                pairs
                    .find(|(key, _)| key.trim().eq_ignore_ascii_case(name))
                    .map(|(_, value)| unquoted(value.trim()))
            };
            forwarded.scheme = parameter("proto").as_deref().and_then(scheme);
            forwarded.host = parameter("host").filter(|host| !host.is_empty());
            let node = parameter("for").as_deref().and_then(address);
            forwarded.client = node.filter(|address| !proxies.contains(*address));
            if forwarded.client == node {
                break;
            }
        }
        forwarded
    }
}

/// All lines of a header as one list, in their order (RFC 9110, 5.3). Bytes that are not UTF-8 must not hide
/// the entries after them.
fn joined(headers: &HeaderMap, name: &str) -> String {
    let lines: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(|line| String::from_utf8_lossy(line.as_bytes()))
        .collect();
    lines.join(",")
}

fn scheme(text: &str) -> Option<&'static str> {
    ["http", "https"]
        .into_iter()
        .find(|known| text.eq_ignore_ascii_case(known))
}

/// The elements of a list, the last one first. Empty elements are skipped (RFC 9110, 5.6.1).
fn elements(list: &str) -> impl Iterator<Item = &str> {
    split_outside_quotes(list, ',').filter(|element| !element.trim().is_empty())
}

/// Splits from the end, so that a quote which the client left open cannot swallow the text that its proxy
/// appended.
fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let now = rest?;
        let mut quoted = false;
        let at = now.char_indices().rev().find(|(at, c)| {
            let escaped = *c == '"'
                && now
                    .get(..*at)
                    .is_some_and(|before| before.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1);
            quoted ^= *c == '"' && !escaped;
            *c == separator && !quoted
        });
        let (before, last) = match at {
            Some((at, c)) => (now.get(..at), now.get(at + c.len_utf8()..)),
            None => (None, Some(now)),
        };
        rest = before;
        last
    })
}

/// The content of a quoted string (RFC 9110, 5.6.4), or the token itself.
fn unquoted(value: &str) -> String {
    let Some(inside) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut escaped = false;
    inside
        .chars()
        .filter(|c| {
            escaped = *c == '\\' && !escaped;
            !escaped
        })
        .collect()
}

/// Parses an address with or without a port. IPv6 may have brackets.
fn address(node: &str) -> Option<IpAddr> {
    if let Some((inside, _)) = node.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return inside.parse().ok();
    }
    node.parse().ok().or_else(|| {
        node.rsplit_once(':')
            .and_then(|(host, _)| host.parse::<Ipv4Addr>().ok())
            .map(IpAddr::V4)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(networks: &[&str]) -> TrustedProxies {
        networks
            .iter()
            .map(|network| network.parse::<Network>().unwrap())
            .collect()
    }

    #[test]
    fn a_network_contains_exactly_its_addresses() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("192.168.4.0/22", "192.168.7.255", "192.168.8.0"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::ffff:11.0.0.1"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::1", "::1", "::2"),
            ("0.0.0.0/0", "203.0.113.7", "2001:db8::1"),
        ] {
            let proxies = proxies(&[network]);
            assert!(proxies.contains(inside.parse().unwrap()), "{inside} in {network}");
            assert!(
                !proxies.contains(outside.parse().unwrap()),
                "{outside} in {network}"
            );
        }
        assert!(proxies(&["::/0"]).contains("203.0.113.7".parse().unwrap()));
        assert!(!TrustedProxies::default().contains("127.0.0.1".parse().unwrap()));
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "fd00::/129",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "example.org",
            "10.0.0.0/8/8",
        ] {
            assert_eq!(bad.parse::<Network>(), Err(InvalidNetwork), "{bad}");
        }
    }

    type Parts = (Option<&'static str>, Option<String>, Option<String>);

    fn read(family: Family, headers: &[(&'static str, &[u8])]) -> Parts {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, http::HeaderValue::from_bytes(value).unwrap());
        }
        let Forwarded { scheme, host, client } =
            Forwarded::read(&map, &proxies(&["10.0.0.0/8"]).writing(family));
        (scheme, host, client.map(|client| client.to_string()))
    }

    fn parts(scheme: Option<&'static str>, host: &str, client: &str) -> Parts {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        (scheme, some(host), some(client))
    }

    #[test]
    fn x_forwarded_is_read_as_proxies_write_it() {
        let read = |headers: &[(&'static str, &[u8])]| read(Family::XForwardedHost, headers);
        let https: &[(_, &[u8])] = &[
            ("x-forwarded-proto", b"HTTPS"),
            ("x-forwarded-host", b"r.example:8443"),
            ("x-forwarded-for", b"203.0.113.7"),
        ];
        assert_eq!(read(https), parts(Some("https"), "r.example:8443", "203.0.113.7"));
        for (list, client) in [
            ("1.2.3.4, 203.0.113.7, 10.0.0.2, 10.0.0.3", "203.0.113.7"),
            ("203.0.113.7:4711,10.0.0.2", "203.0.113.7"),
            ("[2001:db8::7]:4711", "2001:db8::7"),
            ("10.0.0.9, 10.0.0.2", ""),
            ("1.2.3.4, unknown, 10.0.0.2", ""),
            ("1.2.3.4, ", ""),
            ("unknown", ""),
        ] {
            assert_eq!(
                read(&[("x-forwarded-for", list.as_bytes())]),
                parts(None, "", client),
                "{list}"
            );
        }
        assert_eq!(
            read(&[("x-forwarded-proto", b"ftp"), ("x-forwarded-host", b"")]),
            parts(None, "", "")
        );
        assert_eq!(read(&[]), parts(None, "", ""));
    }

    /// An AWS load balancer writes two of the three headers, and forwards the third.
    #[test]
    fn a_host_that_the_proxy_may_not_have_written_is_not_used() {
        for client in ["203.0.113.7", "1.2.3.4, 203.0.113.7"] {
            let headers: &[(_, &[u8])] = &[
                ("x-forwarded-host", b"evil.example"),
                ("x-forwarded-for", client.as_bytes()),
                ("x-forwarded-proto", b"https"),
            ];
            assert_eq!(
                read(Family::XForwarded, headers),
                parts(Some("https"), "", "203.0.113.7")
            );
            assert_eq!(
                read(Family::default(), headers),
                parts(Some("https"), "", "203.0.113.7")
            );
        }
    }

    #[test]
    fn entries_that_a_client_wrote_before_its_proxy_are_not_used() {
        let forged: &[(_, &[u8])] = &[
            ("x-forwarded-for", b"1.2.3.4"),
            ("x-forwarded-for", b"203.0.113.7"),
            ("x-forwarded-host", b"evil.example"),
            ("x-forwarded-host", b"r.example"),
            ("x-forwarded-proto", b"http"),
            ("x-forwarded-proto", b"https"),
        ];
        assert_eq!(
            read(Family::XForwardedHost, forged),
            parts(Some("https"), "r.example", "203.0.113.7"),
            "on a line of its own"
        );
        let forged: &[(_, &[u8])] = &[
            ("x-forwarded-for", b"\xff, 203.0.113.7"),
            ("x-forwarded-host", b"evil.example, r.example"),
            ("x-forwarded-proto", b"http, https"),
        ];
        assert_eq!(
            read(Family::XForwardedHost, forged),
            parts(Some("https"), "r.example", "203.0.113.7"),
            "on the same line"
        );
        let emptied: &[(_, &[u8])] = &[
            ("x-forwarded-host", b"evil.example, "),
            ("x-forwarded-proto", b"https,"),
        ];
        assert_eq!(read(Family::XForwardedHost, emptied), parts(None, "", ""));
        for forged in [
            "for=1.2.3.4;host=evil.example;proto=http",
            "for=\"1.2.3.4",
            "for=\"\\",
            "\"",
            "for=10.0.0.9;host=evil.example",
        ] {
            let proxy = r#"for=203.0.113.7;host="r.example";proto=https"#;
            let expected = parts(Some("https"), "r.example", "203.0.113.7");
            let lines: &[(_, &[u8])] = &[("forwarded", forged.as_bytes()), ("forwarded", proxy.as_bytes())];
            assert_eq!(read(Family::Forwarded, lines), expected, "{forged}");
            let one = format!("{forged}, {proxy}");
            assert_eq!(
                read(Family::Forwarded, &[("forwarded", one.as_bytes())]),
                expected,
                "{forged}"
            );
        }
    }

    #[test]
    fn forwarded_names_scheme_and_host_in_the_clients_own_element() {
        let read = |line: &str| read(Family::Forwarded, &[("forwarded", line.as_bytes())]);
        let chain = r#"for=1.2.3.4;host=evil.example, for="[2001:db8::7]:4711";Proto=HTTPS;host="[::1]:5000", for=10.0.0.2;proto=http"#;
        assert_eq!(read(chain), parts(Some("https"), "[::1]:5000", "2001:db8::7"));
        assert_eq!(
            read("for=203.0.113.7, , for=10.0.0.2;proto=https;host=inside"),
            parts(None, "", "203.0.113.7")
        );
        assert_eq!(
            read(r#"for="_a,;b";host="r\.example", for=10.0.0.2"#),
            parts(None, "r.example", ""),
            "a hidden client"
        );
        assert_eq!(
            read("for=1.2.3.4, for=unknown;proto=https"),
            parts(Some("https"), "", "")
        );
        assert_eq!(read(""), parts(None, "", ""));
    }

    #[test]
    fn the_other_family_is_ignored() {
        let both: &[(_, &[u8])] = &[
            ("forwarded", b"for=198.51.100.1;proto=http;host=one.example"),
            ("x-forwarded-for", b"203.0.113.7"),
            ("x-forwarded-proto", b"https"),
            ("x-forwarded-host", b"two.example"),
        ];
        assert_eq!(
            read(Family::XForwardedHost, both),
            parts(Some("https"), "two.example", "203.0.113.7")
        );
        assert_eq!(
            read(Family::Forwarded, both),
            parts(Some("http"), "one.example", "198.51.100.1")
        );
        assert_eq!(
            read(Family::XForwardedHost, both.get(..1).unwrap()),
            parts(None, "", "")
        );
        assert_eq!(
            read(Family::Forwarded, both.get(1..).unwrap()),
            parts(None, "", "")
        );
    }
}
