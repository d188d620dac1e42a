//! Which addresses deliveries may go to: the public internet, and what the operator has allowed by name.
//!
//! For IPv4 a table of what is not public; for IPv6 the other way round, because its public part is small: `2000::/3`
//! without the ranges in it that are not somebody's network. An address that carries an IPv4 address for the kernel or for
//! a NAT64 gateway (`::ffff:0:0/96`, `64:ff9b::/96`) is judged as that address. From the IANA special-purpose registries.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

/// Why a text is no list of ranges.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// No range.
    #[error("{0:?} is no range of addresses: write 127.0.0.0/8 or fd00::/8, several with commas")]
    NoRange(String),
    /// No address would ever be found in it.
    #[error("{range} is IPv4 in IPv6, and an address in it is judged as the IPv4 address: write {instead}")]
    Carried {
        /// What was asked for.
        range: Cidr,
        /// What is meant.
        instead: Cidr,
    },
}

impl Cidr {
    pub(crate) const fn new(network: IpAddr, prefix: u8) -> Self {
        Self { network, prefix }
    }

    /// Whether an address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (network.to_bits() ^ address.to_bits()) & v4_mask(self.prefix) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                (network.to_bits() ^ address.to_bits()) & v6_mask(self.prefix) == 0
            }
            _ => false,
        }
    }

    /// The IPv4 range that this one of IPv6 stands for, if all of it does.
    fn carried(&self) -> Option<Self> {
        let prefix = self.prefix.checked_sub(96).filter(|_| self.network.is_ipv6())?;
        Some(canonical(self.network)).filter(IpAddr::is_ipv4).map(|network| Self { network, prefix })
    }

    /// Whether all of it lies in another one.
    pub(crate) fn lies_in(&self, other: &Self) -> bool {
        other.prefix <= self.prefix && other.contains(self.network)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first: IpAddr = match self.network {
            IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & v4_mask(self.prefix)).into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & v6_mask(self.prefix)).into(),
        };
        write!(f, "{first}/{}", self.prefix)
    }
}

fn v4_mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn v6_mask(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for Cidr {
    type Err = CidrError;

    /// Reads `address/prefix`, or an address alone.
    fn from_str(text: &str) -> Result<Self, CidrError> {
        let bad = || CidrError::NoRange(text.to_owned());
        let (network, prefix) = text.split_once('/').map_or((text, None), |(network, prefix)| (network, Some(prefix)));
        let network: IpAddr = network.parse().map_err(|_| bad())?;
        let longest = if network.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), str::parse).map_err(|_| bad())?;
        if prefix > longest { Err(bad()) } else { Ok(Self { network, prefix }) }
    }
}

/// The ranges of `LATCHHOOK_ALLOW_PRIVATE_ENDPOINTS`: addresses that may be sent to although they are not public, by plain
/// HTTP and on any port if the URL says so. Empty by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedPrivate(pub(crate) Vec<Cidr>);

impl AllowedPrivate {
    /// Whether the operator allowed an address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.contains(canonical(address)))
    }
}

impl FromStr for AllowedPrivate {
    type Err = CidrError;

    /// Reads a list with commas: `127.0.0.0/8,::1`.
    fn from_str(text: &str) -> Result<Self, CidrError> {
        let ranges = text.split(',').map(str::trim).filter(|range| !range.is_empty());
        ranges.map(|range| useful(range.parse()?)).collect::<Result<_, _>>().map(Self)
    }
}

/// Refuses a range that somebody gives now and that would lift nothing. One that is kept already is harmless.
fn useful(range: Cidr) -> Result<Cidr, CidrError> {
    range.carried().map_or(Ok(range), |instead| Err(CidrError::Carried { range, instead }))
}

/// Why an address is not public; `None` when it is.
pub(crate) fn not_public(address: IpAddr) -> Option<&'static str> {
    match canonical(address) {
        IpAddr::V4(address) => named(NOT_PUBLIC_V4, address.into()),
        IpAddr::V6(address) if !within((v6(0x2000), 3), address.into()) => Some("outside of global unicast"),
        IpAddr::V6(address) => named(NOT_PUBLIC_V6, address.into()),
    }
}

