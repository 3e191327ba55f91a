//! The running poller: three loops joined by the durable queue.
//!
//! Pull leases messages into the queue, work asks the agent, post tells the relay. Each hands what it
//! has put into the queue to the next, to spare it a look, and otherwise they share nothing but the
//! queue, so each can die and resume.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::agent::Agent;
use crate::files::Folder;
use crate::queue::{Job, Outgoing, Queue, QueueError};
use crate::relay::{Relay, RelayError};
use crate::{post, pull, work};

/// How long agents at work and replies on their way may take after the end was asked for.
const GRACE: Duration = Duration::from_secs(10);

/// What a poller needs to run.
#[derive(Debug)]
pub struct Config {
    /// The relay and the key for it.
    pub relay: Relay,
    /// The queue's file.
    pub queue: PathBuf,
    /// Who answers.
    pub agent: Agent,
    /// How the loops go.
    pub pace: Pace,
}

/// How the loops go.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How many agents run at once.
    pub concurrency: usize,
    /// How many turns of the conversation an agent is given.
    pub history: u32,
    /// How long a lease lasts; renewed at a third of it while an agent works.
    pub lease: Duration,
    /// How long the relay holds a call when nothing waits.
    pub wait: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            concurrency: 8,
            history: 40,
            lease: Duration::from_secs(60),
            wait: Duration::from_secs(25),
        }
    }
}

/// Why a poller ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum PollerError {
    /// The key is no good; trying again would not make it so.
    #[error("{0}; set POSTERN_API_KEY to the key the relay was started with")]
    KeyRefused(RelayError),
    /// The queue cannot be opened, or is broken: going on would ask the agent twice.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A loop ended that never should.
    #[error("a loop of the poller failed: {0}")]
    Loop(#[from] tokio::task::JoinError),
}

/// What the loops share.
#[derive(Debug)]
pub(crate) struct Bridge {
    pub(crate) relay: Relay,
    pub(crate) queue: Queue,
    pub(crate) agent: Agent,
    pub(crate) files: Folder,
    pub(crate) pace: Pace,
    pub(crate) signals: Signals,
}

/// What a loop tells the others.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Messages for the agent; pull leases no more of them than there are free agents.
    leased: mpsc::UnboundedSender<Job>,
    /// Outcomes for the relay, as many as are told at once; those beyond are found in the queue.
    settled: mpsc::Sender<Outgoing>,
    /// The queue holds an outcome that was handed to nobody.
    pub(crate) left: Notify,
    /// An agent is free.
    pub(crate) freed: Notify,
}

impl Signals {
    fn new() -> (Self, mpsc::UnboundedReceiver<Job>, mpsc::Receiver<Outgoing>) {
        let (leased, jobs) = mpsc::unbounded_channel();
        let (settled, outcomes) = mpsc::channel(post::AT_ONCE);
        let signals = Self { leased, settled, left: Notify::new(), freed: Notify::new() };
        (signals, jobs, outcomes)
    }

    /// Hands a message that is in the queue to the work loop. One that has ended finds it there when
    /// it is started again.
    pub(crate) fn leased(&self, job: Job) {
        let _ = self.leased.send(job);
    }

    /// Hands an outcome that is in the queue to the post loop.
    pub(crate) fn settled(&self, outgoing: Outgoing) {
        if self.settled.try_send(outgoing).is_err() {
            self.left.notify_one();
        }
    }
}

/// Runs until cancelled or failed. Cancelled, it leases nothing more, lets agents at work end for a
/// few seconds, and posts what they said; the rest waits in the queue for the next start.
///
/// # Errors
/// [`PollerError`].
pub async fn run(config: Config, cancelled: CancellationToken) -> Result<(), PollerError> {
    let history = if config.agent.is_given_history() { config.pace.history } else { 0 };
    let queue = Queue::open(&config.queue)?.with_history(history);
    let files = Folder::of_queue(&config.queue, &queue.answered().await?).await;
    let files = files.map_err(|cause| QueueError::File { path: config.queue, cause })?;
    let (signals, jobs, outcomes) = Signals::new();
    let bridge = Arc::new(Bridge {
        queue,
        files,
        relay: config.relay,
        agent: config.agent,
        pace: config.pace,
        signals,
    });
    info!(relay = %bridge.relay.address(), "pulling messages");
    let settled = CancellationToken::new();
    let mut posting = JoinSet::new();
    posting.spawn(post::run(Arc::clone(&bridge), outcomes, settled.clone()));
    let mut asking = JoinSet::new();
    asking.spawn(pull::run(Arc::clone(&bridge), cancelled.clone()));
    asking.spawn(work::run(Arc::clone(&bridge), jobs, cancelled.clone(), GRACE));

    // The first loop to fail ends the others: half a poller does not go on.
    let ended = tokio::select! {
        ended = ended_well(&mut asking) => ended,
        ended = ended_well(&mut posting) => ended,
    };
    asking.shutdown().await;
    ended?;
    settled.cancel();
    let posted = tokio::time::timeout(GRACE, ended_well(&mut posting)).await;
    posted.unwrap_or(Ok(()))
}

/// Waits for all of these loops, or for the first that fails.
async fn ended_well(loops: &mut JoinSet<Result<(), PollerError>>) -> Result<(), PollerError> {
    while let Some(ended) = loops.join_next().await {
        ended??;
    }
    Ok(())
}

impl From<RelayError> for PollerError {
    /// Only a refused key ends the poller; the loops handle every other error.
    fn from(error: RelayError) -> Self {
        Self::KeyRefused(error)
    }
}
