//! How many calls of one client are under way at once, whatever connections they came on.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::App;
use super::error::ApiError;
use crate::client_address::ClientAddress;
use crate::connections::until_sent;

/// Refuses a call while its client has too many under way; each may hold an answer in memory.
pub(super) async fn refuse_crowds(
    State(app): State<App>,
    client: ClientAddress,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let network = app.proxies.network(client);
    let place = app.calls.enter(network).ok_or(ApiError::Crowded)?;
    Ok(until_sent(next.run(request).await, place))
}
