//! Doors for the fuzz targets to how the poller reads what others answer; there for cargo-fuzz only.

use postern_shared::Success;
use postern_shared::poller::{Leased, LeasedMessage};
use reqwest::Response;

use crate::agent::{Agent, AgentError, Draft};
use crate::files;
use crate::relay::answer::{MAX_ANSWER_BYTES, accepted, read_json};
use crate::relay::{RelayError, check_leased};

/// What an agent behind HTTP answers, had it sent this.
///
/// # Errors
/// [`AgentError`].
pub async fn read_reply(
    agent: &Agent,
    response: Response,
    draft: &Draft,
) -> Result<String, AgentError> {
    match agent {
        Agent::Http(http) => http.read_answer(response, draft).await,
        Agent::OpenAi(openai) => openai.read_answer(response, draft).await,
        Agent::Echo(_) | Agent::Exec(_) | Agent::Broca(_) => Err(AgentError::Blank),
    }
}

/// The messages that a relay hands out, had it answered this.
///
/// # Errors
/// [`RelayError`].
pub async fn read_leased(
    response: Response,
    asked_for: u32,
) -> Result<Vec<LeasedMessage>, RelayError> {
    let leased: Success<Leased> = read_json(accepted(response).await?, MAX_ANSWER_BYTES).await?;
    check_leased(&leased.data.messages, asked_for)?;
    Ok(leased.data.messages)
}

/// The name under which a visitor's file is put down here.
pub fn plain_name(name: &str) -> String {
    files::plain_name(name)
}