/// The IPv4 address that an IPv6 address stands for, or else the address itself.
pub(crate) fn canonical(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] => {
            let [.., a, b, c, d] = v6.octets();
            Ipv4Addr::new(a, b, c, d).into()
        }
        other => other,
    }
}

type Range<A> = (A, u8);

const NOT_PUBLIC_V4: &[(Range<Ipv4Addr>, &str)] = &[
    ((Ipv4Addr::new(0, 0, 0, 0), 8), "this network"),
    ((Ipv4Addr::new(10, 0, 0, 0), 8), "private"),
    ((Ipv4Addr::new(100, 64, 0, 0), 10), "shared by carriers; a cloud's metadata"),
    ((Ipv4Addr::new(127, 0, 0, 0), 8), "loopback"),
    ((Ipv4Addr::new(168, 63, 129, 16), 32), "a cloud's metadata"),
    ((Ipv4Addr::new(169, 254, 0, 0), 16), "link-local; a cloud's metadata"),
    ((Ipv4Addr::new(172, 16, 0, 0), 12), "private"),
    ((Ipv4Addr::new(192, 0, 0, 0), 24), "protocol assignments"),
    ((Ipv4Addr::new(192, 0, 2, 0), 24), "documentation"),
    ((Ipv4Addr::new(192, 88, 99, 0), 24), "6to4 relays"),
    ((Ipv4Addr::new(192, 168, 0, 0), 16), "private"),
    ((Ipv4Addr::new(198, 18, 0, 0), 15), "benchmarks"),
    ((Ipv4Addr::new(198, 51, 100, 0), 24), "documentation"),
    ((Ipv4Addr::new(203, 0, 113, 0), 24), "documentation"),
    ((Ipv4Addr::new(224, 0, 0, 0), 4), "multicast"),
    ((Ipv4Addr::new(240, 0, 0, 0), 4), "reserved; broadcast"),
];

const NOT_PUBLIC_V6: &[(Range<Ipv6Addr>, &str)] = &[
    ((v6(0x2001), 23), "protocol assignments; Teredo"),
    ((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), "documentation"),
    ((v6(0x2002), 16), "6to4"),
    ((v6(0x3fff), 20), "documentation"),
];

const fn v6(first: u16) -> Ipv6Addr {
    Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0)
}

