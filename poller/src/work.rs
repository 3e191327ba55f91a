//! The work loop: hands each leased message to the agent, one at a time per session.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use postern_host::fault;
use postern_shared::files::File;
use postern_shared::{LeaseId, MessageId, SessionId, Timestamp};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::agent::{AgentError, Draft, Question, ReplyFile};
use crate::backoff::Backoff;
use crate::lease::{self, Lease};
use crate::poller::{Bridge, PollerError};
use crate::queue::{Answer, Job, Outcome};
use crate::relay::RelayError;
use crate::show;

/// The longest wait between two tries of a message that failed, in seconds.
const MAX_RETRY_SECONDS: u32 = 60;

/// Ends when cancelled, after agents at work had `grace` to finish.
pub(crate) async fn run(
    bridge: Arc<Bridge>,
    mut leased: mpsc::UnboundedReceiver<Job>,
    cancelled: CancellationToken,
    grace: Duration,
) -> Result<(), PollerError> {
    let mut crew = Crew::new(&bridge).await?;
    loop {
        crew.start_waiting(&bridge);
        tokio::select! {
            biased;
            () = cancelled.cancelled() => break,
            Some(job) = leased.recv() => crew.take(job),
            ended = crew.ended(), if !crew.is_idle() => if !ended? {
                crew.look(&bridge).await?;
            },
        }
    }
    match time::timeout(grace, crew.finish()).await {
        Ok(finished) => finished,
        Err(_) => {
            warn!("agents at work are ended; their messages wait for the next start");
            Ok(())
        }
    }
}

/// The agents at work.
struct Crew {
    /// Messages for which nobody is at work, oldest first.
    waiting: Vec<Job>,
    running: JoinSet<Result<Ended, PollerError>>,
    /// The messages for which someone is at work, and under which lease that was begun.
    at_work: HashMap<MessageId, (SessionId, LeaseId)>,
    /// Messages leased before this process started: whether the lease still holds is to be asked.
    leftover: HashSet<MessageId>,
}

/// What has come of the work for a message.
struct Ended {
    message: MessageId,
    /// Whether its outcome is on its way; otherwise it may be here again under a newer lease.
    is_settled: bool,
}

impl Crew {
    async fn new(bridge: &Bridge) -> Result<Self, PollerError> {
        let waiting = bridge.queue.leased().await?;
        let leftover = waiting.iter().map(|job| job.message_id).collect();
        Ok(Self { waiting, running: JoinSet::new(), at_work: HashMap::new(), leftover })
    }

    fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Takes a message that was just leased, unless the queue was looked at in between and someone is
    /// at work for it.
    fn take(&mut self, job: Job) {
        let at_work = self.at_work.get(&job.message_id);
        if at_work.is_none_or(|(_, lease)| *lease != job.lease_id) {
            self.waiting.retain(|other| other.message_id != job.message_id);
            self.waiting.push(job);
        }
    }

    /// Looks at the queue for messages for which nobody is at work.
    async fn look(&mut self, bridge: &Bridge) -> Result<(), PollerError> {
        let leased = bridge.queue.leased().await?;
        let is_at_work = |job: &Job| {
            let at_work = self.at_work.get(&job.message_id);
            at_work.is_some_and(|(session, _)| *session == job.session_id)
        };
        self.waiting = leased.into_iter().filter(|job| !is_at_work(job)).collect();
        Ok(())
    }

    /// Starts every message that waits, whose session is idle, while an agent is free.
    fn start_waiting(&mut self, bridge: &Arc<Bridge>) {
        for job in mem::take(&mut self.waiting) {
            let is_free = self.running.len() < bridge.pace.concurrency;
            let is_idle = self.at_work.values().all(|(session, _)| *session != job.session_id);
            // A relay that lost its data, or lies, gives a number to another session too.
            if is_free && is_idle && !self.at_work.contains_key(&job.message_id) {
                self.start(bridge, job);
            } else {
                self.waiting.push(job);
            }
        }
    }

    fn start(&mut self, bridge: &Arc<Bridge>, job: Job) {
        let begun = (job.session_id.clone(), job.lease_id.clone());
        self.at_work.insert(job.message_id, begun);
        let is_leftover = self.leftover.remove(&job.message_id);
        let bridge = Arc::clone(bridge);
        let work = async move {
            let message = job.message_id;
            let is_ours = !is_leftover || still_ours(&bridge, &job).await?;
            let is_settled = is_ours && work_on(&bridge, job).await?;
            bridge.signals.freed.notify_one();
            Ok(Ended { message, is_settled })
        };
        // Boxed, since to spawn a future is to move it several times, and this one is large.
        self.running.spawn(Box::pin(work));
    }

    /// Waits for one agent to end; true when what has come of its work is on its way.
    async fn ended(&mut self) -> Result<bool, PollerError> {
        let Some(ended) = self.running.join_next().await else { return Ok(true) };
        let Ended { message, is_settled } = ended??;
        self.at_work.remove(&message);
        Ok(is_settled)
    }

    /// Waits for all agents to end.
    async fn finish(&mut self) -> Result<(), PollerError> {
        while !self.is_idle() {
            self.ended().await?;
        }
        Ok(())
    }
}

/// Asks the relay about a lease of a former run; a message that is not ours any more is dropped.
async fn still_ours(bridge: &Bridge, job: &Job) -> Result<bool, PollerError> {
    let mut backoff = Backoff::new();
    loop {
        match lease::extend(bridge, &job.id(), Duration::ZERO).await? {
            Lease::Held { cancelled: false } => return Ok(true),
            Lease::Held { cancelled: true } => {
                settle_cancelled(bridge, job).await?;
                return Ok(false);
            }
            Lease::Lost => return Ok(false),
            Lease::Unknown(asked) => time::sleep(backoff.next(asked)).await,
        }
    }
}

