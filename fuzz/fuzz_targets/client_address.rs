//! Who calls: a stranger's headers never count, and what a stranger puts before a proxy's word neither.

#![no_main]

use std::net::IpAddr;
use std::sync::LazyLock;

use arbitrary::Arbitrary;
use axum::http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use postern_relay::client_address::TrustedProxies;
use postern_relay::fuzzing;

static PROXIES: LazyLock<TrustedProxies> =
    LazyLock::new(|| "10.0.0.0/8,127.0.0.1,2001:db8::/32".parse().expect("networks"));

#[derive(Debug, Arbitrary)]
struct Call<'a> {
    stranger: IpAddr,
    headers: Vec<(Name, &'a [u8])>,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Name {
    XForwardedFor,
    Forwarded,
}

fuzz_target!(|call: Call<'_>| {
    let stranger = call.stranger.to_canonical();
    if !is_trusted(stranger) {
        assert_eq!(client(stranger, &headers(&call, "")), stranger);
    }
    let proxy = IpAddr::from([10, 0, 0, 1]);
    let named = client(proxy, &headers(&call, ""));
    assert_eq!(named, named.to_canonical());
    if !is_trusted(named) {
        for forged in ["192.0.2.66,", "for=192.0.2.66,", "for=\"192.0.2.66,", "unknown,"] {
            assert_eq!(client(proxy, &headers(&call, forged)), named);
        }
    }
});

fn client(peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    fuzzing::client(&PROXIES, peer, headers).parse().expect("an address")
}

fn is_trusted(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[0] == 10 || address.octets() == [127, 0, 0, 1],
        IpAddr::V6(address) => address.segments()[..2] == [0x2001, 0xdb8],
    }
}

/// The headers of a call, after what a stranger may have put at the beginning of each.
fn headers(call: &Call<'_>, forged: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &call.headers {
        let name = match name {
            Name::XForwardedFor => "x-forwarded-for",
            Name::Forwarded => "forwarded",
        };
        let forged = if headers.contains_key(name) { "" } else { forged };
        if let Ok(value) = HeaderValue::from_bytes(&[forged.as_bytes(), value].concat()) {
            headers.append(name, value);
        }
    }
    headers
}
