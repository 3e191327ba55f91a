//! The post loop: tells the relay what became of each message until it has confirmed it.

use std::collections::HashSet;
use std::sync::Arc;

use postern_host::fault;
use postern_shared::poller::{NackRequest, PostReply};
use postern_shared::{FileId, MessageId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::backoff::Backoff;
use crate::poller::{Bridge, PollerError};
use crate::queue::{Answer, Outcome, Outgoing};
use crate::relay::RelayError;
use crate::upload;

/// Posts that run at once; most are small, and one that must wait holds up no other.
pub(crate) const AT_ONCE: usize = 16;

/// Ends when told that nothing more will be settled, after one last try for what is left.
pub(crate) async fn run(
    bridge: Arc<Bridge>,
    mut settled: mpsc::Receiver<Outgoing>,
    all_settled: CancellationToken,
) -> Result<(), PollerError> {
    let mut posts = Posts::default();
    posts.look(&bridge).await?;
    loop {
        tokio::select! {
            () = all_settled.cancelled() => break,
            Some(outgoing) = settled.recv() => posts.start(&bridge, outgoing),
            () = bridge.signals.left.notified() => posts.look(&bridge).await?,
            ended = posts.ended(), if !posts.running.is_empty() => {
                ended?;
                if posts.is_left {
                    posts.look(&bridge).await?;
                }
            }
        }
    }
    posts.running.shutdown().await;
    for outgoing in bridge.queue.outgoing().await? {
        post(&bridge, &outgoing).await?;
    }
    Ok(bridge.queue.remove_finished().await?)
}

/// The posts under way.
#[derive(Default)]
struct Posts {
    running: JoinSet<Result<MessageId, PollerError>>,
    messages: HashSet<MessageId>,
    /// Whether the queue holds what could not be posted beside these.
    is_left: bool,
}

impl Posts {
    /// Looks at the queue for what nobody has handed over.
    async fn look(&mut self, bridge: &Arc<Bridge>) -> Result<(), PollerError> {
        self.is_left = false;
        let outgoing = bridge.queue.outgoing().await?;
        outgoing.into_iter().for_each(|outgoing| self.start(bridge, outgoing));
        Ok(())
    }

    fn start(&mut self, bridge: &Arc<Bridge>, outgoing: Outgoing) {
        if self.running.len() < AT_ONCE && self.messages.insert(outgoing.message_id) {
            // Boxed, since to spawn a future is to move it several times, and this one is large.
            self.running.spawn(Box::pin(post_until_confirmed(Arc::clone(bridge), outgoing)));
        } else {
            self.is_left = true;
        }
    }

    async fn ended(&mut self) -> Result<(), PollerError> {
        if let Some(ended) = self.running.join_next().await {
            self.messages.remove(&ended??);
        }
        Ok(())
    }
}

async fn post_until_confirmed(
    bridge: Arc<Bridge>,
    mut outgoing: Outgoing,
) -> Result<MessageId, PollerError> {
    let mut backoff = Backoff::new();
    while let Progress::TryAgain(asked) = post(&bridge, &outgoing).await? {
        time::sleep(backoff.next(asked)).await;
        // The message may have been leased anew in the meantime.
        match bridge.queue.lease_of(&outgoing.id()).await? {
            Some(lease_id) => outgoing.lease_id = lease_id,
            None => break,
        }
    }
    Ok(outgoing.message_id)
}

/// How far a post came.
enum Progress {
    Done,
    /// After a wait that the relay may ask for.
    TryAgain(Option<std::time::Duration>),
}

/// Tells the relay once, and takes its answer into the queue.
async fn post(bridge: &Bridge, outgoing: &Outgoing) -> Result<Progress, PollerError> {
    let message = outgoing.message_id;
    let told = match &outgoing.outcome {
        Outcome::Answered(answer) => match upload::run(bridge, outgoing, answer).await? {
            Ok(files) => reply(bridge, outgoing, answer, files).await,
            Err(problem) => Err(problem),
        },
        Outcome::Failed { error, retry_after_seconds } => {
            let body = nack_request(outgoing, error, *retry_after_seconds);
            bridge.relay.nack(message, &body).await.map(drop)
        }
    };
    match told {
        Ok(()) => {
            fault::point("poller: relay told, queue not cleared");
            debug!(message.id = %message, "the relay has it");
            finish(bridge, outgoing).await?;
        }
        Err(refused @ RelayError::KeyRefused { .. }) => return Err(refused.into()),
        Err(RelayError::LeaseLost(why)) => {
            info!(message.id = %message, why, "the message was given to someone else");
            bridge.queue.lose_lease(message, outgoing.lease_id.clone()).await?;
        }
        Err(RelayError::Settled(why)) => {
            info!(message.id = %message, why, "nothing is left to do for a message");
            finish(bridge, outgoing).await?;
        }
        Err(problem) if problem.is_retryable() => {
            warn!(message.id = %message, error = %problem, "the relay was not told; trying again");
            return Ok(Progress::TryAgain(problem.retry_after()));
        }
        Err(problem) => give_up(bridge, outgoing, &problem).await?,
    }
    Ok(Progress::Done)
}

/// Posts a reply with its files. Of more than the relay takes, the last ones are left out.
async fn reply(
    bridge: &Bridge,
    outgoing: &Outgoing,
    answer: &Answer,
    files: Vec<FileId>,
) -> Result<(), RelayError> {
    let mut body = PostReply {
        session_id: outgoing.session_id.clone(),
        response: answer.reply.clone(),
        message_id: Some(outgoing.message_id),
        lease_id: Some(outgoing.lease_id.clone()),
        timestamp: Some(answer.at),
        stopped: answer.stopped,
        quick_replies: answer.quick_replies.clone(),
        files,
    };
    loop {
        match bridge.relay.reply(&body, &idempotency_key(outgoing)).await {
            Err(RelayError::TooManyFiles(why)) if body.files.pop().is_some() => {
                warn!(message.id = %outgoing.message_id, why, "the last file is left out of a reply");
            }
            told => return told.map(drop),
        }
    }
}

/// The message is done with. One that failed may be with an agent again, whose files stay.
async fn finish(bridge: &Bridge, outgoing: &Outgoing) -> Result<(), PollerError> {
    bridge.queue.finish(outgoing.id());
    if outgoing.outcome.has_files() {
        // Otherwise the next start might look for files that are gone.
        bridge.queue.remove_finished().await?;
        bridge.files.remove(outgoing.message_id).await;
    }
    Ok(())
}

/// A reply that the relay will never take makes its message a dead letter, so that the visitor is
/// told and the session goes on.
async fn give_up(
    bridge: &Bridge,
    outgoing: &Outgoing,
    problem: &RelayError,
) -> Result<(), PollerError> {
    let message = outgoing.message_id;
    error!(message.id = %message, error = %problem, "the relay refuses the outcome of a message");
    let body = nack_request(outgoing, &problem.to_string(), None);
    if let Err(error) = bridge.relay.nack(message, &body).await {
        warn!(message.id = %message, %error, "the message could not be given up; its lease will run out");
    }
    finish(bridge, outgoing).await
}

fn nack_request(outgoing: &Outgoing, error: &str, retry_after_seconds: Option<u32>) -> NackRequest {
    NackRequest {
        lease_id: outgoing.lease_id.clone(),
        error: error.to_owned(),
        retry_after_seconds,
        dead_letter: Some(retry_after_seconds.is_none()),
    }
}

/// The same for every try at one message's reply, over restarts.
fn idempotency_key(outgoing: &Outgoing) -> String {
    format!("reply-{}-{}", outgoing.session_id, outgoing.message_id)
}
