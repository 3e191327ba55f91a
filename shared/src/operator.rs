//! What the operator sees.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::poller::Pagination;
use crate::visitor::Entry;
use crate::{Metadata, SessionId, Uid};

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
    /// Who the visitor is over sessions.
    pub uid: Uid,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When something was last said in it.
    pub last_active: Timestamp,
    /// How many messages the visitor sent.
    pub message_count: u64,
    /// How many replies were given.
    pub response_count: u64,
    /// The address that opened it; `None` when it is not known.
    pub ip_address: Option<String>,
    /// What came with its first message.
    pub metadata: Metadata,
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

/// `GET /health`: whether the relay does its work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// `ok`, or `degraded` when the store cannot write.
    pub status: HealthStatus,
    /// The relay's version.
    pub version: String,
    /// Whether a write reached the disk just now.
    pub store_writable: bool,
}

/// The relay's health in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// All is well.
    Ok,
    /// The store cannot write; messages are refused with 503.
    Degraded,
}