fn named<A: Copy + Into<IpAddr>>(table: &[(Range<A>, &'static str)], address: IpAddr) -> Option<&'static str> {
    table.iter().find(|(range, _)| within(*range, address)).map(|(_, name)| *name)
}

fn within<A: Into<IpAddr>>((network, prefix): Range<A>, address: IpAddr) -> bool {
    Cidr::new(network.into(), prefix).contains(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> bool {
        not_public(text.parse().unwrap()).is_some()
    }

    #[test]
    fn both_ends_of_every_range_that_is_not_public_are_refused_and_their_neighbours_are_not() {
        let ranges = [
            ("0.0.0.0", "0.255.255.255", None, Some("1.0.0.0")),
            ("10.0.0.0", "10.255.255.255", Some("9.255.255.255"), Some("11.0.0.0")),
            ("100.64.0.0", "100.127.255.255", Some("100.63.255.255"), Some("100.128.0.0")),
            ("127.0.0.0", "127.255.255.255", Some("126.255.255.255"), Some("128.0.0.0")),
            ("168.63.129.16", "168.63.129.16", Some("168.63.129.15"), Some("168.63.129.17")),
            ("169.254.0.0", "169.254.255.255", Some("169.253.255.255"), Some("169.255.0.0")),
            ("172.16.0.0", "172.31.255.255", Some("172.15.255.255"), Some("172.32.0.0")),
            ("192.0.0.0", "192.0.0.255", Some("191.255.255.255"), Some("192.0.1.0")),
            ("192.0.2.0", "192.0.2.255", Some("192.0.1.255"), Some("192.0.3.0")),
            ("192.88.99.0", "192.88.99.255", Some("192.88.98.255"), Some("192.88.100.0")),
            ("192.168.0.0", "192.168.255.255", Some("192.167.255.255"), Some("192.169.0.0")),
            ("198.18.0.0", "198.19.255.255", Some("198.17.255.255"), Some("198.20.0.0")),
            ("198.51.100.0", "198.51.100.255", Some("198.51.99.255"), Some("198.51.101.0")),
            ("203.0.113.0", "203.0.113.255", Some("203.0.112.255"), Some("203.0.114.0")),
            ("224.0.0.0", "239.255.255.255", Some("223.255.255.255"), None),
            ("240.0.0.0", "255.255.255.255", None, None),
            ("::", "::fffe:ffff:ffff", None, None),
            ("::1:0:0:0", "64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", None, None),
            ("64:ff9b:0:0:0:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", None, None),
            ("100::", "100::ffff:ffff:ffff:ffff", None, None),
            ("1fff::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None, Some("2000::")),
            ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", Some("2000:ffff::"), Some("2001:200::")),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Some("2001:db7:ffff::"), Some("2001:db9::")),
            ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some("2001:ffff::"), Some("2003::")),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", Some("3ffe:ffff::"), Some("3fff:1000::")),
            ("4000::", "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some("3fff:ffff::"), None),
            ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None, None),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None, None),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None, None),
            ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None, None),
            ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None, None),
        ];

        for (first, last, before, after) in ranges {
            assert!(refused(first) && refused(last), "{first} to {last}");
            for neighbour in [before, after].into_iter().flatten() {
                assert!(!refused(neighbour), "{neighbour}");
            }
        }
    }

    #[test]
    fn an_address_that_carries_an_ipv4_address_is_judged_as_that_address() {
        for inside in ["::ffff:127.0.0.1", "::ffff:10.1.2.3", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"]
        {
            assert!(refused(inside), "{inside}");
        }
        for outside in ["::ffff:93.184.216.34", "64:ff9b::5db8:d822", "2606:2800:220:1::1", "93.184.216.34"] {
            assert!(!refused(outside), "{outside}");
        }
    }

    #[test]
    fn the_operator_allows_ranges_and_nothing_beside_them() {
        let allowed: AllowedPrivate = "127.0.0.0/8, fd00::/8,10.1.2.3".parse().unwrap();

        for inside in ["127.0.0.1", "127.255.0.1", "fd12::1", "10.1.2.3", "::ffff:127.0.0.1"] {
            assert!(allowed.contains(inside.parse().unwrap()), "{inside}");
        }
        for beside in ["128.0.0.1", "::1", "fe80::1", "10.1.2.4", "169.254.169.254"] {
            assert!(!allowed.contains(beside.parse().unwrap()), "{beside}");
        }
        assert_eq!("".parse::<AllowedPrivate>().unwrap(), AllowedPrivate::default());
        for bad in ["127.0.0.0/33", "localhost", "::/129", "10.0.0.0/", "10.0.0.0/-1"] {
            assert!(bad.parse::<AllowedPrivate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ipv4_in_ipv6_is_refused_as_a_range_with_what_to_write_instead() {
        let refused = |text: &str| text.parse::<AllowedPrivate>().unwrap_err().to_string();

        assert!(refused("::1,::ffff:10.0.0.0/104").starts_with("::ffff:10.0.0.0/104 is IPv4 in IPv6"));
        for (text, instead) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.1.2.3", "10.1.2.3/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("64:ff9b::a00:0/104", "10.0.0.0/8"),
        ] {
            assert!(refused(text).ends_with(&format!("write {instead}")), "{}", refused(text));
        }
        for range in ["::/0", "::/95", "10.0.0.0/8", "64:ff9b:1::/96", "::fffe:0:0/96"] {
            assert!(range.parse::<AllowedPrivate>().is_ok(), "{range}");
        }
    }

    #[test]
    fn everything_can_be_allowed_at_once() {
        let allowed: AllowedPrivate = "0.0.0.0/0,::/0".parse().unwrap();

        assert!(allowed.contains("192.168.0.1".parse().unwrap()));
        assert!(allowed.contains("fe80::1".parse().unwrap()));
    }
}
