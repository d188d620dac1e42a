//! What an account is granted: ranges of addresses that its endpoints may be in although they are private.
//!
//! The operator alone gives them (`latchhook account set`), because his is the network that they open. A range lifts for its
//! account what `LATCHHOOK_ALLOW_PRIVATE_ENDPOINTS` lifts for all: that an address is not public, that it is reached by plain
//! HTTP, and on which port. It lifts nothing for the addresses that lead back to this machine, or to what a cloud tells
//! whoever asks from within ([`NEVER`]), however wide it is. That is decided of each address when it is dialled, and not of the
//! range when it is saved: so that `0.0.0.0/0` is as safe as what it leaves out, and what is added here holds for what was
//! given before.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use crate::address::{AllowedPrivate, Cidr, CidrError, canonical};

/// Ranges of one account. They come along with each delivery that is leased.
const MOST: usize = 64;

/// The ranges that the operator has given to an account. None by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Granted(AllowedPrivate);

/// Why ranges cannot be given to an account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// No range.
    #[error(transparent)]
    Cidr(#[from] CidrError),
    /// All of it is closed to accounts: whoever types it means something that will not come true.
    #[error("{range} can be given to no account: it is {what}, and no address in it would be let through")]
    Never {
        /// What was asked for.
        range: Cidr,
        /// What that is.
        what: &'static str,
    },
    /// A variable that was not set, perhaps.
    #[error("there is no range in it: write 10.20.0.0/16, several with commas, or --no-allow-private to take all back")]
    Empty,
    /// More than anybody needs.
    #[error("an account may have {MOST} ranges, and these are {0}: a wider range takes the place of several")]
    TooMany(usize),
}

impl Granted {
    /// As an account's row holds them.
    ///
    /// # Errors
    /// When one of them is no range. What is closed to accounts by now is none: it lets nothing through.
    pub fn of(texts: &[String]) -> Result<Self, CidrError> {
        texts.iter().map(|text| text.parse()).collect::<Result<_, _>>().map(|ranges| Self(AllowedPrivate(ranges)))
    }

    /// As a row is to hold them: each by its first address.
    pub fn to_texts(&self) -> Vec<String> {
        self.0.0.iter().map(Cidr::to_string).collect()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.0.is_empty()
    }

    /// Whether they let an address through.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(address) && !NEVER.iter().any(|(never, _)| never.contains(canonical(address)))
    }
}

impl FromStr for Granted {
    type Err = GrantError;

    /// Reads a list with commas: `10.20.0.0/16,fd12::/32`.
    fn from_str(text: &str) -> Result<Self, GrantError> {
        let ranges: AllowedPrivate = text.parse()?;
        for range in &ranges.0 {
            if let Some((_, what)) = NEVER.iter().find(|(never, _)| range.lies_in(never)) {
                return Err(GrantError::Never { range: *range, what });
            }
        }
        match ranges.0.len() {
            0 => Err(GrantError::Empty),
            count if count > MOST => Err(GrantError::TooMany(count)),
            _ => Ok(Self(ranges)),
        }
    }
}

