//! Headers that every answer carries, and what a browser is to make of it: data, for whoever asked.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

/// A year, in which a browser comes by TLS only.
const HSTS: &str = "max-age=31536000";

/// What an answer says of itself unless its handler says otherwise.
const UNLESS_SET: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::CACHE_CONTROL, "no-store"),
    (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
];

/// Adds the headers.
pub(crate) async fn guard(request: Request, next: Next) -> Response {
    let is_chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    for (name, value) in UNLESS_SET {
        set_unless_set(headers, name, value);
    }
    if is_chunked {
        // A proxy that went by a Content-Length beside it would take the rest for another request;
        // hyper drops that header unseen (RFC 9112, 6.3).
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// Adds `Strict-Transport-Security`.
pub(crate) async fn insist_on_tls(request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    set_unless_set(answer.headers_mut(), header::STRICT_TRANSPORT_SECURITY, HSTS);
    answer
}

fn set_unless_set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.entry(name).or_insert(HeaderValue::from_static(value));
}
