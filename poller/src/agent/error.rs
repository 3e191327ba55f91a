//! Why an agent gave no reply, and whether asking again may help.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use reqwest::StatusCode;

use super::Question;
use crate::one_line::one_line;

/// Why there is no reply.
///
/// Each displays as one line that is fit for the log and the operator: it holds no key, and of
/// what the agent said about its failure it leaves out the visitor's words.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// It took too long and was ended.
    #[error("the agent gave no reply within {0:?}")]
    TimedOut(Duration),
    /// The visitor wanted no reply any more.
    #[error("the visitor stopped the reply")]
    Cancelled,
    /// The files that go with the question cannot be fetched or put down.
    #[error("the visitor's files cannot be given to the agent: {problem}")]
    Files {
        /// What went wrong.
        problem: String,
        /// Whether it may go right later.
        retryable: bool,
    },
    /// The files that go with its reply cannot be kept.
    #[error("the agent's files cannot be kept: {0}")]
    ReplyFiles(#[source] io::Error),
    /// It was done and had said nothing.
    #[error("the agent's reply is blank")]
    Blank,
    /// It said more than it may, and was ended.
    #[error("the agent's reply is longer than {limit_bytes} bytes")]
    TooLong {
        /// The limit it broke.
        limit_bytes: usize,
    },
    /// Its program could not be started or talked to.
    #[error("the agent's command cannot be run: {0}")]
    Command(#[source] io::Error),
    /// Its program failed.
    #[error("the agent's command failed ({status}): {last_line}")]
    Exited {
        /// The exit code or the signal.
        status: ExitStatus,
        /// The last line of its standard error that is not blank; empty when there is none.
        last_line: String,
    },
    /// The service was not reached, or lost on the way.
    #[error("{origin} cannot be reached: {cause}")]
    Network {
        /// Scheme, host and port of the service.
        origin: String,
        /// What went wrong.
        cause: String,
    },
    /// The service's stream ended before the reply did.
    #[error("the agent's stream ended before its reply did")]
    BrokenOff,
    /// The service answered with a failure.
    #[error("{origin} answered {}: {reason}{advice}", status.as_u16())]
    Refused {
        /// Scheme, host and port of the service.
        origin: String,
        /// Its status, also when it came in the middle of a stream.
        status: StatusCode,
        /// What it said about it.
        reason: String,
        /// Which setting to check, in brackets; empty when none comes to mind.
        advice: &'static str,
        /// How long it wants to be left alone, an hour at most.
        retry_after: Option<Duration>,
    },
    /// The service answered with something that holds no reply.
    #[error("{origin} answered {problem}")]
    NoReply {
        /// Scheme, host and port of the service.
        origin: String,
        /// What came in place of a reply.
        problem: String,
    },
    /// The agent's database cannot be read or written.
    #[error("the agent's database {}: {problem}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The agent's queue has ended the message without a reply.
    #[error("the agent's queue gave the message up: {0}")]
    GivenUp(&'static str),
    /// The service's content filter withheld the reply.
    #[error("the model's reply was withheld (content_filter)")]
    Filtered,
}

impl AgentError {
    /// Whether the same question may get a reply later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::TimedOut(_)
            | Self::ReplyFiles(_)
            | Self::Blank
            | Self::Command(_)
            | Self::Exited { .. }
            | Self::Network { .. }
            | Self::BrokenOff
            | Self::Database { .. } => true,
            Self::Files { retryable, .. } => *retryable,
            Self::Refused { status, .. } => {
                status.is_server_error()
                    || matches!(
                        *status,
                        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
                    )
            }
            Self::Cancelled
            | Self::TooLong { .. }
            | Self::NoReply { .. }
            | Self::GivenUp(_)
            | Self::Filtered => false,
        }
    }

    /// How long to wait at least before asking again; `None` when the agent did not say.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Takes the visitor's words out of what the agent said about its failure.
    pub(super) fn without_words_of(mut self, question: &Question) -> Self {
        if let Self::Exited { last_line: said, .. } | Self::Refused { reason: said, .. } = &mut self
        {
            // Shorter lines tell nothing, and taking them out would garble every sentence.
            let lines = question.message.lines().map(one_line);
            lines.filter(|line| line.len() > 3).for_each(|line| hide(&line, said));
        }
        self
    }
}

/// Takes a text out of another, which may have been cut within it.
fn hide(text: &str, said: &mut String) {
    *said = said.replace(text, "…");
    let mut ends = said.char_indices().map(|(at, _)| at).filter(|at| said.len() - at > 3);
    if let Some(at) = ends.find(|at| text.starts_with(&said[*at..])) {
        said.replace_range(at.., "…");
    }
}
