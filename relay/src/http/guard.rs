//! Headers that every answer carries, and what a browser is to make of it: data, for whoever asked.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

/// A year, in which a browser comes by TLS only.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// What an answer says of itself unless its handler says otherwise.
const UNLESS_SET: [(HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
];

/// Adds the headers; on TLS, also what keeps a browser from coming without it.
pub(super) fn guard(headers: &mut HeaderMap, by_tls: bool) {
    headers.reserve(UNLESS_SET.len() + usize::from(by_tls));
    for (name, value) in UNLESS_SET {
        headers.entry(name).or_insert(value);
    }
    if by_tls {
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(HSTS);
    }
}
