//! Limits where calls come in: who asks, and what it is told.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use tracing::warn;

use super::App;
use super::error::ApiError;
use super::extract::shows_key;
use crate::client_address::ClientAddress;
use crate::limits::{Allowance, CountedStream, DAY, Exceeded, Limit};
use crate::sites::ServedSite;
use crate::store::{Now, SessionKey, StoreError};

/// Refuses a visitor's call when its address makes too many. A poller, which comes here with files,
/// shows its key and is let through.
pub(super) async fn limit_calls(
    State(app): State<App>,
    client: ClientAddress,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if let Some(network) = app.proxies.network(client)
        && let Err(exceeded) = app.addresses.take_call(network)
        && !shows_key(&app, request.headers())
    {
        return Err(exceeded.into());
    }
    Ok(next.run(request).await)
}

/// Counts keys and tokens that open nothing. A good one is never refused for the bad ones of others
/// behind the same address: it is too long to be guessed, and what is kept off is the work and the log.
pub(super) async fn limit_failures(
    State(app): State<App>,
    client: ClientAddress,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let response = next.run(request).await;
    if response.status() == StatusCode::UNAUTHORIZED
        && let Some(network) = app.proxies.network(client)
    {
        app.addresses.take_failure(network)?;
    }
    Ok(response)
}

/// What a visitor of a site may still ask for.
pub(super) fn allowance(app: &App, site: &ServedSite, client: ClientAddress) -> Allowance {
    let allowance = Allowance::of_site(site.site.limits);
    match app.proxies.network(client) {
        Some(network) => allowance.and_of_address(Arc::clone(&app.addresses), network),
        None => allowance,
    }
}

/// A place for an event stream or a held call.
pub(super) fn open_stream(
    app: &App,
    site: &ServedSite,
    session: SessionKey,
    client: ClientAddress,
) -> Result<CountedStream, ApiError> {
    let of_session = (session, site.site.limits.session_streams);
    let of_address = (app.proxies.network(client), app.address_limits.address_streams);
    Ok(app.streams.open(of_session, of_address)?)
}

/// A refusal as the visitor is told it: in the site's own words when its budget is spent. Then the
/// operator is told too, once a day.
pub(super) fn refusal(app: &App, site: &ServedSite, error: StoreError, now: Now) -> ApiError {
    let StoreError::Exceeded(exceeded @ Exceeded { limit: Limit::SiteDailyBudget, .. }) = error
    else {
        return error.into();
    };
    let today = now.wall_ms / i64::try_from(DAY.as_millis()).unwrap_or(i64::MAX);
    if site.told_of_budget.swap(today, Ordering::Relaxed) != today {
        let id = &site.site.id;
        warn!(site.id = %id, messages = exceeded.quota, "the site's budget of the day is spent");
        app.metrics.budgets_spent(id).inc();
    }
    ApiError::BudgetSpent(exceeded, site.site.texts.budget_spent.clone())
}