/// What no range of an account lets through. None of it is public, so without `LATCHHOOK_ALLOW_PRIVATE_ENDPOINTS`, which is
/// for all accounts and may name any of it, nothing is sent there.
const NEVER: &[(Cidr, &str)] = &[
    (v4([0, 0, 0, 0], 8), "this network"),
    (v4([127, 0, 0, 0], 8), "loopback"),
    (v4([169, 254, 0, 0], 16), "link-local, and most clouds' metadata"),
    // Azure's wire server.
    (v4([168, 63, 129, 16], 32), "a cloud's metadata"),
    // Alibaba's.
    (v4([100, 100, 100, 200], 32), "a cloud's metadata"),
    // Oracle's, formerly.
    (v4([192, 0, 0, 192], 32), "a cloud's metadata"),
    (v4([224, 0, 0, 0], 4), "multicast"),
    (v4([255, 255, 255, 255], 32), "broadcast"),
    // Beside loopback all that carries an IPv4 address. Some of that the guard judges as the IPv4 address, by ranges of those.
    (v6([0, 0, 0, 0], 8), "loopback, or IPv4 in IPv6, which is given as the IPv4 range"),
    (v6([0x2001, 0, 0, 0], 32), "Teredo, which is IPv4 in IPv6"),
    (v6([0x2002, 0, 0, 0], 16), "6to4, which is IPv4 in IPv6"),
    // Amazon's: metadata, the credentials of pods, names, time.
    (v6([0xfd00, 0xec2, 0, 0], 32), "a cloud's metadata"),
    // Google's, and Scaleway's.
    (v6([0xfd20, 0xce, 0, 0x254], 128), "a cloud's metadata"),
    (v6([0xfd00, 0x42, 0, 0x42], 128), "a cloud's metadata"),
    (v6([0xfe80, 0, 0, 0], 10), "link-local"),
    (v6([0xff00, 0, 0, 0], 8), "multicast"),
];

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Cidr {
    Cidr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix)
}

