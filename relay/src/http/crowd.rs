//! How many calls of one client are under way at once, whatever connections they came on.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::App;
use super::error::ApiError;
use crate::client_address::ClientAddress;
use crate::connections::{Place, until_sent};

/// Refuses a call while its client has too many under way.
pub(super) async fn refuse_crowds(
    State(app): State<App>,
    client: ClientAddress,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let place = enter(&app, client)?;
    Ok(until_sent(next.run(request).await, place))
}

/// A place for a call under way, which may hold an answer in memory.
pub(super) fn enter(app: &App, client: ClientAddress) -> Result<Place, ApiError> {
    app.calls.enter(app.proxies.network(client)).ok_or(ApiError::Crowded)
}
