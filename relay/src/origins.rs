//! Origins (RFC 6454): the pages that may reach the relay.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use axum::http::Uri;
use serde::{Deserialize, Serialize};

/// The origins that are allowed; any, when none is listed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Origins(Vec<OriginPattern>);

/// One origin, or all hosts below one: `https://example.com` or `https://*.example.com`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OriginPattern {
    /// With `://`.
    scheme: String,
    /// With the port, when there is one; what a host must end with when it is a wildcard.
    authority: String,
    is_wildcard: bool,
}

/// Why a text is no origin; reads on after the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no origin: write https://example.com, without a path, or https://*.example.com")]
pub struct InvalidOrigin(String);

impl Origins {
    /// Every origin.
    pub fn any() -> Self {
        Self::default()
    }

    /// Only these.
    pub fn only(patterns: Vec<OriginPattern>) -> Self {
        Self(patterns)
    }

    /// Whether a page of this origin may reach the relay.
    pub fn allow(&self, origin: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.matches(origin))
    }

    /// Whether pages of any origin may.
    pub fn allow_all(&self) -> bool {
        self.0.is_empty()
    }
}

impl OriginPattern {
    /// An `Origin` header as browsers write it: lower case, no default port.
    fn matches(&self, origin: &str) -> bool {
        let Some(authority) = origin.strip_prefix(&self.scheme) else { return false };
        if !self.is_wildcard {
            return authority == self.authority;
        }
        let is_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
        authority
            .strip_suffix(&self.authority)
            .and_then(|labels| labels.strip_suffix('.'))
            .is_some_and(|labels| !labels.is_empty() && labels.bytes().all(is_host))
    }
}

impl FromStr for OriginPattern {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let invalid = || InvalidOrigin(text.to_owned());
        let lower = text.trim_end_matches('/').to_ascii_lowercase();
        let (scheme, rest) = lower.split_once("://").ok_or_else(invalid)?;
        let (is_wildcard, rest) = match rest.strip_prefix("*.") {
            Some(parent) => (true, parent),
            None => (false, rest),
        };
        let uri: Uri = format!("{scheme}://{rest}").parse().map_err(|_| invalid())?;
        let authority = uri.authority().filter(|authority| authority.as_str() == rest);
        let authority = authority.ok_or_else(invalid)?;
        let host = authority.host();
        if !(is_name(host) || !is_wildcard && is_address(host)) {
            return Err(invalid());
        }
        // A port out of range is none to the reader of addresses.
        if authority.port().is_none() && host != rest {
            return Err(invalid());
        }
        let default_port = match scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        let port = authority.port_u16().filter(|port| Some(*port) != default_port);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Self { scheme: format!("{scheme}://"), authority: format!("{host}{port}"), is_wildcard })
    }
}

/// Whether hosts can be below it: what ends in a label of digits is an address.
fn is_name(host: &str) -> bool {
    let is_of_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let last = host.rsplit('.').next().unwrap_or_default();
    host.bytes().all(is_of_name) && last.starts_with(|c: char| c.is_ascii_alphabetic())
}

fn is_address(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<Ipv4Addr>().is_ok(),
    }
}

impl TryFrom<String> for OriginPattern {
    type Error = InvalidOrigin;
    fn try_from(text: String) -> Result<Self, InvalidOrigin> {
        text.parse()
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wildcard = if self.is_wildcard { "*." } else { "" };
        write!(f, "{}{wildcard}{}", self.scheme, self.authority)
    }
}

impl From<OriginPattern> for String {
    fn from(pattern: OriginPattern) -> String {
        pattern.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(patterns: &[&str]) -> Origins {
        Origins::only(patterns.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn an_exact_origin_is_that_scheme_host_and_port() {
        let origins = origins(&[
            "https://Shop.example:443",
            "http://localhost:5173/",
            "http://127.0.0.1:5173",
            "http://[::1]:5173",
        ]);
        assert!(origins.allow("http://127.0.0.1:5173"));
        assert!(origins.allow("http://[::1]:5173"));
        assert!(origins.allow("https://shop.example"));
        assert!(origins.allow("http://localhost:5173"));
        for foreign in [
            "http://shop.example",
            "https://shop.example:8443",
            "https://shop.example.evil.example",
            "https://evil-shop.example",
            "https://www.shop.example",
            "http://localhost",
            "null",
            "",
        ] {
            assert!(!origins.allow(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_wildcard_takes_every_host_below_and_not_the_parent() {
        let origins = origins(&["https://*.example.com"]);
        assert!(origins.allow("https://a.example.com"));
        assert!(origins.allow("https://a.b.example.com"));
        for foreign in [
            "https://example.com",
            "https://.example.com",
            "https://evilexample.com",
            "https://a.example.com:8443",
            "http://a.example.com",
            "https://evil.example/.example.com",
            "https://evil@a.example.com",
            "https://a.example.com.evil.example",
        ] {
            assert!(!origins.allow(foreign), "{foreign}");
        }
    }

    #[test]
    fn no_list_takes_all() {
        assert!(Origins::any().allow("https://anything.example"));
    }

    #[test]
    fn what_is_no_origin_is_refused_by_name() {
        for text in [
            "example.com",
            "https://",
            "https://example.com/page",
            "https://*",
            "https://a.*.example.com",
            "*",
            "https://user@example.com",
            "https://example.com:99999",
            "https://example.com:",
            "http://[h::0t]",
            "http://127.0.0.256",
            "https://*.127.0.0.1",
            "https://*.[::1]",
        ] {
            let refused = text.parse::<OriginPattern>();
            assert_eq!(refused, Err(InvalidOrigin(text.into())), "{text}");
        }
    }
}
