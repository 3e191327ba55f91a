//! Who calls: the peer of the connection, or whom a trusted proxy names.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, header};
use ipnet::IpNet;

use crate::http::App;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The part of an IPv6 address that a household or a host is given; the rest it picks itself.
const IPV6_NETWORK: u128 = !0 << 64;

/// The address of whoever made a request; IPv4 is always shown as IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientAddress(IpAddr);

/// The proxies whose word on their clients is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl ClientAddress {
    pub(crate) fn new(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }

    /// Whose call it is.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        let found = extensions.get::<Self>().copied();
        found.unwrap_or_else(|| Self::new(Ipv6Addr::UNSPECIFIED.into()))
    }

    pub(crate) fn ip(self) -> IpAddr {
        self.0
    }

    /// The address, or the /64 of IPv6.
    fn network(self) -> IpAddr {
        match self.0 {
            IpAddr::V4(_) => self.0,
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & IPV6_NETWORK).into(),
        }
    }
}

impl FromRequestParts<App> for ClientAddress {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

impl TrustedProxies {
    /// What limits count an address by; nothing limits a trusted proxy.
    pub(crate) fn network(&self, address: ClientAddress) -> Option<IpAddr> {
        (!self.contain(address)).then(|| address.network())
    }

    fn contain(&self, address: ClientAddress) -> bool {
        self.0.iter().any(|network| network.contains(&address.0))
    }

    /// Goes from the peer towards the client for as long as whoever speaks is trusted.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> ClientAddress {
        let peer = ClientAddress::new(peer);
        if !self.contain(peer) {
            return peer;
        }
        // `X-Forwarded-For` goes before `Forwarded` (RFC 7239): a proxy appends to one of them, and hands on
        // the other as a stranger wrote it.
        if headers.contains_key(X_FORWARDED_FOR) {
            self.first_stranger(peer, elements(headers, X_FORWARDED_FOR).map(parse_node))
        } else {
            self.first_stranger(peer, elements(headers, header::FORWARDED).map(parse_forwarded))
        }
    }

    /// Goes by whom each hop names as the one before it, the nearest first; `None` when it names no address.
    fn first_stranger(
        &self,
        peer: ClientAddress,
        hops: impl Iterator<Item = Option<ClientAddress>>,
    ) -> ClientAddress {
        let mut client = peer;
        for named in hops {
            match named {
                Some(address) if self.contain(client) => client = address,
                _ => break,
            }
        }
        client
    }
}

/// The elements of a header that lists them, from the right.
fn elements(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).iter().rev();
    lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','))
}

fn parse_forwarded(element: &str) -> Option<ClientAddress> {
    let mut pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    parse_node(node.trim_matches('"'))
}

/// An address, with a port or without, IPv6 in brackets or without.
fn parse_node(node: &str) -> Option<ClientAddress> {
    let node = node.trim();
    let address = node.strip_prefix('[').and_then(|node| node.strip_suffix(']')).unwrap_or(node);
    let address = address.parse().or_else(|_| node.parse().map(|node: SocketAddr| node.ip()));
    address.ok().map(ClientAddress::new)
}

impl FromStr for TrustedProxies {
    type Err = String;

    /// Reads addresses and networks with commas between them; none when there is nothing.
    fn from_str(list: &str) -> Result<Self, String> {
        let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(parse_network).collect::<Result<_, _>>().map(Self)
    }
}

fn parse_network(name: &str) -> Result<IpNet, String> {
    name.parse().or_else(|_| name.parse().map(|address: IpAddr| address.into())).map_err(|_| {
        format!("{name} is no address, such as 192.0.2.7, and no network, such as 10.0.0.0/8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXIES: &str = "10.0.0.0/8, 2001:db8:1::/48,127.0.0.1";

    fn client(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let proxies: TrustedProxies = PROXIES.parse().unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        proxies.client(peer.parse().unwrap(), &map).ip().to_string()
    }

    fn forwarded_for(peer: &str, list: &str) -> String {
        client(peer, &[("x-forwarded-for", list)])
    }

    #[test]
    fn a_stranger_cannot_name_another_address() {
        let forged = [("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=1.1.1.1")];
        assert_eq!(client("192.0.2.1", &forged), "192.0.2.1");
        assert_eq!(client("::ffff:192.0.2.1", &forged), "192.0.2.1");
        // What a proxy appends is at the right; the left is what it was sent.
        assert_eq!(forwarded_for("10.1.1.1", "1.1.1.1, 192.0.2.1"), "192.0.2.1");
        assert_eq!(forwarded_for("10.1.1.1", "1.1.1.1, 10.9.9.9, 192.0.2.1"), "192.0.2.1");
    }

    #[test]
    fn trusted_hops_are_stepped_over() {
        assert_eq!(forwarded_for("127.0.0.1", "192.0.2.1, 10.0.0.2, 10.0.0.3"), "192.0.2.1");
        assert_eq!(forwarded_for("2001:db8:1::9", "2001:db8:2::1"), "2001:db8:2::1");
        assert_eq!(forwarded_for("::ffff:10.0.0.1", "::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(forwarded_for("10.0.0.1", "10.0.0.2,10.0.0.3"), "10.0.0.2");
        let lines = [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "10.0.0.2")];
        assert_eq!(client("10.0.0.1", &lines), "192.0.2.1");
    }

    #[test]
    fn a_hop_that_names_no_address_ends_the_way() {
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        for odd in ["", "unknown", "192.0.2.1, unknown", "192.0.2.1, ", "192.0.2.1.5", "\u{e9}"] {
            assert_eq!(forwarded_for("10.0.0.1", odd), "10.0.0.1", "{odd}");
        }
        assert_eq!(forwarded_for("10.0.0.1", "192.0.2.1, unknown, 10.0.0.2"), "10.0.0.2");
    }

    #[test]
    fn ports_brackets_and_the_standard_header_are_read() {
        assert_eq!(forwarded_for("10.0.0.1", "192.0.2.1:4711"), "192.0.2.1");
        assert_eq!(forwarded_for("10.0.0.1", "[2001:db8::1]:4711"), "2001:db8::1");
        assert_eq!(forwarded_for("10.0.0.1", "[2001:db8::1]"), "2001:db8::1");
        let standard = |value| client("10.0.0.1", &[("forwarded", value)]);
        assert_eq!(standard("for=192.0.2.1;proto=https;by=10.0.0.1"), "192.0.2.1");
        assert_eq!(standard("For=1.1.1.1, proto=https;FOR=\"[2001:db8::1]:47\""), "2001:db8::1");
        assert_eq!(standard("for=\"1.1.1.1, for=192.0.2.1"), "192.0.2.1");
        assert_eq!(standard("for=_hidden"), "10.0.0.1");
        let both = [("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(client("10.0.0.1", &both), "192.0.2.1");
    }

    #[test]
    fn limits_count_an_ipv6_household_as_one() {
        let network = |text: &str| ClientAddress::new(text.parse().unwrap()).network().to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
    }

    #[test]
    fn a_list_of_proxies_is_read_or_refused_by_name() {
        let read = |list: &str| list.parse::<TrustedProxies>();
        assert_eq!(read(""), Ok(TrustedProxies::default()));
        assert!(read("10.0.0.0/8,proxy.example").unwrap_err().contains("proxy.example"));
        assert!(read("10.0.0.0/33").is_err());
    }
}