/// Gives back a message that was cancelled while nobody was at work: what was written of its reply,
/// the relay knows.
async fn settle_cancelled(bridge: &Bridge, job: &Job) -> Result<(), PollerError> {
    let error = AgentError::Cancelled.to_string();
    let outcome = Outcome::Failed { error, retry_after_seconds: Some(0) };
    if let Some(outgoing) = bridge.queue.settle(job.id(), outcome).await? {
        bridge.signals.settled(outgoing);
    }
    Ok(())
}

/// Has a message answered; then no files are needed here any more but those that go with the reply.
/// True when there is an outcome.
async fn work_on(bridge: &Bridge, job: Job) -> Result<bool, PollerError> {
    let (message, has_files) = (job.message_id, !job.files.is_empty());
    let replied = answer(bridge, job).await?;
    match replied {
        Some(RepliedWith::Files) if has_files => bridge.files.remove_question(message).await,
        Some(RepliedWith::Files) => {}
        Some(RepliedWith::NoFiles) | None => bridge.files.remove(message).await,
    }
    Ok(replied.is_some())
}

/// Whether files wait to go with a reply.
enum RepliedWith {
    Files,
    NoFiles,
}

/// Asks the agent while showing what it writes and keeping the lease, and journals the outcome; `None`
/// when the lease was lost.
async fn answer(bridge: &Bridge, job: Job) -> Result<Option<RepliedWith>, PollerError> {
    let (id, attempts) = (job.id(), job.attempts);
    let (message, session) = (id.message, &id.session);
    let files = job.files.clone();
    let question = job.into_question();
    let draft = Draft::with_folder(bridge.files.of_reply(message)).in_queue(bridge.queue.lock());
    let outcome = tokio::select! {
        answer = ask(bridge, question, &files, &draft) => {
            Some(outcome(answer, message, &draft, attempts))
        }
        refused = show::run(bridge, &id, &draft) => refused?.map(refusal),
        lost = lease::keep(bridge, &id, &draft) => lost.map(|()| None)?,
    };
    let Some(outcome) = outcome else {
        warn!(message.id = %message, session.id = %session, "the lease was lost; the agent is ended");
        return Ok(None);
    };
    if let Outcome::Failed { error, retry_after_seconds } = &outcome {
        let for_good = retry_after_seconds.is_none();
        warn!(message.id = %message, session.id = %session, attempts, for_good, %error, "the agent failed");
    }
    let has_files = outcome.has_files();
    fault::point("poller: agent done, not journaled");
    let Some(outgoing) = bridge.queue.settle(id, outcome).await? else { return Ok(None) };
    fault::point("poller: outcome journaled, relay not told");
    bridge.signals.settled(outgoing);
    Ok(Some(if has_files { RepliedWith::Files } else { RepliedWith::NoFiles }))
}

/// Asks the agent once the files that go with the question are here.
async fn ask(
    bridge: &Bridge,
    mut question: Question,
    files: &[File],
    draft: &Draft,
) -> Result<String, AgentError> {
    let (session, message) = (&question.session_id, question.message_id);
    question.files = tokio::select! {
        fetched = bridge.files.fetch(&bridge.relay, session, message, files) => fetched?,
        () = draft.cancelled() => return Err(AgentError::Cancelled),
    };
    bridge.agent.write_answer(&question, draft).await
}

fn outcome(
    answer: Result<String, AgentError>,
    message: MessageId,
    draft: &Draft,
    attempts: u32,
) -> Outcome {
    let at = Timestamp::now();
    match answer {
        Ok(reply) => Outcome::Answered(Answer {
            reply,
            quick_replies: quick_replies(message, draft),
            files: files(message, draft),
            at,
            stopped: false,
        }),
        Err(AgentError::Cancelled) => Outcome::Answered(Answer {
            reply: draft.text(),
            quick_replies: Vec::new(),
            files: Vec::new(),
            at,
            stopped: true,
        }),
        Err(error) => Outcome::Failed {
            error: error.to_string(),
            retry_after_seconds: error.is_retryable().then(|| retry_seconds(&error, attempts)),
        },
    }
}

fn quick_replies(message: MessageId, draft: &Draft) -> Vec<String> {
    let offered = draft.quick_replies();
    if offered.cut {
        warn!(message.id = %message, "the agent's quick replies were cut to what the relay takes");
    }
    offered.texts
}

fn files(message: MessageId, draft: &Draft) -> Vec<ReplyFile> {
    let files = draft.files();
    for why in files.left_out {
        warn!(message.id = %message, why, "a file of the agent is left out of its reply");
    }
    files.kept
}

/// A reply that the relay will not take, whole or in pieces.
fn refusal(error: RelayError) -> Outcome {
    Outcome::Failed { error: error.to_string(), retry_after_seconds: None }
}

/// Twice as long after each try, and never shorter than the agent's service asks for.
fn retry_seconds(error: &AgentError, attempts: u32) -> u32 {
    let doubled = 1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(MAX_RETRY_SECONDS);
    let asked = error.retry_after().map_or(0, |wait| wait.as_secs());
    let asked = u32::try_from(asked).unwrap_or(u32::MAX).min(3_600);
    doubled.clamp(1, MAX_RETRY_SECONDS).max(asked)
}
