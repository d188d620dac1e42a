//! Addresses.

use std::net::{IpAddr, UdpSocket};

/// An address of this machine that is not loopback: for what must not be on loopback to be shown. Nothing is sent to find it,
/// and what is sent to it stays here.
///
/// # Panics
/// Where the machine has loopback and nothing else.
pub fn own_address() -> IpAddr {
    // Of TEST-NET-2 and the documentation's prefix: to connect a socket of datagrams is to ask for the route.
    let ways = [("0.0.0.0:0", "198.51.100.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    let address = ways.iter().find_map(|(from, to)| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    });
    address.expect("this machine has a network: the test needs one address that is not loopback, whichever it is")
}
