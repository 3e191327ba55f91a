//! The operator's calls.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use postern_shared::Timestamp;
use postern_shared::operator::{
    DeadLetters, Dropped, Health, Requeued, Session, SessionDetail, Sessions,
};
use serde::Deserialize;

use super::App;
use super::error::ApiError;
use super::extract::{MessagePath, OperatorCaller, Query, SessionPath};
use super::poller::{page, pagination};
use super::reply::ok;
use crate::store::SessionRow;

/// A session counts as active this long after the last thing said in it.
pub(super) const ACTIVE_FOR: Duration = Duration::from_secs(30 * 60);

/// The query of [`list_sessions`], [`show_session`] and [`list_dead_letters`].
#[derive(Deserialize)]
pub(super) struct PageQuery {
    limit: Option<u32>,
    #[serde(default)]
    offset: u32,
    #[serde(default)]
    active: bool,
}

/// `GET /sessions`
pub(super) async fn list_sessions(
    State(app): State<App>,
    _: OperatorCaller,
    Query(query): Query<PageQuery>,
) -> Result<Response, ApiError> {
    let page = page(query.limit, query.offset)?;
    let active_since = query.active.then(|| Timestamp::now() - ACTIVE_FOR);
    let found = app.store.sessions(active_since, page).await?;
    let pagination = pagination(page, &found);
    let sessions = found.rows.into_iter().map(session).collect();
    Ok(ok("Sessions", Sessions { sessions, pagination }))
}

/// `GET /sessions/{session_id}`
pub(super) async fn show_session(
    State(app): State<App>,
    _: OperatorCaller,
    SessionPath(id): SessionPath,
    Query(query): Query<PageQuery>,
) -> Result<Response, ApiError> {
    let page = page(query.limit, query.offset)?;
    let (row, entries) = app.store.session_detail(id, page).await?;
    let pagination = pagination(page, &entries);
    let detail = SessionDetail { session: session(row), messages: entries.rows, pagination };
    Ok(ok("Session", detail))
}

fn session(row: SessionRow) -> Session {
    Session {
        id: row.id,
        site: row.site,
        uid: row.uid,
        visitor: row.visitor,
        created_at: row.created_at,
        last_active: row.last_active,
        message_count: row.message_count,
        response_count: row.response_count,
        ratings: row.ratings,
        ip_address: row.ip_address,
        metadata: row.metadata,
    }
}

/// `GET /deadletters`
pub(super) async fn list_dead_letters(
    State(app): State<App>,
    _: OperatorCaller,
    Query(query): Query<PageQuery>,
) -> Result<Response, ApiError> {
    let page = page(query.limit, query.offset)?;
    let found = app.store.dead_letters(page).await?;
    let pagination = pagination(page, &found);
    Ok(ok("Dead letters", DeadLetters { dead_letters: found.rows, pagination }))
}

/// `GET /deadletters/{message_id}`
pub(super) async fn show_dead_letter(
    State(app): State<App>,
    _: OperatorCaller,
    MessagePath(message_id): MessagePath,
) -> Result<Response, ApiError> {
    Ok(ok("Dead letter", app.store.dead_letter(message_id).await?))
}

/// `POST /deadletters/{message_id}/requeue`
pub(super) async fn requeue_dead_letter(
    State(app): State<App>,
    _: OperatorCaller,
    MessagePath(message_id): MessagePath,
) -> Result<Response, ApiError> {
    app.store.requeue(message_id).await?;
    Ok(ok("Dead letter requeued", Requeued { message_id }))
}

/// `DELETE /deadletters/{message_id}`
pub(super) async fn drop_dead_letter(
    State(app): State<App>,
    _: OperatorCaller,
    MessagePath(message_id): MessagePath,
) -> Result<Response, ApiError> {
    app.store.drop_dead_letter(message_id).await?;
    Ok(ok("Dead letter dropped", Dropped { message_id }))
}

/// `GET /health`
pub(super) async fn show_health(State(app): State<App>) -> Result<Response, ApiError> {
    app.health.check(&app.store, app.clock).await?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Ok(ok("The relay can store messages", Health { version, store_writable: true }))
}

/// `GET /metrics`
pub(super) async fn show_metrics(
    State(app): State<App>,
    _: OperatorCaller,
) -> Result<Response, ApiError> {
    let inbox = app.store.inbox().await?;
    let text = app.metrics.render(inbox, app.clock.now());
    let open_metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let content_type = HeaderValue::from_static(open_metrics);
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}
