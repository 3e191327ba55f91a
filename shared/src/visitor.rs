//! What a visitor's page and the relay say to each other.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::files::File;
use crate::proof::Proof;
use crate::{Cursor, FileId, MessageId, Metadata, SessionId, Uid};

/// `POST /messages`: one message of a visitor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PostMessage {
    /// The session it belongs to; `None`, or one that is not taken, opens a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// Up to 10,000 characters (the relay's limit), not all blank unless files go with it; stored
    /// byte for byte.
    pub message: String,
    /// Files of this session that were sent before and go with it; up to 5 (the relay's limit).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileId>,
    /// When the visitor wrote it, by the visitor's clock; kept, never used for order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// Handed to the agent as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// A token (JWT) in which the site's server says who the visitor is; needed once in a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The answer to a challenge; where the site asks for one, before it opens a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
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

/// Who a visitor is, and how well that is known.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Identity {
    /// By whose word.
    pub state: IdentityState,
    /// The site's own name for a verified visitor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// What to call a verified visitor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where to write to a verified visitor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// By whose word a visitor is somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentityState {
    /// Nobody's.
    #[default]
    Anonymous,
    /// The page's own, in `metadata.visitor`: it could say anything.
    Claimed,
    /// The site's server's, signed.
    Verified,
}

impl Identity {
    /// Of a visitor that no server vouches for, by what came along.
    pub fn unverified(metadata: &Metadata) -> Self {
        let is_claimed = metadata.contains_key("visitor");
        let state = if is_claimed { IdentityState::Claimed } else { IdentityState::Anonymous };
        Self { state, ..Self::default() }
    }
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
    /// True for a reply that the visitor stopped: its text is what was written by then, perhaps
    /// nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
    /// Answers that the agent offers: what the visitor picks is sent as a message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quick_replies: Vec<String>,
    /// The files that go with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// What the visitor thinks of a reply. Transcripts and the operator's view tell it, events and
    /// [`Responses`] do not: they tell of each entry once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rating: Option<Rating>,
    /// What the visitor wrote with the rating.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl Entry {
    /// An entry of nothing but a text.
    pub fn new(id: MessageId, role: Role, text: String, timestamp: Timestamp) -> Self {
        Self {
            id,
            role,
            text,
            message_id: None,
            timestamp,
            stopped: false,
            quick_replies: Vec::new(),
            files: Vec::new(),
            rating: None,
            comment: None,
        }
    }
}

/// What a visitor thinks of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rating {
    /// Good.
    Up,
    /// Not good.
    Down,
}

/// `POST /messages/{message_id}/feedback`: what the visitor thinks of a reply; the last one counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GiveFeedback {
    /// The rating; `None` takes back what was given before. Must be there.
    #[serde(deserialize_with = "Option::deserialize")]
    pub rating: Option<Rating>,
    /// Why, in up to 1,000 characters; only with a rating.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// The answer to [`GiveFeedback`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeedbackTaken {
    /// The rating as it is now.
    pub rating: Option<Rating>,
}

/// The data of a `chunk` event: a piece of a reply that is being written.
///
/// The reply so far is the first `offset` bytes of what was known of it, and then `text`. The
/// `message` event with the finished reply takes the place of all chunks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    /// The visitor's message that the reply answers.
    pub message_id: MessageId,
    /// Where the piece begins, in bytes of UTF-8; 0 begins the reply anew.
    pub offset: u64,
    /// The piece.
    pub text: String,
}

/// The data of a `status` event: what goes on behind the relay. It replaces the one before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Whether the agent's host is there.
    pub host: Host,
    /// The visitor's oldest message without an answer; `None` when nothing waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// How far that message has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<MessageState>,
    /// What the agent says it is doing, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
}

/// Whether the agent's host is there, by its poller's own calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Host {
    /// It calls.
    Connected,
    /// It has not called for a while; messages are kept for it.
    Away,
}

/// How far a message has come on its way to a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// It waits to be leased.
    Waiting,
    /// It is under a lease that lives: the agent is at it.
    Working,
    /// The agent failed or went away, and will be asked again.
    Retrying,
    /// It was given up.
    Failed,
    /// The visitor stopped it.
    Cancelled,
}

/// The answer to `POST /messages/{message_id}/cancel`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cancelled {
    /// Always true: no reply will be written from here on.
    pub cancelled: bool,
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

/// The answer to `POST /sessions/{session_id}/revoke`, which a visitor may call with the session's
/// token and the operator with an admin key: no token of the session opens it any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionRevoked {
    /// The session, whose conversation stays.
    pub session_id: SessionId,
}
