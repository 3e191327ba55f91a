//! Keeping a lease while an agent works, and hearing at once when the visitor cancels.

use std::time::Duration;

use postern_shared::LeaseId;
use tokio::time::{self, Instant};
use tracing::info;

use crate::agent::Draft;
use crate::poller::{Bridge, PollerError};
use crate::queue::JobId;
use crate::relay::RelayError;

/// When a lease is renewed first, at the latest: from then on the relay holds the call and answers
/// when the visitor cancels. Most replies are there before, and cost no renewal.
const FIRST_RENEWAL: Duration = Duration::from_millis(500);

/// What the relay says of a lease.
pub(crate) enum Lease {
    Held {
        /// Whether the visitor wants no reply any more.
        cancelled: bool,
    },
    Lost,
    /// It did not answer; it may ask for a wait.
    Unknown(Option<Duration>),
}

/// Renews the lease until it is lost, or until so much of it has passed without a renewal that the
/// relay may soon give the message to someone else: two agents must never work for one session.
pub(crate) async fn keep(bridge: &Bridge, job: &JobId, draft: &Draft) -> Result<(), PollerError> {
    let lease = bridge.pace.lease;
    let beat = lease / 6;
    let mut renewed = Instant::now();
    let mut next = renewed + beat.min(FIRST_RENEWAL);
    loop {
        time::sleep_until(next).await;
        let asked = Instant::now();
        let end = renewed + lease * 9 / 10;
        // There is nothing more to wait for once it is cancelled.
        let wait = if draft.is_cancelled() { Duration::ZERO } else { beat };
        match time::timeout_at(end, extend(bridge, job, wait)).await {
            Ok(Ok(Lease::Held { cancelled })) => {
                if cancelled {
                    draft.cancel();
                }
                renewed = asked;
                next = asked + beat;
            }
            Ok(Ok(Lease::Unknown(_))) => next = end.min(Instant::now() + lease / 20),
            Ok(Ok(Lease::Lost)) => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(_) => return give_up(bridge, job).await,
        }
    }
}

/// Renews a lease once; the relay holds the call up to `wait` unless the visitor cancels.
pub(crate) async fn extend(
    bridge: &Bridge,
    job: &JobId,
    wait: Duration,
) -> Result<Lease, PollerError> {
    let Some(lease) = bridge.queue.lease_of(job).await? else { return Ok(Lease::Lost) };
    match bridge.relay.extend(job.message, lease.clone(), bridge.pace.lease, wait).await {
        Ok(extended) => Ok(Lease::Held { cancelled: extended.cancelled }),
        Err(error) => judge(bridge, job, lease, error).await,
    }
}

/// What an error of a call under a lease says of the lease; the queue is told.
pub(crate) async fn judge(
    bridge: &Bridge,
    job: &JobId,
    lease: LeaseId,
    error: RelayError,
) -> Result<Lease, PollerError> {
    match error {
        RelayError::KeyRefused { .. } => Err(error.into()),
        RelayError::LeaseLost(_) => {
            bridge.queue.lose_lease(job.message, lease).await?;
            // A newer lease of our own may have come in while this one was asked about.
            let newer = bridge.queue.lease_of(job).await?;
            Ok(if newer.is_some() { Lease::Held { cancelled: false } } else { Lease::Lost })
        }
        RelayError::Settled(why) => {
            info!(message.id = %job.message, why, "nothing is left to do for a message");
            bridge.queue.finish(job.clone());
            Ok(Lease::Lost)
        }
        error => Ok(Lease::Unknown(error.retry_after())),
    }
}

/// Forgets a message whose lease was not renewed in time; the relay will hand it out again.
async fn give_up(bridge: &Bridge, job: &JobId) -> Result<(), PollerError> {
    if let Some(lease) = bridge.queue.lease_of(job).await? {
        bridge.queue.lose_lease(job.message, lease).await?;
    }
    Ok(())
}
