//! What the poller and the relay say to each other.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::files::File;
use crate::visitor::Identity;
use crate::{FileId, LeaseId, MessageId, Metadata, SessionId, Uid};

/// How many quick replies a reply may offer.
pub const MAX_QUICK_REPLIES: usize = 10;

/// How many characters a quick reply may have.
pub const MAX_QUICK_REPLY_CHARS: usize = 80;

/// `POST /inbox/lease`: asks for messages to work on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LeaseRequest {
    /// At most this many, 1 to 100; 50 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Seconds to hold the call when nothing waits, 0 to 30; 0 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_seconds: Option<u32>,
    /// Seconds until an unanswered message is visible again, 1 to 3,600; 60 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_seconds: Option<u32>,
}

/// The answer to [`LeaseRequest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Leased {
    /// The leased messages, the longest waiting first; empty when the wait ran out.
    pub messages: Vec<LeasedMessage>,
}

/// A message and the right to answer it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeasedMessage {
    /// The message's id.
    pub id: MessageId,
    /// Its session.
    pub session_id: SessionId,
    /// Who the visitor is over sessions.
    pub uid: Uid,
    /// Who the visitor is, and how well that is known.
    #[serde(default)]
    pub visitor: Identity,
    /// The text as it was sent.
    pub message: String,
    /// When the relay stored it.
    pub timestamp: Timestamp,
    /// What came with it; empty when nothing did.
    #[serde(default)]
    pub metadata: Metadata,
    /// The files that go with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// Proves the lease in `extend`, `nack` and the reply.
    pub lease_id: LeaseId,
    /// How often it has been leased, this time included.
    pub attempts: u32,
}

/// `POST /inbox/{message_id}/extend`: the heartbeat of an agent at work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExtendRequest {
    /// The lease to keep.
    pub lease_id: LeaseId,
    /// Seconds from now until it runs out, 1 to 3,600.
    pub lease_seconds: u32,
    /// Seconds to hold the call, 0 to 30, unless the visitor cancels before; 0 when absent. The
    /// lease counts from the call's beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_seconds: Option<u32>,
}

/// The answer to [`ExtendRequest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Extended {
    /// True when the visitor wants no reply any more.
    pub cancelled: bool,
}

/// `POST /inbox/{message_id}/chunks`: a piece of a reply that is being written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PostChunk {
    /// The lease under which it is written.
    pub lease_id: LeaseId,
    /// How long the reply was before this piece, in bytes of UTF-8.
    pub offset: u64,
    /// The piece; may be empty when only `progress` is told.
    pub text: String,
    /// What the agent is doing, in a few words; absent, it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
}

/// The answer to [`PostChunk`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChunkTaken {
    /// How long the reply is now, in bytes of UTF-8: the next piece's offset.
    pub received: u64,
    /// True when the visitor wants no reply any more.
    pub cancelled: bool,
}

/// `POST /inbox/{message_id}/nack`: gives a message back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NackRequest {
    /// The lease given back.
    pub lease_id: LeaseId,
    /// What went wrong, for the operator; never shown to the visitor.
    pub error: String,
    /// Seconds until it is visible again, up to 3,600; now when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
    /// True gives it up for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<bool>,
}

/// The answer to [`NackRequest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Nacked {
    /// True when it is out of delivery: given up, or out of attempts.
    pub dead_letter: bool,
}

/// `POST /outbox`: a reply, or a message of the agent's own accord.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PostReply {
    /// The session it goes to.
    pub session_id: SessionId,
    /// The text; not blank, unless it was stopped or files go with it.
    pub response: String,
    /// The visitor's message it answers, which it acks; `None` answers none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// The lease under which it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_id: Option<LeaseId>,
    /// When it was written, by the agent's clock; kept, never used for order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// True when the visitor cancelled it: the text is what was written by then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
    /// Answers that the visitor may give by a click: up to [`MAX_QUICK_REPLIES`], none of them blank
    /// or longer than [`MAX_QUICK_REPLY_CHARS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quick_replies: Vec<String>,
    /// Files that were sent to this session with the poller's key and go with the reply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileId>,
}

/// The answer to [`PostReply`], given once the reply is on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplyStored {
    /// The reply's id.
    pub response_id: MessageId,
}

/// `GET /inbox`: the open messages, oldest first, without leasing them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inbox {
    /// One page of them.
    pub messages: Vec<OpenMessage>,
    /// Which page.
    pub pagination: Pagination,
}

/// An open message as seen without a lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenMessage {
    /// The message's id.
    pub id: MessageId,
    /// Its session.
    pub session_id: SessionId,
    /// Who the visitor is over sessions.
    pub uid: Uid,
    /// Who the visitor is, and how well that is known.
    #[serde(default)]
    pub visitor: Identity,
    /// The text as it was sent.
    pub message: String,
    /// When the relay stored it.
    pub timestamp: Timestamp,
    /// What came with it; empty when nothing did.
    #[serde(default)]
    pub metadata: Metadata,
    /// The files that go with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// How often it has been leased.
    pub attempts: u32,
}

/// Which part of a list a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pagination {
    /// How many there are in all.
    pub total: u64,
    /// At most how many a page holds.
    pub limit: u32,
    /// How many come before this page.
    pub offset: u64,
    /// Whether more come after it.
    pub has_more: bool,
}
