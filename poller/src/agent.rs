//! The agents a poller can ask: each is one file, one type, one entry here.

use postern_shared::{MessageId, Metadata, SessionId, Timestamp, Uid};
use serde::{Deserialize, Serialize};

/// What an agent is asked: one message with the conversation before it.
///
/// This is also the JSON that `exec` writes to standard input and `http` posts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The conversation.
    pub session_id: SessionId,
    /// Who the visitor is over sessions.
    pub uid: Uid,
    /// The message's id at the relay.
    pub message_id: MessageId,
    /// The text as the visitor sent it.
    pub message: String,
    /// When the relay stored it.
    pub timestamp: Timestamp,
    /// What came with it.
    pub metadata: Metadata,
    /// What was said before, oldest first.
    pub history: Vec<Turn>,
}

/// One thing that was said before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Who said it.
    pub role: Speaker,
    /// What was said.
    pub content: String,
}

/// The two sides of a conversation, by the names of the chat completions API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    /// The visitor.
    User,
    /// The agent.
    Assistant,
}
