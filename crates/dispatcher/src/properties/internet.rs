//! Which addresses are the public internet's, said in another way than the guard says it: by the first and the last address
//! of what is not (IANA's special-purpose registries, and what clouds use), and of what may carry an address inside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const NOT_PUBLIC: &[(&str, &str)] = &[
    ("0.0.0.0", "0.255.255.255"),
    ("10.0.0.0", "10.255.255.255"),
    ("100.64.0.0", "100.127.255.255"),
    ("127.0.0.0", "127.255.255.255"),
    ("168.63.129.16", "168.63.129.16"),
    ("169.254.0.0", "169.254.255.255"),
    ("172.16.0.0", "172.31.255.255"),
    ("192.0.0.0", "192.0.0.255"),
    ("192.0.2.0", "192.0.2.255"),
    ("192.88.99.0", "192.88.99.255"),
    ("192.168.0.0", "192.168.255.255"),
    ("198.18.0.0", "198.19.255.255"),
    ("198.51.100.0", "198.51.100.255"),
    ("203.0.113.0", "203.0.113.255"),
    ("224.0.0.0", "255.255.255.255"),
    ("::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
];

/// Whether a packet to this address leaves for somebody's network on the public internet.
pub(super) fn is_public(address: IpAddr) -> bool {
    let address = match address {
        IpAddr::V6(v6) => carried(v6).map_or(address, IpAddr::V4),
        v4 @ IpAddr::V4(_) => v4,
    };
    let is_within = |(first, last): &(&str, &str)| {
        let end = |text: &str| text.parse::<IpAddr>().expect("an address of the table");
        end(first).is_ipv4() == address.is_ipv4() && end(first) <= address && address <= end(last)
    };
    let by_name = match address {
        IpAddr::V4(v4) => {
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_multicast() || v4.is_broadcast()
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_multicast() || v6.is_unique_local() || v6.is_unicast_link_local(),
    };
    !by_name && !address.is_unspecified() && !NOT_PUBLIC.iter().any(is_within)
}

/// The IPv4 address that the kernel or a NAT64 gateway takes out of an IPv6 address.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = u128::from(address);
    let (prefix, low) = (bits >> 32, u32::try_from(bits & u128::from(u32::MAX)).expect("32 bits"));
    matches!(prefix, 0xffff | 0x0064_ff9b_0000_0000_0000_0000).then(|| low.into())
}

#[cfg(test)]
pub(super) fn edges() -> Vec<IpAddr> {
    NOT_PUBLIC.iter().flat_map(|(first, last)| [first.parse().unwrap(), last.parse().unwrap()]).collect()
}
