//! Agents as flags describe them, asked without a relay.

use clap::Parser;
use postern_poller::agent::{Agent, AgentArgs, AgentError, Question};
use postern_poller::doctor;
use postern_shared::MessageId;
use postern_tests::soon;
use tokio::task::JoinHandle;

use crate::sanctum::Sanctum;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    agent: AgentArgs,
}

/// The agent over a database, with more flags.
pub(crate) fn agent(sanctum: &Sanctum, more: &[&str]) -> Agent {
    let flags = ["poller".to_owned()].into_iter().chain(sanctum.flags(more));
    Agent::from_args(&Flags::parse_from(flags).agent).unwrap()
}

/// A visitor's message with this number.
pub(crate) fn question(number: i64, text: &str) -> Question {
    Question {
        session_id: "session_1".parse().unwrap(),
        uid: "00ff00ff00ff00ff".parse().unwrap(),
        message_id: MessageId(number),
        timestamp: "2026-01-02T03:04:05.678Z".parse().unwrap(),
        ..doctor::question(text).unwrap()
    }
}

/// An agent at work on one question.
pub(crate) struct Asked(JoinHandle<Result<String, AgentError>>);

impl Asked {
    pub(crate) fn ask(sanctum: &Sanctum, more: &[&str], question: Question) -> Self {
        let agent = agent(sanctum, more);
        Self(tokio::spawn(async move { agent.answer(&question).await }))
    }

    /// What comes of it.
    pub(crate) async fn outcome(self) -> Result<String, AgentError> {
        soon("an outcome", self.0).await.unwrap()
    }

    /// Its reply.
    pub(crate) async fn reply(self) -> String {
        self.outcome().await.unwrap()
    }

    /// Ends it in the middle of whatever it does, as when the lease is lost.
    pub(crate) async fn abandon(self) {
        self.0.abort();
        let _ = self.0.await;
    }
}
