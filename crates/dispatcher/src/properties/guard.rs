//! No URL leads into our own network.

use std::net::{IpAddr, SocketAddr};

use url::Url;

use super::internet::is_public;
use crate::guard::{Guard, parse};

/// A URL is refused, or it is http or https without user and password, its host and port are those that a browser would
/// take, and an address in it is let through exactly if it is public, by https, on a port that is nobody else's.
pub fn guard(text: &str) {
    let Ok(uri) = parse(text) else { return };

    let url = Url::parse(text).expect("what the guard has read");
    let scheme = uri.scheme_str().expect("a scheme");
    let (host, port) = (uri.host().expect("a host"), uri.port_u16());
    assert!(matches!(scheme, "https" | "http"), "{uri}");
    assert!(!uri.authority().is_some_and(|authority| authority.as_str().contains('@')), "{uri}");
    assert_eq!((Some(scheme), Some(host), port), (Some(url.scheme()), url.host_str(), url.port()), "{uri}");
    assert!(!host.is_empty(), "{uri}");

    let literal: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    let Some(address) = literal else { return is_a_name(host) };
    let port = port.unwrap_or(if scheme == "https" { 443 } else { 80 });
    let admitted = Guard::default().admit(scheme == "https", SocketAddr::new(address, port)).is_ok();
    let expected = is_public(address) && scheme == "https" && (port == 443 || port >= 1024);
    assert_eq!(admitted, expected, "{uri}");
}

/// A name is asked of the resolver: nothing that it would take for an address in another way of writing.
fn is_a_name(host: &str) {
    let last = host.strip_suffix('.').unwrap_or(host).rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    let decimal = !last.is_empty() && last.bytes().all(|digit| digit.is_ascii_digit());
    assert!(!hex && !decimal, "{host}");
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::{super::internet::edges, *};

    /// An address near the edge of a range, or anywhere.
    fn any_v4() -> impl Strategy<Value = Ipv4Addr> {
        let edges: Vec<u32> = edges()
            .iter()
            .filter_map(|edge| if let IpAddr::V4(v4) = edge { Some((*v4).into()) } else { None })
            .collect();
        let near = (prop::sample::select(edges), -2..=2_i32).prop_map(|(edge, off)| edge.wrapping_add_signed(off));
        prop_oneof![near, any::<u32>()].prop_map(Ipv4Addr::from)
    }

    /// One near an edge, one with an IPv4 address inside, or any.
    fn any_v6() -> impl Strategy<Value = Ipv6Addr> {
        let edges: Vec<u128> = edges()
            .iter()
            .filter_map(|edge| if let IpAddr::V6(v6) = edge { Some((*v6).into()) } else { None })
            .collect();
        let near = (prop::sample::select(edges), -2..=2_i128).prop_map(|(edge, off)| edge.wrapping_add_signed(off));
        // Mapped, compatible, translated, NAT64, local NAT64, 6to4, Teredo, ISATAP.
        let around = [
            (0xffff_u128 << 32, 0),
            (0, 0),
            (0xffff_0000_u128 << 32, 0),
            (0x0064_ff9b_u128 << 96, 0),
            (0x0064_ff9b_0001_u128 << 80, 0),
            (0x2002_u128 << 112, 80),
            (0x2001_u128 << 112, 0),
            (0x2606_2800_0220_0001_0000_5efe_u128 << 32, 0),
        ];
        let carrying = (prop::sample::select(around.to_vec()), any_v4());
        let carrying = carrying.prop_map(|((bits, shift), v4)| bits | u128::from(u32::from(v4)) << shift);
        prop_oneof![near, carrying, any::<u128>()].prop_map(Ipv6Addr::from)
    }

    /// An IPv4 address in one of the ways of writing it that `inet_aton` knows.
    fn written(address: Ipv4Addr, parts: usize, radix: &[u8; 4]) -> String {
        let [a, b, c, d] = address.octets().map(u32::from);
        let numbers = match parts {
            1 => vec![address.into()],
            2 => vec![a, b << 16 | c << 8 | d],
            3 => vec![a, b, c << 8 | d],
            _ => vec![a, b, c, d],
        };
        let number = |(number, radix): (&u32, &u8)| match radix % 3 {
            0 => number.to_string(),
            1 => format!("0{number:o}"),
            _ => format!("0X{number:x}"),
        };
        numbers.iter().zip(radix).map(number).collect::<Vec<_>>().join(".")
    }

    async fn lets_through(url: &str) -> bool {
        guard(url);
        Guard::default().check_url(url).await.is_ok()
    }

    fn soon<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    proptest! {
        #[test]
        fn an_ipv4_address_is_let_through_if_it_is_public_however_it_is_written(
            address in any_v4(),
            parts in 1..=4_usize,
            radix in any::<[u8; 4]>(),
            (dot, wide) in any::<(bool, bool)>(),
        ) {
            let mut host = written(address, parts, &radix) + if dot { "." } else { "" };
            if wide {
                host = host.replace('1', "１").replace('.', "。");
            }
            prop_assert_eq!(soon(lets_through(&format!("https://{host}/"))), is_public(address.into()), "{}", host);
        }

        #[test]
        fn an_ipv6_address_is_let_through_if_it_and_what_it_carries_are_public(address in any_v6()) {
            prop_assert_eq!(soon(lets_through(&format!("https://[{address}]/"))), is_public(address.into()), "{}", address);
        }

        #[test]
        fn a_public_address_is_let_through_only_by_https_and_on_a_port_of_its_own(port in any::<u16>(), https in any::<bool>()) {
            let scheme = if https { "https" } else { "http" };
            let expected = https && (port == 443 || port >= 1024);
            prop_assert_eq!(soon(lets_through(&format!("{scheme}://93.184.216.34:{port}/"))), expected);
        }

        #[test]
        fn whoever_is_named_in_a_url_makes_it_refused(user in "[^/?#\\\\]{0,10}", password in "(:[^/?#\\\\@]{0,10})?") {
            let url = format!("https://{user}{password}@93.184.216.34/");
            guard(&url);
            prop_assert!(parse(&url).is_err(), "{}", url);
        }

        #[test]
        fn any_text_is_refused_or_read_as_a_browser_reads_it(
            text in "\\PC{0,60}",
            parts in vec(prop::sample::select(PARTS), 0..8),
            at in any::<Index>(),
        ) {
            guard(&text);
            guard(&format!("https://{text}"));
            let mut url = format!("https://{}", parts.concat());
            guard(&url);
            let boundaries: Vec<_> = url.char_indices().map(|(index, _)| index).collect();
            url.insert_str(*at.get(&boundaries), &text);
            guard(&url);
        }
    }

    const PARTS: &[&str] = &[
        "127.0.0.1",
        "0x7f",
        "017700000001",
        "2130706433",
        "localhost",
        "example.com",
        "xn--bcher-kva",
        "bücher",
        "１",
        "。",
        "[::1]",
        "[::ffff:7f00:1]",
        "[",
        "]",
        "@",
        ":",
        ":443",
        ":80",
        ":0",
        ":65536",
        "/",
        "\\",
        "?",
        "#",
        "%",
        "%00",
        "%2f",
        ".",
        "..",
        "\t",
        "\n",
        " ",
        "\0",
        "\u{ad}",
        "\u{200d}",
        "user",
        "//",
        "-",
        "_",
        "a",
    ];
}
