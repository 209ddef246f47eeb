//! Reverse proxies that may speak for their clients: what they say of scheme, host and client counts, and their own certificate never
//! does. From anybody else such headers are a stranger's claims, and nothing is read in them.
//!
//! RFC 7239 (`Forwarded`), and `X-Forwarded-Proto`, `-Host` and `-For`. Of several values the first counts, which the proxy next to the client
//! wrote: a proxy must replace what its clients send.

use http::HeaderMap;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// Where they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

impl TrustedProxies {
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

impl FromIterator<Network> for TrustedProxies {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
}

/// Addresses that begin with the same bits: `10.0.0.0/8`, `fd00::/8`, or one alone. IPv4 in IPv6 is IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// In the form of IPv6.
    first: u128,
    /// How many bits count, of 128.
    bits: u32,
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        // Shifting by all of the bits is none of Rust's business.
        let apart = self.first ^ number(address);
        apart.checked_shr(128 - self.bits).unwrap_or(0) == 0
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().map_err(|_| InvalidNetwork)?;
        let most: u32 = if address.is_ipv4() { 32 } else { 128 };
        let length: u32 = length.map_or(Ok(most), str::parse).map_err(|_| InvalidNetwork)?;
        if length > most {
            return Err(InvalidNetwork);
        }
        Ok(Self { first: number(address), bits: 128 - most + length })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an address or a network, as 10.0.0.0/8 or fd00::/8")]
pub struct InvalidNetwork;

fn number(address: IpAddr) -> u128 {
    let v6 = match address {
        IpAddr::V4(v4) => Ipv4Addr::to_ipv6_mapped(&v4),
        IpAddr::V6(v6) => v6,
    };
    v6.to_bits()
}

/// What a trusted proxy says of the request that it hands on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Forwarded {
    /// `http` or `https`; anything else is as good as nothing.
    pub(super) scheme: Option<&'static str>,
    pub(super) host: Option<String>,
    /// The client, if it is an address.
    pub(super) client: Option<IpAddr>,
}

impl Forwarded {
    /// `Forwarded` where it says something, else `X-Forwarded-*`.
    pub(super) fn read(headers: &HeaderMap, proxies: &TrustedProxies) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let first = |name: &str| text(name).and_then(|list| list.split(',').next()).map(|value| value.trim().to_owned());
        let standard = text("forwarded").and_then(|list| list.split(',').next()).unwrap_or_default();
        let parameter = |name: &str| {
            let pairs = standard.split(';').filter_map(|pair| pair.trim().split_once('='));
            let found = pairs.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.trim_matches('"').to_owned())
        };
        let scheme = parameter("proto").or_else(|| first("x-forwarded-proto"));
        Self {
            scheme: scheme.and_then(|scheme| ["http", "https"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known))),
            host: parameter("host").or_else(|| first("x-forwarded-host")).filter(|host| !host.is_empty()),
            client: parameter("for").and_then(|node| address(&node)).or_else(|| client(text("x-forwarded-for")?, proxies)),
        }
    }
}

/// The last that is no proxy of ours: what stands before it anybody may have written.
fn client(list: &str, proxies: &TrustedProxies) -> Option<IpAddr> {
    let mut addresses = list.rsplit(',').map_while(|one| address(one.trim()));
    addresses.find(|address| !proxies.contains(*address))
}

/// With or without a port, IPv6 with or without brackets.
fn address(node: &str) -> Option<IpAddr> {
    if let Some((inside, _)) = node.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return inside.parse().ok();
    }
    node.parse().ok().or_else(|| node.rsplit_once(':').and_then(|(host, _)| host.parse::<Ipv4Addr>().ok()).map(IpAddr::V4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(networks: &[&str]) -> TrustedProxies {
        networks.iter().map(|network| network.parse::<Network>().unwrap()).collect()
    }

    #[test]
    fn networks_contain_their_addresses_and_no_others() {
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
            assert!(!proxies.contains(outside.parse().unwrap()), "{outside} in {network}");
        }
        assert!(proxies(&["::/0"]).contains("203.0.113.7".parse().unwrap()));
        assert!(!TrustedProxies::default().contains("127.0.0.1".parse().unwrap()));
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "10.0.0.0/", "10.0.0.0/-1", "example.org", "10.0.0.0/8/8"] {
            assert_eq!(bad.parse::<Network>(), Err(InvalidNetwork), "{bad}");
        }
    }

    fn read(headers: &[(&'static str, &str)]) -> (Option<&'static str>, Option<String>, Option<String>) {
        let headers = headers.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect();
        let Forwarded { scheme, host, client } = Forwarded::read(&headers, &proxies(&["10.0.0.0/8"]));
        (scheme, host, client.map(|client| client.to_string()))
    }

    #[test]
    fn headers_are_read_as_proxies_write_them() {
        let some = |text: &str| Some(text.to_owned());
        let https = [("x-forwarded-proto", "https"), ("x-forwarded-host", "r.example:8443"), ("x-forwarded-for", "203.0.113.7")];
        assert_eq!(read(&https), (Some("https"), some("r.example:8443"), some("203.0.113.7")));
        let chain = [("x-forwarded-proto", "https, http"), ("x-forwarded-for", "1.2.3.4, 203.0.113.7, 10.0.0.2, 10.0.0.3")];
        assert_eq!(read(&chain), (Some("https"), None, some("203.0.113.7")), "what a client wrote in front counts for nothing");
        let standard =
            [("forwarded", r#"for="[2001:db8::7]:4711";Proto=HTTPS;host="[::1]:5000", for=10.0.0.2"#), ("x-forwarded-host", "other")];
        assert_eq!(read(&standard), (Some("https"), some("[::1]:5000"), some("2001:db8::7")));
        assert_eq!(read(&[("x-forwarded-proto", "ftp"), ("x-forwarded-host", ""), ("x-forwarded-for", "unknown")]), (None, None, None));
        assert_eq!(read(&[]), (None, None, None));
    }
}
