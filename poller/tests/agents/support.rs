//! Agents as their flags describe them, and questions to ask them.

use std::time::Duration;

use clap::Parser;
use postern_poller::agent::{Agent, AgentArgs, AgentConfigError, Question, Speaker, Turn};
use postern_shared::MessageId;
use postern_shared::visitor::Identity;

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    agent: AgentArgs,
}

/// The agent that some flags describe.
pub(crate) fn configure(flags: &[&str]) -> Result<Agent, AgentConfigError> {
    let line = ["postern-poller"].iter().chain(flags);
    Agent::from_args(&CommandLine::parse_from(line).agent)
}

/// The agent that good flags describe.
pub(crate) fn agent(flags: &[&str]) -> Agent {
    configure(flags).expect("the flags describe an agent")
}

/// What a visitor says as the first thing.
pub(crate) fn question(message: &str) -> Question {
    Question {
        session_id: "session_1".parse().expect("a session id"),
        uid: "00ff00ff00ff00ff".parse().expect("a uid"),
        visitor: Identity::default(),
        message_id: MessageId(7),
        message: message.to_owned(),
        timestamp: "2026-01-02T03:04:05Z".parse().expect("a timestamp"),
        metadata: serde_json::Map::new(),
        files: Vec::new(),
        history: Vec::new(),
    }
}

/// The same after both have said something.
pub(crate) fn question_after(said: &[(Speaker, &str)], message: &str) -> Question {
    let turn = |(role, content): &(Speaker, &str)| Turn { role: *role, content: (*content).into() };
    Question { history: said.iter().map(turn).collect(), ..question(message) }
}

/// Fails instead of hanging.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, future).await.expect("it takes no longer than 20 s")
}
