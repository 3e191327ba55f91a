//! The HTTP side as one service: around its routes, each call gets a name, is watched over and counted,
//! and is answered with the headers of every answer.
//!
//! A layer of a route costs each call a few allocations and a clone of all that lies within it; a
//! service around the routes costs one allocation.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Router};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tower::{Service, ServiceExt};
use tower_http::request_id::{MakeRequestId, MakeRequestUuid};
use tracing::{Instrument, info_span};

use super::error::ApiError;
use super::guard::guard;
use super::{App, routes};
use crate::connections::{Counting, Holding, Requests, UnderWay, until_sent};
use crate::limits::Limit;
use crate::metrics::{Metrics, RequestLabels};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest name that a caller may give its request, in characters.
const MAX_REQUEST_ID: usize = 64;

/// The calls that come on one connection.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    app: App,
    routes: Router,
    by_tls: bool,
    peer: IpAddr,
    requests: Requests,
}

impl Calls {
    /// Those of nobody in particular.
    pub(crate) fn new(app: App, by_tls: bool) -> Self {
        let (routes, peer) = (routes(&app), Ipv6Addr::UNSPECIFIED.into());
        Self { app, routes, by_tls, peer, requests: Requests::default() }
    }

    /// Those of a new connection with this other end.
    pub(crate) fn of(&self, peer: SocketAddr) -> Self {
        Self { peer: peer.ip(), requests: Requests::default(), ..self.clone() }
    }
}

impl Counting for Calls {
    fn requests(&self) -> &Requests {
        &self.requests
    }
}

impl<B> Service<Request<B>> for Calls
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Holding<UnderWay>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let under_way = self.requests.begin();
        let answer = answer(self.clone(), request.map(Body::new));
        Box::pin(answer.map(|answer| Ok(until_sent(answer, under_way))))
    }
}

async fn answer(calls: Calls, mut request: Request) -> Response {
    let Calls { app, routes, by_tls, peer, .. } = calls;
    let client = app.proxies.client(peer, request.headers());
    request.extensions_mut().insert(client);
    let id = request_id(&request);
    // Any word can be sent as a method; a stranger must not be able to make new series.
    let method = known_method(request.method());
    let is_chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let span = info_span!("request", id = id.as_ref().and_then(|id| id.to_str().ok()));
    let answered = AssertUnwindSafe(routes.oneshot(request)).catch_unwind().instrument(span).await;
    let mut response =
        answered.map_or_else(|_| ApiError::Panicked.into_response(), |Ok(response)| response);
    count(&app.metrics, method, &response);
    let headers = response.headers_mut();
    headers.extend(id.map(|id| (REQUEST_ID, id)));
    guard(headers, by_tls);
    if is_chunked {
        forbid_reuse(headers);
    }
    response
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

fn count(metrics: &Metrics, method: &'static str, response: &Response) {
    let route = response.extensions().get::<MatchedPath>();
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
