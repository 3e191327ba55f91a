//! Sending the files of a reply ahead of it.

use postern_host::fault;
use postern_shared::FileId;
use tracing::warn;

use crate::agent::Draft;
use crate::lease;
use crate::poller::{Bridge, PollerError};
use crate::queue::{Answer, Outgoing};
use crate::relay::RelayError;

/// Sends what goes with a reply, while its lease is kept: that may take longer than a lease lasts.
/// The inner error is what keeps the reply from being posted now.
pub(crate) async fn run(
    bridge: &Bridge,
    outgoing: &Outgoing,
    answer: &Answer,
) -> Result<Result<Vec<FileId>, RelayError>, PollerError> {
    if answer.files.is_empty() {
        return Ok(Ok(Vec::new()));
    }
    // A reply that is written is posted, even if the visitor stops it now.
    let unheeded = Draft::default();
    let job = outgoing.id();
    tokio::select! {
        sent = send(bridge, outgoing, answer) => Ok(sent),
        lost = lease::keep(bridge, &job, &unheeded) => {
            lost.map(|()| Err(RelayError::LeaseLost("while files were on their way".into())))
        }
    }
}

/// Sends the files in their order. One that the relay will never take is left out.
async fn send(
    bridge: &Bridge,
    outgoing: &Outgoing,
    answer: &Answer,
) -> Result<Vec<FileId>, RelayError> {
    let (session, message) = (&outgoing.session_id, outgoing.message_id);
    let mut sent = Vec::with_capacity(answer.files.len());
    for (place, file) in answer.files.iter().enumerate() {
        // The same for every try at this answer, over restarts, and another for any other answer.
        let at = answer.at.as_millisecond();
        let key = format!("file-{session}-{message}-{at}-{place}");
        match bridge.relay.upload(session, file, &key).await {
            Ok(stored) => sent.push(stored.file_id),
            Err(problem @ RelayError::KeyRefused { .. }) => return Err(problem),
            Err(problem) if problem.is_retryable() => return Err(problem),
            Err(problem) => {
                warn!(message.id = %message, file.name = file.name, error = %problem,
                      "a file of the agent is left out of its reply");
            }
        }
    }
    fault::point("poller: files sent, reply not posted");
    Ok(sent)
}
