//! What a program does that fetches messages and posts replies.

use axum::extract::State;
use axum::response::Response;
use postern_host::fault;
use postern_shared::poller::Pagination;
use postern_shared::{MessageId, SessionId, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::answer::{Inbox, ok};
use super::caller::Poller;
use super::moment::{self, Moment};
use crate::http::App;
use crate::http::error::ApiError;
use crate::http::extract::{JsonBody, Query};
use crate::http::poller::{check_reply, pagination, reply_body_limit};
use crate::store::{Due, NewReply, OpenMessage, Page};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 100;

/// The query of [`fetch_messages`]. Its `since` is not looked at: whatever waits has no answer yet.
#[derive(Deserialize)]
pub(super) struct InboxQuery {
    limit: Option<i64>,
    #[serde(default)]
    offset: u64,
}

/// `GET ?action=inbox`
pub(super) async fn fetch_messages(
    State(app): State<App>,
    caller: Poller,
    Query(query): Query<InboxQuery>,
) -> Result<Response, ApiError> {
    let page = Page { limit: limit(query.limit, DEFAULT_LIMIT), offset: query.offset };
    let due = Due { site: caller.site.key, max_attempts: app.limits.max_attempts };
    let now = app.clock.now();
    app.metrics.last_poll.set(now.wall_ms / 1_000);
    if page.limit == 1 {
        // Such programs fetch one to see whether they are let in, and throw it away.
        let found = app.store.waiting(due, page, now).await?;
        return Ok(inbox(pagination(page, &found), found.rows));
    }
    let batch = app.store.lease_batch(due, page.limit, caller.compat.lease, now).await?;
    fault::point("relay: lease stored, answer not sent");
    // What earlier pages gave does not wait any more, so the offset is behind us already.
    let pagination = Pagination {
        total: page.offset.saturating_add(batch.total),
        limit: page.limit,
        offset: page.offset,
        has_more: batch.total > batch.rows.len() as u64,
    };
    Ok(inbox(pagination, batch.rows))
}

fn inbox(pagination: Pagination, rows: Vec<OpenMessage>) -> Response {
    let messages = rows.into_iter().map(Into::into).collect();
    ok("Messages retrieved successfully", Inbox { messages, pagination })
}

/// The nearest limit to what was asked for.
pub(super) fn limit(asked: Option<i64>, default: u32) -> u32 {
    let asked = asked.unwrap_or(default.into()).clamp(1, MAX_LIMIT.into());
    u32::try_from(asked).unwrap_or(default)
}

#[derive(Deserialize)]
struct Outbox {
    session_id: SessionId,
    response: String,
    #[serde(default, deserialize_with = "message_id")]
    message_id: Option<MessageId>,
    #[serde(default)]
    timestamp: Option<Value>,
}

/// A number, as it is or as text; what is none names no message.
fn message_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<MessageId>, D::Error> {
    let id = match Value::deserialize(deserializer)? {
        Value::Number(id) => id.as_i64(),
        Value::String(id) => id.parse().ok(),
        _ => None,
    };
    Ok(id.filter(|id| *id > 0).map(MessageId))
}

/// The answer to a reply that was stored.
#[derive(Serialize)]
struct ReplyStored {
    response_id: MessageId,
    session_id: SessionId,
    timestamp: Moment,
}

/// `POST ?action=outbox`
pub(super) async fn post_reply(
    State(app): State<App>,
    caller: Poller,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let body: Outbox = body.read(reply_body_limit(app.limits.max_reply_bytes)).await?;
    check_reply(&body.response, false, app.limits.max_reply_bytes)?;
    let session_id = body.session_id.clone();
    let reply = NewReply {
        site: caller.site.key,
        session: body.session_id,
        text: body.response,
        answers: body.message_id,
        lease: None,
        sent_at: sent_at(body.timestamp.as_ref()),
        stopped: false,
        quick_replies: Vec::new(),
        files: Vec::new(),
        idempotency: None,
    };
    let response_id = app.store.answer_batch(reply, app.clock.now()).await?;
    fault::point("relay: reply stored, answer not sent");
    app.metrics.replies.inc();
    let timestamp = Moment(Timestamp::now());
    Ok(ok("Response sent successfully", ReplyStored { response_id, session_id, timestamp }))
}

/// When something was written, as far as that can be read.
pub(super) fn sent_at(timestamp: Option<&Value>) -> Option<Timestamp> {
    moment::read(timestamp?.as_str()?)
}
