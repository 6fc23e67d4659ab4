//! Which addresses a channel may reach, and a resolver that answers with no other.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// A host has an address that may not be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    address: IpAddr,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its address {} is not public; if it is yours, say allow_private = 'true'", self.address)
    }
}

impl Error for Refused {}

/// Refuses a URL whose host is written as an address that is not public. Names are looked at when they are
/// resolved, so that what was checked is what is connected to.
pub(super) fn check_literal(url: &Url) -> Result<(), Refused> {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        Some(Host::Domain(_)) | None => return Ok(()),
    };
    check(address)
}

fn check(address: IpAddr) -> Result<(), Refused> {
    if is_public(address) { Ok(()) } else { Err(Refused { address }) }
}

/// Resolves names as the machine does; a name with one address that is not public is refused whole, because
/// no honest public host has such.
pub(super) struct Guarded {
    pub(super) allow_private: bool,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let addresses: Vec<_> = found.collect();
            if !allow_private {
                addresses.iter().try_for_each(|address| check(address.ip()))?;
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the public internet. Ranges: the special-purpose registries of IANA (RFC 6890
/// and its updates).
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b, c) {
        // This network, private, loopback, multicast, reserved and broadcast.
        (0 | 10 | 127 | 224.., _, _) => true,
        // Shared by carriers; link-local, metadata services among them.
        (100, 64..=127, _) | (169, 254, _) => true,
        // Private.
        (172, 16..=31, _) | (192, 168, _) => true,
        // Protocol assignments, documentation, 6to4 relays, benchmarks.
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 18..=19, _) | (198, 51, 100) | (203, 0, 113) => true,
        _ => false,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let carried = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b) {
        // Mapped and compatible IPv4 (the unspecified address and loopback among them), and its translations.
        (0, 0) if [c, d, e] == [0, 0, 0] && f == 0xffff => carried(g, h),
        (0x64, 0xff9b) if [c, d, e, f] == [0, 0, 0, 0] => carried(g, h),
        // 6to4 holds the IPv4 address it leads to.
        (0x2002, _) => carried(b, c),
        // Teredo, benchmarks, ORCHID, documentation, and the rest of the protocol assignments.
        (0x2001, 0..=0x1ff | 0xdb8) => false,
        // Documentation.
        (0x3fff, 0..=0xfff) => false,
        // Only 2000::/3 is given out as global unicast.
        _ => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_pass() {
        let public = ["8.8.8.8", "172.32.0.1", "100.128.0.1", "192.0.1.1", "2606:4700::1111", "::ffff:8.8.8.8"];
        for address in public {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        let refused = [
            "0.0.0.0",
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.18.0.1",
            "203.0.113.9",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "fec0::1",
        ];
        for address in refused {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn addresses_in_any_writing_are_seen() {
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://[::ffff:7f00:1]/",
            "http://017700000001",
        ] {
            let refused = check_literal(&Url::parse(url).unwrap()).unwrap_err();
            assert!(refused.to_string().contains("allow_private"), "{url}");
        }
        assert_eq!(check_literal(&Url::parse("https://example.org/").unwrap()), Ok(()));
    }
}
