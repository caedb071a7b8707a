//! The addresses of clients, as the access log tells them.
//!
//! A proxy in front is the peer of every connection, and says in `X-Forwarded-For` whom it asks for. Anybody may send
//! that header, so it counts only where the peer is a proxy that the operator has named; and of its hops only those that
//! such proxies have added, from the right on.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use actix_web::dev::RequestHead;
use ipnet::IpNet;

/// The header in which a proxy adds, at the end, whom it was asked by.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Proxies whose word is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedProxy {
    /// All with an address in this network.
    Network(IpNet),
    /// All that connect to a socket in the file system.
    Unix,
}

impl FromStr for TrustedProxy {
    type Err = String;

    /// Reads `10.0.0.0/8`, `::1`, `unix`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let one = text.parse::<IpAddr>().map(IpNet::from);
        let network = one.or_else(|_| text.parse());
        let network = network.map_err(|_| "not a network as 10.0.0.0/8, an address, or unix")?;
        Ok(Self::Network(network))
    }
}

/// The choices of the operator about the addresses of clients.
#[derive(Clone, Debug, Default)]
pub struct Clients {
    /// Addresses are told in the access log.
    pub logged: bool,
    /// The proxies whose word is taken for whom they ask.
    pub proxies: Vec<TrustedProxy>,
}

impl Clients {
    /// The address of the client that sent this request, where it is to be told and there is one.
    pub fn of(&self, request: &RequestHead) -> Option<IpAddr> {
        if !self.logged {
            return None;
        }
        let peer = (request.peer_addr).map(|peer: SocketAddr| peer.ip().to_canonical());
        if !self.trusts(peer) {
            return peer;
        }
        let lines: Vec<_> = request.headers().get_all(FORWARDED_FOR).collect();
        let hops = lines
            .iter()
            .rev()
            .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        let mut farthest = peer;
        for hop in hops {
            let Some(hop) = address(hop) else {
                // No proxy of the operator's wrote this.
                return peer;
            };
            farthest = Some(hop);
            if !self.trusts(farthest) {
                break;
            }
        }
        farthest
    }

    fn trusts(&self, peer: Option<IpAddr>) -> bool {
        self.proxies.iter().any(|proxy| match (proxy, peer) {
            (TrustedProxy::Network(network), Some(peer)) => network.contains(&peer),
            (TrustedProxy::Unix, None) => true,
            _ => false,
        })
    }
}

/// The address in a hop, with or without a port.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim_matches([' ', '\t']);
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']'));
    let parsed = (bare.unwrap_or(hop).parse::<IpAddr>().ok())
        .or_else(|| Some(hop.parse::<SocketAddr>().ok()?.ip()));
    parsed.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    fn client(peer: Option<&str>, proxies: &[&str], lines: &[&str]) -> Option<String> {
        let mut request = RequestHead::default();
        request.peer_addr = peer.map(|peer| SocketAddr::new(peer.parse().unwrap(), 1));
        for line in lines {
            let name = HeaderName::from_static(FORWARDED_FOR);
            (request.headers_mut()).append(name, HeaderValue::from_str(line).unwrap());
        }
        let clients = Clients {
            logged: true,
            proxies: proxies.iter().map(|proxy| proxy.parse().unwrap()).collect(),
        };
        clients.of(&request).map(|address| address.to_string())
    }

    /// The peer, the proxies, the lines of the header, and the client.
    type Row = (
        Option<&'static str>,
        &'static [&'static str],
        &'static [&'static str],
        Option<&'static str>,
    );

    #[test]
    fn only_what_named_proxies_have_added_counts() {
        let rows: &[Row] = &[
            // Nobody is trusted.
            (Some("10.0.0.1"), &[], &["1.1.1.1"], Some("10.0.0.1")),
            (
                Some("10.0.0.1"),
                &["10.0.0.2", "192.168.0.0/16"],
                &["1.1.1.1"],
                Some("10.0.0.1"),
            ),
            // A proxy is, and what its client has said itself is not.
            (
                Some("10.0.0.1"),
                &["10.0.0.0/8"],
                &["1.1.1.1"],
                Some("1.1.1.1"),
            ),
            (
                Some("10.0.0.1"),
                &["10.0.0.0/8"],
                &["6.6.6.6, 1.1.1.1"],
                Some("1.1.1.1"),
            ),
            (
                Some("10.0.0.1"),
                &["10.0.0.0/8"],
                &["6.6.6.6", "1.1.1.1"],
                Some("1.1.1.1"),
            ),
            (
                Some("10.0.0.1"),
                &["10.0.0.0/8"],
                &["x, 1.1.1.1"],
                Some("1.1.1.1"),
            ),
            // Two proxies, one behind the other; and a client behind one that is itself in the network.
            (
                Some("10.0.0.1"),
                &["10.0.0.0/8"],
                &["6.6.6.6, 1.1.1.1, 10.9.9.9"],
                Some("1.1.1.1"),
            ),
            (
                Some("10.0.0.1"),
                &["10.0.0.0/8"],
                &["10.1.1.1"],
                Some("10.1.1.1"),
            ),
            // Nothing, or nothing that a proxy writes.
            (Some("10.0.0.1"), &["10.0.0.0/8"], &[], Some("10.0.0.1")),
            (Some("10.0.0.1"), &["10.0.0.0/8"], &[""], Some("10.0.0.1")),
            (
                Some("10.0.0.1"),
                &["10.0.0.0/8"],
                &["1.1.1.1, x"],
                Some("10.0.0.1"),
            ),
            (
                Some("10.0.0.1"),
                &["10.0.0.0/8"],
                &["1.1.1.1,"],
                Some("10.0.0.1"),
            ),
            (
                Some("10.0.0.1"),
                &["10.0.0.0/8"],
                &["1.1.1.1 2.2.2.2"],
                Some("10.0.0.1"),
            ),
            (
                Some("10.0.0.1"),
                &["10.0.0.0/8"],
                &["1.1.1.1, x, 10.0.0.2"],
                Some("10.0.0.1"),
            ),
            // Ways to write an address.
            (Some("::1"), &["::1"], &["1.1.1.1:80"], Some("1.1.1.1")),
            (
                Some("::1"),
                &["::1"],
                &["[2001:db8::1]:80"],
                Some("2001:db8::1"),
            ),
            (
                Some("::1"),
                &["::1"],
                &["[2001:db8::1]"],
                Some("2001:db8::1"),
            ),
            (
                Some("::ffff:10.0.0.1"),
                &["10.0.0.0/8"],
                &["::ffff:1.1.1.1"],
                Some("1.1.1.1"),
            ),
            // Sockets in the file system have no address, and count only where that is said.
            (None, &["0.0.0.0/0", "::/0"], &["1.1.1.1"], None),
            (None, &["unix"], &["1.1.1.1"], Some("1.1.1.1")),
            (None, &["unix"], &["x"], None),
            (Some("10.0.0.1"), &["unix"], &["1.1.1.1"], Some("10.0.0.1")),
        ];
        for (peer, proxies, lines, expected) in rows {
            let told = client(*peer, proxies, lines);
            assert_eq!(told.as_deref(), *expected, "{peer:?} {proxies:?} {lines:?}");
        }
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0",
            "host",
            "10.0.0.0/-1",
            "unix:/x",
        ] {
            assert!(bad.parse::<TrustedProxy>().is_err(), "{bad}");
        }
    }
}
