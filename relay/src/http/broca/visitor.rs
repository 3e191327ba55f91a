//! What a visitor's page does, by its session's id alone.

use axum::extract::State;
use axum::response::Response;
use postern_shared::visitor::Role;
use postern_shared::{Cursor, MessageId, SessionId, Timestamp, Uid};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::{ResponseRow, ok};
use super::caller::Visitor;
use super::moment::{self, Moment};
use super::poller::{limit, sent_at};
use crate::client_address::ClientAddress;
use crate::http::App;
use crate::http::entries::fitting;
use crate::http::error::ApiError;
use crate::http::extract::{JsonBody, Query};
use crate::http::limits::{allowance, needs_proof, refusal};
use crate::http::visitor::{RESPONSES_LIMIT, check_message, fresh_session};
use crate::store::{Entry, FreshSession, IdempotencyKey, NewMessage, SessionKey, StoreError};

/// What a page shows of a conversation unless it asks for more.
const HISTORY_LIMIT: u32 = 6;

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    session_id: String,
    message: String,
    #[serde(default)]
    timestamp: Option<Value>,
    #[serde(default)]
    metadata: Option<Value>,
}

/// The answer to a message that was stored.
#[derive(Serialize)]
struct MessageStored {
    message_id: MessageId,
    session_id: SessionId,
    timestamp: Moment,
    uid: Uid,
    is_new_user: bool,
}

/// `POST ?action=messages`
pub(super) async fn post_message(
    State(app): State<App>,
    client: ClientAddress,
    caller: Visitor,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let body: Message = body.read(app.limits.max_body_bytes).await?;
    check_message(&body.message, false, app.limits.max_message_chars)?;
    let (session, own) = caller.session(&body.session_id)?;
    let fresh = FreshSession { token: own, ..fresh_session(&caller.site.site.id, "") };
    let identity = caller.site.site.identify(None)?;
    let needs_proof = needs_proof(&caller.site, &identity, None, None);
    let message = NewMessage {
        site: caller.site.key,
        session: Some(session),
        token: None,
        identity,
        idempotency: repeat_key(&body),
        sent_at: sent_at(body.timestamp.as_ref()),
        text: body.message,
        files: Vec::new(),
        metadata: body.metadata.and_then(|metadata| serde_json::from_value(metadata).ok()),
        ip_address: Some(client.ip()),
        allowance: allowance(&app, &caller.site, client, needs_proof),
    };
    let now = app.clock.now();
    let accepted = app.store.accept_by_id(message, fresh, now).await;
    let accepted = accepted.map_err(|error| refusal(&app, &caller.site, error, None, now))?;
    app.metrics.messages.inc();
    let stored = MessageStored {
        message_id: accepted.message,
        session_id: accepted.session,
        timestamp: Moment(Timestamp::now()),
        uid: accepted.uid,
        is_new_user: accepted.new_visitor,
    };
    Ok(ok("Message received", stored))
}

/// Such pages know no keys: what says the same of the same moment in one session is a repeat.
fn repeat_key(body: &Message) -> Option<IdempotencyKey> {
    let written = body.timestamp.as_ref()?.as_str()?;
    let key = format!("{}\n{written}\n{}", body.session_id, body.message);
    Some(IdempotencyKey::of_visitor(&key))
}

/// The query of [`list_responses`].
#[derive(Deserialize)]
pub(super) struct ResponsesQuery {
    #[serde(default)]
    session_id: String,
    #[serde(default)]
    since: String,
}

/// The answer of [`list_responses`].
#[derive(Serialize)]
struct Responses {
    session_id: SessionId,
    responses: Vec<ResponseRow>,
}

/// `GET ?action=responses`
pub(super) async fn list_responses(
    State(app): State<App>,
    caller: Visitor,
    Query(query): Query<ResponsesQuery>,
) -> Result<Response, ApiError> {
    let (id, own) = caller.session(&query.session_id)?;
    let since = since(&query.since)?;
    // A page asks before its visitor has said anything.
    let found = match app.store.find_by_id(id.clone(), own).await? {
        None => Vec::new(),
        Some(session) => replies(&app, session, since).await?,
    };
    let responses = found.into_iter().map(|entry| ResponseRow::new(id.clone(), entry)).collect();
    Ok(ok("Responses retrieved successfully", Responses { session_id: id, responses }))
}

/// A moment, if one is said; what a script has for none counts as none.
fn since(text: &str) -> Result<Option<Timestamp>, ApiError> {
    match text.trim() {
        "" | "null" | "undefined" => Ok(None),
        text => moment::read(text)
            .map(Some)
            .ok_or_else(|| ApiError::field("since", "must be a moment in ISO 8601")),
    }
}

/// The replies since a moment, oldest first; without one, the newest.
async fn replies(
    app: &App,
    session: SessionKey,
    since: Option<Timestamp>,
) -> Result<Vec<Entry>, StoreError> {
    let replies = match since {
        None => newest(app, session, RESPONSES_LIMIT).await?,
        Some(since) => {
            let given = app.given.up_to(session);
            let place = app.store.place_since(session, since, given, app.clock.now()).await?;
            let mut found = app.store.entries_after(session, place, true, RESPONSES_LIMIT).await?;
            found.truncate(fitting(found.iter()));
            found
        }
    };
    let replies: Vec<_> = replies.into_iter().filter(|entry| entry.role != Role::Visitor).collect();
    if let Some(last) = replies.last() {
        app.given.note(session, Cursor::after(last.id));
    }
    Ok(replies)
}

/// The newest entries that fit into one answer, oldest first.
async fn newest(app: &App, session: SessionKey, limit: u32) -> Result<Vec<Entry>, StoreError> {
    let mut entries = app.store.transcript(session, None, limit).await?.entries;
    let cut = entries.len().saturating_sub(fitting(entries.iter().rev()));
    Ok(entries.split_off(cut))
}

/// The query of [`show_history`].
#[derive(Deserialize)]
pub(super) struct HistoryQuery {
    #[serde(default)]
    session_id: String,
    limit: Option<i64>,
}

/// The answer of [`show_history`].
#[derive(Serialize)]
struct History {
    session_id: SessionId,
    items: Vec<Item>,
    latest_response_at: Option<Moment>,
}

#[derive(Serialize)]
struct Item {
    id: MessageId,
    role: &'static str,
    text: String,
    timestamp: Moment,
}

/// `GET ?action=history`
pub(super) async fn show_history(
    State(app): State<App>,
    caller: Visitor,
    Query(query): Query<HistoryQuery>,
) -> Result<Response, ApiError> {
    let (session_id, own) = caller.session(&query.session_id)?;
    let entries = match app.store.find_by_id(session_id.clone(), own).await? {
        None => Vec::new(),
        Some(session) => newest(&app, session, limit(query.limit, HISTORY_LIMIT)).await?,
    };
    let latest = entries.iter().rev().find(|entry| entry.role != Role::Visitor);
    let latest_response_at = latest.map(|entry| Moment::of(entry.id, entry.timestamp));
    let items = entries.into_iter().map(item).collect();
    Ok(ok("History retrieved successfully", History { session_id, items, latest_response_at }))
}

fn item(entry: Entry) -> Item {
    let role = if entry.role == Role::Visitor { "user" } else { "assistant" };
    let timestamp = Moment::of(entry.id, entry.timestamp);
    Item { id: entry.id, role, text: entry.text, timestamp }
}
