//! Limits where calls come in: who asks, and what it is told.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use postern_shared::proof::Proof;
use tracing::warn;

use super::App;
use super::error::ApiError;
use super::extract::shown_key;
use crate::client_address::ClientAddress;
use crate::limits::{Allowance, CountedStream, DAY, Exceeded, Limit};
use crate::sites::ServedSite;
use crate::store::{Identity, Now, SessionKey, StoreError};

/// Refuses a visitor's call when its address makes too many. A poller, which comes here with files,
/// shows its key and is let through.
pub(super) fn take_call(
    app: &App,
    client: ClientAddress,
    request: &Request,
) -> Result<(), ApiError> {
    if let Some(network) = app.proxies.network(client)
        && let Err(exceeded) = app.addresses.take_call(network)
        && !matches!(shown_key(app, request.headers()), Ok(Some(_)))
    {
        return Err(exceeded.into());
    }
    Ok(())
}

/// Counts keys and tokens that open nothing. A good one is never refused for the bad ones of others
/// behind the same address: it is too long to be guessed, and what is kept off is the work and the log.
pub(super) fn take_failure(
    app: &App,
    client: ClientAddress,
    response: &Response,
) -> Result<(), ApiError> {
    if response.status() == StatusCode::UNAUTHORIZED
        && let Some(network) = app.proxies.network(client)
    {
        app.addresses.take_failure(network)?;
    }
    Ok(())
}

/// What a visitor of a site may still ask for.
pub(super) fn allowance(
    app: &App,
    site: &ServedSite,
    client: ClientAddress,
    needs_proof: bool,
) -> Allowance {
    let allowance = Allowance::of_site(site.site.limits).needing_proof(needs_proof);
    match app.proxies.network(client) {
        Some(network) => allowance.and_of_address(Arc::clone(&app.addresses), network),
        None => allowance,
    }
}

/// Whether a call has yet to show the work that its site asks of whoever nobody vouches for.
pub(super) fn needs_proof(
    site: &ServedSite,
    identity: &Identity,
    proof: Option<&Proof>,
    idempotency_key: Option<&str>,
) -> bool {
    let is_asked = site.site.limits.proof_of_work > 0 && identity.verified.is_none();
    is_asked
        && !proof.zip(idempotency_key).is_some_and(|(proof, key)| site.proofs.holds(proof, key))
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

/// A refusal as the visitor is told it: with what is to be computed first, or in the site's own words.
pub(super) fn refusal(
    app: &App,
    site: &ServedSite,
    error: StoreError,
    idempotency_key: Option<&str>,
    now: Now,
) -> ApiError {
    match error {
        StoreError::Exceeded(exceeded) if exceeded.limit == Limit::SiteDailyBudget => {
            budget_spent(app, site, exceeded, now)
        }
        StoreError::ProofRequired => ask_for_proof(site, idempotency_key),
        error => error.into(),
    }
}

fn ask_for_proof(site: &ServedSite, idempotency_key: Option<&str>) -> ApiError {
    match idempotency_key {
        Some(key) => {
            ApiError::ProofRequired(site.proofs.challenge(key, site.site.limits.proof_of_work))
        }
        None => ApiError::field("Idempotency-Key", "must be there to open a session of this site"),
    }
}

/// Tells the visitor in the site's words, and the operator once a day.
fn budget_spent(app: &App, site: &ServedSite, exceeded: Exceeded, now: Now) -> ApiError {
    let today = now.wall_ms / i64::try_from(DAY.as_millis()).unwrap_or(i64::MAX);
    if site.told_of_budget.swap(today, Ordering::Relaxed) != today {
        let id = &site.site.id;
        warn!(site.id = %id, messages = exceeded.quota, "the site's budget of the day is spent");
        app.metrics.budgets_spent(id).inc();
    }
    ApiError::BudgetSpent(exceeded, site.site.texts.budget_spent.clone())
}
