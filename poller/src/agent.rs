//! The agents a poller can ask: each is one file, one type, one entry here.

mod args;
mod broca;
mod draft;
mod echo;
mod error;
mod exec;
mod http;
mod openai;
mod quick_replies;
mod reply;
mod reply_files;
mod service;

use std::path::PathBuf;

use postern_shared::visitor::Identity;
use postern_shared::{MessageId, Metadata, SessionId, Timestamp, Uid};
use serde::{Deserialize, Serialize};

pub use args::{AgentArgs, AgentConfigError, AgentKind, AgentLimits};
pub use broca::{Broca, BrocaArgs};
pub use draft::{Draft, Written};
pub use echo::Echo;
pub use error::AgentError;
pub use exec::{Exec, ExecArgs};
pub use http::{Http, HttpArgs};
pub use openai::{OpenAi, OpenAiArgs};
pub use quick_replies::QuickReplies;
pub use reply_files::{ReplyFile, ReplyFiles};

/// How many files go with a question or a reply; more than a relay takes by default.
pub(crate) const MAX_FILES: usize = 20;

/// The largest file that goes with a question or a reply; more than a relay takes by default.
pub(crate) const MAX_FILE_BYTES: u64 = 100 * 1024 * 1024;

/// Whoever answers the visitors.
#[derive(Debug)]
pub enum Agent {
    /// Says what it is told.
    Echo(Echo),
    /// A command per message.
    Exec(Exec),
    /// A service of one's own.
    Http(Http),
    /// Any service that speaks the chat completions API.
    OpenAi(OpenAi),
    /// Broca, over the queue in its database.
    Broca(Broca),
}

impl Agent {
    /// The agent that the configuration describes; it is not contacted yet.
    ///
    /// # Errors
    /// [`AgentConfigError`], which names the setting to mend.
    pub fn from_args(args: &AgentArgs) -> Result<Self, AgentConfigError> {
        match args.agent.ok_or(AgentConfigError::NoAgent)? {
            AgentKind::Echo => Ok(Self::Echo(Echo)),
            AgentKind::Exec => Exec::new(&args.exec, args.limits).map(Self::Exec),
            AgentKind::Http => Http::new(&args.http, args.limits).map(Self::Http),
            AgentKind::OpenAi => OpenAi::new(&args.openai, args.limits).map(Self::OpenAi),
            AgentKind::Broca => Broca::new(&args.broca, args.limits).map(Self::Broca),
        }
    }

    /// Looks at what can be known without asking anything.
    ///
    /// # Errors
    /// [`AgentError::Database`], which tells what to mend.
    pub async fn check(&self) -> Result<(), AgentError> {
        match self {
            Self::Broca(broca) => broca.check().await,
            Self::Echo(_) | Self::Exec(_) | Self::Http(_) | Self::OpenAi(_) => Ok(()),
        }
    }

    /// Whether it is given what was said before; one that remembers by itself is not.
    pub fn is_given_history(&self) -> bool {
        match self {
            Self::Exec(_) | Self::Http(_) | Self::OpenAi(_) => true,
            Self::Echo(_) | Self::Broca(_) => false,
        }
    }

    /// The agent's reply, for whoever does not watch it being written.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn answer(&self, question: &Question) -> Result<String, AgentError> {
        self.write_answer(question, &Draft::default()).await
    }

    /// The agent's reply, written to a draft on the way; never over the limits, and blank only when
    /// files go with it.
    ///
    /// Cancelling the draft asks the agent to end. Dropping the future ends it: a program's whole
    /// process group is killed, a connection is closed.
    ///
    /// # Errors
    /// [`AgentError`]; [`AgentError::Cancelled`] leaves what was written in the draft.
    pub async fn write_answer(
        &self,
        question: &Question,
        draft: &Draft,
    ) -> Result<String, AgentError> {
        let answer = match self {
            Self::Echo(echo) => Ok(echo.answer(question)),
            Self::Exec(exec) => exec.answer(question, draft).await,
            Self::Http(http) => draft.unless_cancelled(http.answer(question, draft)).await,
            Self::OpenAi(openai) => draft.unless_cancelled(openai.answer(question, draft)).await,
            Self::Broca(broca) => broca.answer(question, draft).await,
        };
        answer.map_err(|error| error.without_words_of(question))
    }
}

/// What an agent is asked: one message with the conversation before it.
///
/// This is also the JSON that `exec` writes to standard input and `http` posts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The conversation.
    pub session_id: SessionId,
    /// Who the visitor is over sessions.
    pub uid: Uid,
    /// Who that is, and by whose word: only a verified one is who it says.
    pub visitor: Identity,
    /// The message's id at the relay.
    pub message_id: MessageId,
    /// The text as the visitor sent it.
    pub message: String,
    /// When the relay stored it.
    pub timestamp: Timestamp,
    /// What came with it.
    pub metadata: Metadata,
    /// The files that go with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<QuestionFile>,
    /// What was said before, oldest first.
    pub history: Vec<Turn>,
}

/// A visitor's file, there for as long as the agent is at the question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuestionFile {
    /// Its name, as the visitor calls it; no path.
    pub name: String,
    /// Its media type, as the visitor declares it.
    #[serde(rename = "type")]
    pub media_type: String,
    /// How large it is.
    pub size_bytes: u64,
    /// Where it is on this host.
    pub path: PathBuf,
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
