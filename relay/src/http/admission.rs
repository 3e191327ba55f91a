//! What a visitor's call passes before it is looked at.
//!
//! All of it is one layer: a layer of a route is cloned for each call, with all that lies within it.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::App;
use super::cors::check_origin;
use super::crowd::enter;
use super::error::ApiError;
use super::limits::{take_call, take_failure};
use crate::client_address::ClientAddress;
use crate::connections::until_sent;

/// Lets a call in that comes from one of its site's pages, and whose client has not too many under way
/// nor made too many.
pub(super) async fn admit(
    State(app): State<App>,
    client: ClientAddress,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let place = enter(&app, client)?;
    check_origin(&app, &request)?;
    take_call(&app, client, &request)?;
    let response = next.run(request).await;
    take_failure(&app, client, &response)?;
    Ok(until_sent(response, place))
}
