//! What the operator sees.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::poller::Pagination;
use crate::visitor::{Entry, Identity};
use crate::{MessageId, Metadata, SessionId, SiteId, Uid};

/// `GET /sessions`: the newest sessions first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sessions {
    /// One page of them.
    pub sessions: Vec<Session>,
    /// Which page.
    pub pagination: Pagination,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// The site it was opened on.
    pub site: SiteId,
    /// Who the visitor is over sessions.
    pub uid: Uid,
    /// Who the visitor is, and how well that is known.
    pub visitor: Identity,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When something was last said in it.
    pub last_active: Timestamp,
    /// How many messages the visitor sent.
    pub message_count: u64,
    /// How many replies were given.
    pub response_count: u64,
    /// What the visitor thinks of them.
    pub ratings: Ratings,
    /// The address that opened it; `None` when it is not known.
    pub ip_address: Option<String>,
    /// What came with its first message.
    pub metadata: Metadata,
}

/// How many replies of a session are rated, by rating.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ratings {
    /// How many are good.
    pub up: u64,
    /// How many are not.
    pub down: u64,
}

/// `GET /sessions/{id}`: one session with a page of what was said, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionDetail {
    /// The session.
    pub session: Session,
    /// One page of its conversation.
    pub messages: Vec<Entry>,
    /// Which page.
    pub pagination: Pagination,
}

/// `GET /health`: the relay does its work. One that cannot write answers 503 instead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// The relay's version.
    pub version: String,
    /// Whether a write reached the disk within the last second; always true here.
    pub store_writable: bool,
}

/// `GET /deadletters`: the messages that were given up, the oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetters {
    /// One page of them.
    pub dead_letters: Vec<DeadLetter>,
    /// Which page.
    pub pagination: Pagination,
}

/// A message that was given up. Its text is in [`DeadLetterDetail`] only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The message.
    pub message_id: MessageId,
    /// Its session.
    pub session_id: SessionId,
    /// Who the visitor is over sessions.
    pub uid: Uid,
    /// When the relay stored the message.
    pub timestamp: Timestamp,
    /// When it was given up.
    pub given_up_at: Timestamp,
    /// How often it was leased.
    pub attempts: u32,
    /// What went wrong last; `None` when nobody said.
    pub error: Option<String>,
}

/// `GET /deadletters/{message_id}`: one of them with what the visitor wrote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetterDetail {
    /// The dead letter.
    pub dead_letter: DeadLetter,
    /// The message's text as it was sent.
    pub message: String,
    /// What came with it; empty when nothing did.
    pub metadata: Metadata,
}

/// The answer to `POST /deadletters/{message_id}/requeue`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Requeued {
    /// The message, which wants an answer again.
    pub message_id: MessageId,
}

/// The answer to `DELETE /deadletters/{message_id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dropped {
    /// The message, which stays in its conversation.
    pub message_id: MessageId,
}
