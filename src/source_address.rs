//! The address that a request comes from, for limits by source. An IPv6 host owns a whole /64 and may use a
//! new address for each request, so all addresses of one /64 are one source. Behind a NAT64 gateway a whole
//! /96 stands for all of IPv4.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One IPv4 address, or one IPv6 network of 64 bits. IPv4 addresses mapped into IPv6, and those in the
/// well-known prefix of NAT64 (RFC 6052), are IPv4 addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceAddress(Option<IpAddr>);

impl SourceAddress {
    /// The source of every request whose address is not known. All of them share one limit.
    pub const UNKNOWN: Self = Self(None);

    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        Self(Some(match address.to_canonical() {
            IpAddr::V6(v6) if v6.to_bits() >> 32 == NAT64 => {
                let [.., a, b, c, d] = v6.octets();
                IpAddr::V4(Ipv4Addr::new(a, b, c, d))
            }
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & NETWORK)),
            v4 @ IpAddr::V4(_) => v4,
        }))
    }

    /// The IPv4 address, or the first address of the IPv6 network.
    #[must_use]
    pub const fn first(self) -> Option<IpAddr> {
        self.0
    }
}

/// `192.0.2.1` or `2001:db8::/64`.
impl fmt::Display for SourceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(IpAddr::V6(network)) => write!(f, "{network}/64"),
            Some(address) => address.fmt(f),
            None => f.write_str("an unknown address"),
        }
    }
}

/// The upper 64 bits.
const NETWORK: u128 = !0 << 64;
/// The upper 96 bits of `64:ff9b::/96`.
const NAT64: u128 = 0x0064_ff9b << 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_are_one_source() {
        let of = |text: &str| SourceAddress::of(text.parse().unwrap());
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2", false),
            ("64:ff9b::192.0.2.1", "192.0.2.1", true),
            ("64:ff9b:0:0:0:1:c000:201", "192.0.2.1", false),
            ("64:ff9b:1::192.0.2.1", "192.0.2.1", false),
        ] {
            assert_eq!(of(one) == of(other), same, "{one} {other}");
        }
        assert_eq!(
            (of("2001:db8::1").to_string(), of("::ffff:192.0.2.1").to_string()),
            ("2001:db8::/64".into(), "192.0.2.1".into())
        );
        assert_ne!(of("0.0.0.0"), SourceAddress::UNKNOWN);
    }
}
