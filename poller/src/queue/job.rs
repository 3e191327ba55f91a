//! What goes through the queue: messages on their way in, and on their way out what became of them.

use postern_shared::files::File;
use postern_shared::poller::LeasedMessage;
use postern_shared::visitor::Identity;
use postern_shared::{LeaseId, MessageId, Metadata, SessionId, Timestamp, Uid};

use crate::agent::{Question, ReplyFile, Turn};

/// Which message. Numbers count from 1 on every relay, so a number alone may be another session's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobId {
    /// Its number.
    pub message: MessageId,
    /// Its conversation.
    pub session: SessionId,
}

/// A message that waits for the agent, or is with it, and what was said before.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The message.
    pub message_id: MessageId,
    /// Its conversation.
    pub session_id: SessionId,
    /// Its visitor.
    pub uid: Uid,
    /// Who that is, and by whose word.
    pub visitor: Identity,
    /// The text as it was sent.
    pub message: String,
    /// When the relay stored it.
    pub timestamp: Timestamp,
    /// What came with it.
    pub metadata: Metadata,
    /// The files that go with it, which are at the relay.
    pub files: Vec<File>,
    /// The lease under which it came; by now there may be a later one.
    pub lease_id: LeaseId,
    /// How often it has been leased.
    pub attempts: u32,
    /// The conversation's latest turns, oldest first.
    pub history: Vec<Turn>,
}

impl Job {
    pub(super) fn new(leased: LeasedMessage, history: Vec<Turn>) -> Self {
        Self {
            message_id: leased.id,
            session_id: leased.session_id,
            uid: leased.uid,
            visitor: leased.visitor,
            message: leased.message,
            timestamp: leased.timestamp,
            metadata: leased.metadata,
            files: leased.files,
            lease_id: leased.lease_id,
            attempts: leased.attempts,
            history,
        }
    }

    /// Which message it is.
    pub fn id(&self) -> JobId {
        JobId { message: self.message_id, session: self.session_id.clone() }
    }

    /// What the agent is to be asked, without the files.
    pub fn into_question(self) -> Question {
        Question {
            session_id: self.session_id,
            uid: self.uid,
            visitor: self.visitor,
            message_id: self.message_id,
            message: self.message,
            timestamp: self.timestamp,
            metadata: self.metadata,
            files: Vec::new(),
            history: self.history,
        }
    }
}

/// What the queue made of leased messages.
#[derive(Debug, Clone, PartialEq)]
pub struct TakenIn {
    /// Those of which the agent is to be asked.
    pub new: Vec<Job>,
    /// Whether any was here before, perhaps with an answer that can be posted now.
    pub known: bool,
    /// How many wait for the agent or are with it.
    pub busy: usize,
}

/// What the relay is to be told of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// The message.
    pub message_id: MessageId,
    /// Its conversation.
    pub session_id: SessionId,
    /// The latest lease.
    pub lease_id: LeaseId,
    /// What became of it.
    pub outcome: Outcome,
}

impl Outgoing {
    /// Which message it is of.
    pub fn id(&self) -> JobId {
        JobId { message: self.message_id, session: self.session_id.clone() }
    }
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The agent's reply.
    Answered(Answer),
    /// No reply.
    Failed {
        /// Why, for the operator.
        error: String,
        /// When to try again; `None` gives up for good.
        retry_after_seconds: Option<u32>,
    },
}

/// What the agent replied.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Its text.
    pub reply: String,
    /// What the visitor may answer by a click.
    pub quick_replies: Vec<String>,
    /// The files that go with it, on this host.
    pub files: Vec<ReplyFile>,
    /// When it was there.
    pub at: Timestamp,
    /// Whether the visitor stopped it: the text is what was written by then, perhaps nothing.
    pub stopped: bool,
}

impl Outcome {
    /// Whether files on this host go with it.
    pub fn has_files(&self) -> bool {
        matches!(self, Self::Answered(answer) if !answer.files.is_empty())
    }
}