/// Of an address that is zero between its first three parts and its last.
const fn v6([a, b, c, last]: [u16; 4], prefix: u8) -> Cidr {
    Cidr::new(IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, last)), prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::not_public;

    fn granted(text: &str) -> Granted {
        text.parse().unwrap()
    }

    fn lets_through(ranges: &Granted, address: &str) -> bool {
        ranges.contains(address.parse().unwrap())
    }

    #[test]
    fn a_range_lets_through_what_is_in_it_and_nothing_beside_it() {
        let ranges = granted("10.20.0.0/16, fd12::/32,192.168.1.7");

        for inside in ["10.20.0.0", "10.20.255.255", "fd12::1", "fd12:0:ffff::", "192.168.1.7", "::ffff:10.20.1.2"] {
            assert!(lets_through(&ranges, inside), "{inside}");
        }
        assert!(lets_through(&ranges, "64:ff9b::a14:102"), "10.20.1.2 behind NAT64");
        for beside in ["10.19.255.255", "10.21.0.0", "fd12:1::", "192.168.1.8", "::a14:102", "2002:a14:102::"] {
            assert!(!lets_through(&ranges, beside), "{beside}");
        }
    }

    #[test]
    fn everything_may_be_given_and_what_leads_to_this_machine_or_to_a_clouds_secrets_is_let_through_all_the_same_by_nobody()
     {
        let everything = granted("0.0.0.0/0,::/0");
        let never = [
            ["0.0.0.0", "0.255.255.255"],
            ["127.0.0.0", "127.255.255.255"],
            ["169.254.0.0", "169.254.255.255"],
            ["169.254.169.254", "169.254.170.2"],
            ["168.63.129.16", "100.100.100.200"],
            ["192.0.0.192", "255.255.255.255"],
            ["224.0.0.0", "239.255.255.255"],
            ["::", "::1"],
            ["::ffff:127.0.0.1", "::ffff:169.254.169.254"],
            ["64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"],
            ["64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:a9fe:a9fe"],
            ["::127.0.0.1", "::ffff:0:127.0.0.1"],
            ["2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff"],
            ["2002:7f00:1::", "2002:a9fe:a9fe::"],
            ["fd00:ec2::254", "fd00:ec2::23"],
            ["fd20:ce::254", "fd00:42::42"],
            ["fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
            ["ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
        ];

        for address in never.as_flattened() {
            assert!(!lets_through(&everything, address), "{address}");
            assert!(not_public(address.parse().unwrap()).is_some(), "{address} is nobody's without a range either");
        }
        let beside = [
            ["1.0.0.0", "126.255.255.255"],
            ["128.0.0.0", "169.253.255.255"],
            ["169.255.0.0", "168.63.129.15"],
            ["168.63.129.17", "100.100.100.199"],
            ["100.100.100.201", "192.0.0.191"],
            ["192.0.0.193", "223.255.255.255"],
            ["240.0.0.0", "255.255.255.254"],
            ["100::", "2000::"],
            ["2001:1::", "2001:ffff::"],
            ["2003::", "fd00:ec1::254"],
            ["fd00:ec3::254", "fd20:ce::253"],
            ["fd00:42::41", "fd00::2"],
            ["fe00::", "fec0::1"],
            ["10.0.0.1", "64:ff9b::a00:1"],
        ];
        for address in beside.as_flattened() {
            assert!(lets_through(&everything, address), "{address}");
        }
    }

    #[test]
    fn a_range_that_would_let_nothing_through_is_refused_in_words_that_say_what_it_is() {
        let refused = [
            ("127.0.0.1", "127.0.0.1/32 can be given to no account: it is loopback,"),
            ("127.0.0.0/8", "it is loopback,"),
            ("10.0.0.0/8,169.254.169.254/24", "169.254.169.0/24 can be given to no account: it is link-local,"),
            ("168.63.129.16", "it is a cloud's metadata,"),
            ("100.100.100.200/32", "it is a cloud's metadata,"),
            ("fd00:ec2::254", "it is a cloud's metadata,"),
            ("0.0.0.0/9", "it is this network,"),
            ("239.1.1.0/24", "it is multicast,"),
            ("::1", "it is loopback,"),
            ("::10.0.0.0/104", "which is given as the IPv4 range,"),
            ("2002:a00::/24", "it is 6to4,"),
            ("fe80::/64", "it is link-local,"),
        ];

        for (text, why) in refused {
            let error = text.parse::<Granted>().unwrap_err().to_string();
            assert!(error.contains(why) && error.ends_with("no address in it would be let through"), "{error}");
        }
        for wider in ["126.0.0.0/7", "169.254.0.0/15", "100.100.100.200/31", "fd00::/8", "fe00::/9", "::/0"] {
            assert!(wider.parse::<Granted>().is_ok(), "{wider}");
        }
    }

    #[test]
    fn what_is_no_list_of_ranges_is_refused_and_so_is_an_empty_one_and_one_that_is_too_long() {
        let many = vec!["10.0.0.0/8"; 65].join(",");

        for (text, why) in [
            ("10.0.0.0/33", "\"10.0.0.0/33\" is no range of addresses"),
            ("10.0.0.0/8,shop.example", "\"shop.example\" is no range of addresses"),
            ("10.0.0.0/8;fd00::/8", "is no range of addresses"),
            ("::ffff:10.0.0.0/104", "judged as the IPv4 address: write 10.0.0.0/8"),
            ("64:ff9b::/96", "judged as the IPv4 address: write 0.0.0.0/0"),
            ("", "there is no range in it"),
            (" , ", "there is no range in it"),
            (&many, "an account may have 64 ranges, and these are 65"),
        ] {
            let error = text.parse::<Granted>().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert_eq!(granted(&many[11..]).to_texts().len(), 64);
    }

    #[test]
    fn ranges_are_kept_by_their_first_address_and_read_back_as_they_were() {
        let ranges = granted("10.20.30.40/16,fd12:0:5::1/32,10.1.2.3,0.0.0.0/0");

        let texts = ranges.to_texts();

        assert_eq!(texts, ["10.20.0.0/16", "fd12::/32", "10.1.2.3/32", "0.0.0.0/0"]);
        assert_eq!(Granted::of(&texts).unwrap().to_texts(), texts);
        assert!(Granted::of(&["10.0.0.0/99".to_owned()]).is_err());
        assert!(Granted::of(&[]).unwrap().is_empty() && Granted::default().is_empty());
    }

    /// A later version may close more than the one that gave it.
    #[test]
    fn a_range_that_was_kept_and_is_closed_by_now_is_read_and_lets_nothing_through() {
        let kept = ["127.0.0.0/8", "10.0.0.0/8", "::ffff:10.0.0.0/104"].map(str::to_owned);

        let kept = Granted::of(&kept).unwrap();

        assert!(!lets_through(&kept, "127.0.0.1") && lets_through(&kept, "10.0.0.1"));
    }
}
