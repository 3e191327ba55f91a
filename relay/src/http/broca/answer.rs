//! What this contract answers with.

use axum::Json;
use axum::response::{IntoResponse, Response};
use postern_shared::poller::Pagination;
use postern_shared::{MessageId, Metadata, SessionId, Timestamp, Uid};
use serde::Serialize;

use super::moment::Moment;
use crate::store::{Entry, OpenMessage};

/// Wraps what was asked for.
#[derive(Serialize)]
struct Success<T> {
    success: bool,
    message: &'static str,
    timestamp: Moment,
    data: T,
}

/// A success; `message` is a few words for a person.
pub(super) fn ok<T: Serialize>(message: &'static str, data: T) -> Response {
    let timestamp = Moment(Timestamp::now());
    Json(Success { success: true, message, timestamp, data }).into_response()
}

/// A page of what waits.
#[derive(Serialize)]
pub(super) struct Inbox {
    pub(super) messages: Vec<InboxRow>,
    pub(super) pagination: Pagination,
}

#[derive(Serialize)]
pub(super) struct InboxRow {
    id: MessageId,
    session_id: SessionId,
    message: String,
    timestamp: Moment,
    uid: Uid,
    metadata: Metadata,
}

impl From<OpenMessage> for InboxRow {
    fn from(open: OpenMessage) -> Self {
        Self {
            id: open.id,
            timestamp: Moment::of(open.id, open.at),
            session_id: open.session,
            message: open.text,
            uid: open.uid,
            metadata: open.metadata,
        }
    }
}

/// A message of a conversation.
#[derive(Serialize)]
pub(super) struct MessageRow {
    id: MessageId,
    session_id: SessionId,
    message: String,
    timestamp: Moment,
}

impl MessageRow {
    pub(super) fn new(session_id: SessionId, entry: Entry) -> Self {
        let timestamp = Moment::of(entry.id, entry.timestamp);
        Self { id: entry.id, session_id, message: entry.text, timestamp }
    }
}

/// A reply of a conversation.
#[derive(Serialize)]
pub(super) struct ResponseRow {
    id: MessageId,
    session_id: SessionId,
    response: String,
    timestamp: Moment,
    message_id: Option<MessageId>,
}

impl ResponseRow {
    pub(super) fn new(session_id: SessionId, entry: Entry) -> Self {
        let timestamp = Moment::of(entry.id, entry.timestamp);
        let message_id = entry.message_id;
        Self { id: entry.id, session_id, response: entry.text, timestamp, message_id }
    }
}
