//! What an operator's program does.

use axum::extract::State;
use axum::response::Response;
use postern_shared::poller::Pagination;
use postern_shared::visitor::Role;
use postern_shared::{Metadata, SessionId, Timestamp, Uid};
use serde::{Deserialize, Serialize};

use super::answer::{MessageRow, ResponseRow, ok};
use super::moment::Moment;
use super::poller::limit;
use crate::http::App;
use crate::http::error::ApiError;
use crate::http::extract::{OperatorCaller, Query};
use crate::http::operator::ACTIVE_FOR;
use crate::http::poller::pagination;
use crate::store::{Page, SessionRow};

/// How many sessions a page has unless it asks for others.
const SESSIONS_LIMIT: u32 = 50;

/// How many entries of a session are shown.
const ENTRIES_LIMIT: u32 = 1_000;

/// The query of [`list_sessions`].
#[derive(Deserialize)]
pub(super) struct SessionsQuery {
    limit: Option<i64>,
    #[serde(default)]
    offset: u64,
    active: Option<String>,
}

#[derive(Serialize)]
struct Sessions {
    sessions: Vec<Session>,
    pagination: Pagination,
}

#[derive(Serialize)]
struct Session {
    id: SessionId,
    uid: Uid,
    created_at: Moment,
    last_active: Moment,
    ip_address: Option<String>,
    metadata: Metadata,
    message_count: u64,
    response_count: u64,
}

/// `GET ?action=sessions`; those that are active, unless `active` says otherwise.
pub(super) async fn list_sessions(
    State(app): State<App>,
    _: OperatorCaller,
    Query(query): Query<SessionsQuery>,
) -> Result<Response, ApiError> {
    let page = Page { limit: limit(query.limit, SESSIONS_LIMIT), offset: query.offset };
    let is_active = query.active.is_none_or(|active| active == "true");
    let active_since = is_active.then(|| Timestamp::now() - ACTIVE_FOR);
    let found = app.store.sessions(active_since, page).await?;
    let pagination = pagination(page, &found);
    let sessions = found.rows.into_iter().map(session).collect();
    Ok(ok("Sessions retrieved successfully", Sessions { sessions, pagination }))
}

fn session(row: SessionRow) -> Session {
    Session {
        id: row.id,
        uid: row.uid,
        created_at: Moment(row.created_at),
        last_active: Moment(row.last_active),
        ip_address: row.ip_address,
        metadata: row.metadata,
        message_count: row.message_count,
        response_count: row.response_count,
    }
}

/// The query of [`show_session`].
#[derive(Deserialize)]
pub(super) struct SessionQuery {
    session_id: SessionId,
    #[serde(default)]
    offset: u64,
}

#[derive(Serialize)]
struct SessionMessages {
    session: Session,
    messages: Vec<MessageRow>,
    responses: Vec<ResponseRow>,
}

/// `GET ?action=session_messages`
pub(super) async fn show_session(
    State(app): State<App>,
    _: OperatorCaller,
    Query(query): Query<SessionQuery>,
) -> Result<Response, ApiError> {
    let page = Page { limit: ENTRIES_LIMIT, offset: query.offset };
    let (row, entries) = app.store.session_detail(query.session_id, page).await?;
    let (said, told): (Vec<_>, Vec<_>) =
        entries.rows.into_iter().partition(|entry| entry.role == Role::Visitor);
    let id = row.id.clone();
    let detail = SessionMessages {
        session: session(row),
        messages: said.into_iter().map(|entry| MessageRow::new(id.clone(), entry)).collect(),
        responses: told.into_iter().map(|entry| ResponseRow::new(id.clone(), entry)).collect(),
    };
    Ok(ok("Session messages retrieved", detail))
}

#[derive(Serialize)]
struct CleanedUp {
    cleaned_count: u64,
    message: &'static str,
}

/// `POST ?action=cleanup`: nothing is forgotten for having rested, so there is nothing to do.
pub(super) async fn clean_up(_: OperatorCaller) -> Response {
    let message = "Cleaned up 0 inactive sessions: this relay keeps them";
    ok("Cleanup completed successfully", CleanedUp { cleaned_count: 0, message })
}
