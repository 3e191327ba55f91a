//! The HTTP side as one service: around its routes, each call gets a name, is watched over and counted,
//! and is answered with the headers of every answer.
//!
//! A layer of a route costs each call a few allocations and a clone of all that lies within it; a
//! service around the routes costs one allocation.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tower::ServiceExt;
use tower_http::request_id::{MakeRequestId, MakeRequestUuid};

use super::error::ApiError;
use super::guard::guard;
use super::{App, routes};
use crate::call;
use crate::connections::Answer;
use crate::limits::Limit;
use crate::metrics::{Metrics, RequestLabels};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest name that a caller may give its request, in characters.
const MAX_REQUEST_ID: usize = 64;

/// Everything that can be asked for, and what surrounds it.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    app: App,
    routes: Router,
    by_tls: bool,
}

impl Calls {
    pub(crate) fn new(app: App, by_tls: bool) -> Self {
        Self { routes: routes(&app), app, by_tls }
    }
}

impl Answer for Calls {
    fn answer(
        &self,
        peer: SocketAddr,
        mut request: Request,
    ) -> impl Future<Output = Response> + Send + use<> {
        let client = self.app.proxies.client(peer.ip(), request.headers());
        request.extensions_mut().insert(client);
        let id = request_id(&request);
        // Any word can be sent as a method; a stranger must not be able to make new series.
        let method = known_method(request.method());
        let is_chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
        let answered = AssertUnwindSafe(self.routes.clone().oneshot(request)).catch_unwind();
        let (app, by_tls) = (self.app.clone(), self.by_tls);
        // Not an async block: it would have room for the whole request beside whatever answers it.
        let answered = answered.map(move |answered| {
            let mut response = match answered {
                Ok(Ok(response)) => response,
                Err(_) => ApiError::Panicked.into_response(),
            };
            let (id, route) = call::end();
            count(&app.metrics, method, route.as_ref(), &response);
            let headers = response.headers_mut();
            headers.extend(id.map(|id| (REQUEST_ID, id)));
            guard(headers, by_tls);
            if is_chunked {
                forbid_reuse(headers);
            }
            response
        });
        call::named(id, answered)
    }
}

/// A caller may name its request, in characters that are safe in a log line.
fn request_id(request: &Request) -> Option<HeaderValue> {
    let is_safe = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        let is_safe = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        (1..=MAX_REQUEST_ID).contains(&bytes.len()) && bytes.iter().all(is_safe)
    };
    let given = request.headers().get(REQUEST_ID).filter(is_safe).cloned();
    let made = || MakeRequestUuid.make_request_id(request).map(|id| id.into_header_value());
    given.or_else(made)
}

fn count(
    metrics: &Metrics,
    method: &'static str,
    route: Option<&MatchedPath>,
    response: &Response,
) {
    let route = route.map_or("unmatched", MatchedPath::as_str).into();
    let labels = RequestLabels { method, route, status: response.status().as_u16() };
    metrics.requests.get_or_create(&labels).inc();
    if let Some(limit) = response.extensions().get::<Limit>() {
        metrics.limits_reached.get_or_create(&(*limit).into()).inc();
    }
}

/// A proxy that went by a Content-Length beside `Transfer-Encoding` would take the rest for another
/// request; hyper drops that header unseen (RFC 9112, 6.3).
fn forbid_reuse(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
}

fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
