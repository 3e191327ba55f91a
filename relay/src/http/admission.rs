//! What a call passes before it is looked at, by who makes it: one layer for each kind of caller, since
//! every layer of a route costs each of its calls. Each tells by the way which route was taken.

use std::convert::Infallible;
use std::future;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryFutureExt};
use tower::Service;

use super::App;
use super::cors::check_origin;
use super::error::ApiError;
use super::extract::{UNKNOWN_KEY, shown_key};
use super::limits::{take_call, take_failure};
use crate::call;
use crate::client_address::ClientAddress;
use crate::connections::{Place, until_sent};
use crate::store::StoreError;

/// Lets anybody in.
pub(super) async fn admit(route: Option<MatchedPath>, request: Request, next: Next) -> Response {
    call::note_route(route);
    next.run(request).await
}

/// Lets in what a client fetches that has not too many calls under way.
pub(super) async fn admit_client(
    State(app): State<App>,
    route: Option<MatchedPath>,
    client: ClientAddress,
    request: Request,
    next: Next,
) -> Response {
    call::note_route(route);
    match enter(&app, client) {
        Ok(place) => until_sent(next.run(request).await, place).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

/// Lets in a visitor's call that comes from one of its site's pages, and whose client has not too many
/// under way nor made too many.
///
/// A service of its own: a function as a layer costs its calls four allocations more.
#[derive(Clone)]
pub(super) struct AdmitVisitor<S> {
    pub(super) app: App,
    pub(super) inner: S,
}

impl<S> Service<Request> for AdmitVisitor<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (app, client) = (self.app.clone(), ClientAddress::of(request.extensions()));
        call::note_route(request.extensions().get().cloned());
        let place = match check_visitor(&app, client, &request) {
            Ok(place) => place,
            Err(refusal) => return future::ready(Ok(refusal.into_response())).boxed(),
        };
        let answer = move |response| {
            let refused = take_failure(&app, client, &response);
            refused.map(|()| until_sent(response, place)).into_response()
        };
        self.inner.call(request).map_ok(answer).boxed()
    }
}

fn check_visitor(app: &App, client: ClientAddress, request: &Request) -> Result<Place, ApiError> {
    // What cannot be stored is refused before any work is done for it.
    if request.method() == Method::POST && app.store.is_crowded() {
        return Err(StoreError::Overloaded.into());
    }
    let place = enter(app, client)?;
    check_origin(app, request)?;
    take_call(app, client, request)?;
    Ok(place)
}

/// Finds whose key was shown, for the extractors, and ends the call when the key is revoked. Keys that
/// open nothing are counted.
pub(super) async fn admit_key(
    State(app): State<App>,
    route: Option<MatchedPath>,
    client: ClientAddress,
    mut request: Request,
    next: Next,
) -> Response {
    call::note_route(route);
    let admitted = async {
        let key = shown_key(&app, request.headers())?;
        let Some(key) = key else { return Ok(next.run(request).await) };
        request.extensions_mut().insert(Arc::clone(&key));
        tokio::select! {
            response = next.run(request) => Ok(response),
            () = key.ended() => Err(UNKNOWN_KEY),
        }
    };
    let response = admitted.await.into_response();
    take_failure(&app, client, &response).map(|()| response).into_response()
}

/// A place for a call under way, which may hold an answer in memory.
fn enter(app: &App, client: ClientAddress) -> Result<Place, ApiError> {
    app.calls.enter(app.proxies.network(client)).ok_or(ApiError::Crowded)
}
