//! What a visitor's page and the relay say to each other.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Cursor, MessageId, Metadata, SessionId, Uid};

/// `POST /messages`: one message of a visitor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PostMessage {
    /// The session it belongs to; `None`, or one that is not taken, opens a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// 1 to 10,000 characters (the relay's limit), not all blank; stored byte for byte.
    pub message: String,
    /// When the visitor wrote it, by the visitor's clock; kept, never used for order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// Handed to the agent as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

/// The answer to [`PostMessage`], given once the message is on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageAccepted {
    /// The message's id.
    pub message_id: MessageId,
    /// The session it was stored in.
    pub session_id: SessionId,
    /// The session's secret; only in the answer that opens the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<String>,
    /// Who the visitor is over sessions.
    pub uid: Uid,
    /// True when this call made the `uid`.
    pub is_new_user: bool,
}

/// Who wrote an entry of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The visitor.
    Visitor,
    /// The agent, through the poller.
    Agent,
    /// A person of the site.
    Operator,
    /// The relay itself, such as when a message could not be answered.
    System,
}

/// One entry of a conversation: the data of a `message` event, of a reply and of a transcript.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its id; also its place in the conversation.
    pub id: MessageId,
    /// Who wrote it.
    pub role: Role,
    /// The text as it was sent.
    pub text: String,
    /// The visitor's message that a reply answers; `None` when it answers none.
    pub message_id: Option<MessageId>,
    /// When the relay stored it.
    pub timestamp: Timestamp,
}

/// `GET /responses/{session_id}`: what was said to the visitor after a cursor, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Responses {
    /// Every entry but the visitor's own.
    pub responses: Vec<Entry>,
    /// Where the next call goes on from.
    pub cursor: Cursor,
}

/// `GET /sessions/{session_id}/messages`: one page of the visitor's own transcript.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transcript {
    /// Oldest first within the page.
    pub messages: Vec<Entry>,
    /// Where the event stream goes on from: the conversation's end when the page was read.
    pub cursor: Cursor,
    /// Whether there are older entries; ask for them with `before` set to the first entry's id.
    pub has_more: bool,
}
