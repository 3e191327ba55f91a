//! The pull loop: leases as many messages as there are free agents, and commits them to the queue.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use postern_host::fault;
use postern_shared::poller::{LeasedMessage, NackRequest};
use postern_shared::{LeaseId, MessageId};
use tokio::{task, time};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::backoff::Backoff;
use crate::poller::{Bridge, PollerError};
use crate::relay::RelayError;

/// Ends when cancelled, or when the key is refused.
pub(crate) async fn run(
    bridge: Arc<Bridge>,
    cancelled: CancellationToken,
) -> Result<(), PollerError> {
    tokio::select! {
        () = cancelled.cancelled() => Ok(()),
        ended = pull_forever(&bridge) => ended,
    }
}

async fn pull_forever(bridge: &Bridge) -> Result<(), PollerError> {
    let mut backoff = Backoff::new();
    let mut away = false;
    let mut busy = bridge.queue.count_leased().await?;
    loop {
        let free = free_agents(bridge, busy).await?;
        let (asked, asked_at) = (Instant::now(), SystemTime::now());
        let leased = bridge.relay.lease(free, bridge.pace.wait, bridge.pace.lease).await;
        // The steady clock stands still while the host sleeps, and the other may be set back.
        let held_for = asked.elapsed().max(asked_at.elapsed().unwrap_or_default());
        match leased {
            Ok(leased) => {
                if away {
                    info!("the relay answers again");
                }
                away = false;
                backoff.reset();
                let leased = if held_for < bridge.pace.lease {
                    leased
                } else {
                    still_ours(bridge, leased).await
                };
                busy = if leased.is_empty() {
                    bridge.queue.count_leased().await?
                } else {
                    debug!(messages = leased.len(), "leased");
                    fault::point("poller: leased, not journaled");
                    take_in(bridge, leased).await?
                };
                // What was leased goes before the next call.
                task::yield_now().await;
            }
            Err(error @ RelayError::KeyRefused { .. }) => return Err(error.into()),
            Err(error) => {
                if !away {
                    warn!(%error, "no messages can be pulled; trying until it works");
                }
                away = true;
                time::sleep(backoff.next(error.retry_after())).await;
            }
        }
    }
}

/// Those whose lease holds. An answer that lay unread, as on a host that slept, may be older than its
/// leases, and its messages with another poller: asking an agent as well would be one too many.
async fn still_ours(bridge: &Bridge, leased: Vec<LeasedMessage>) -> Vec<LeasedMessage> {
    let mut ours = Vec::with_capacity(leased.len());
    for message in leased {
        let lease_id = message.lease_id.clone();
        match bridge.relay.extend(message.id, lease_id, bridge.pace.lease, Duration::ZERO).await {
            Ok(_) => ours.push(message),
            Err(error) => info!(message.id = %message.id, %error, "a lease came too late"),
        }
    }
    ours
}

/// Commits what was leased to the queue, and hands it on; tells how many messages are with an agent or
/// wait for one. What the queue's disk does not take is given back at once, perhaps to another poller,
/// and nothing more is leased until the disk does: each lease counts as a try.
async fn take_in(bridge: &Bridge, leased: Vec<LeasedMessage>) -> Result<usize, PollerError> {
    let leases: Vec<_> = leased.iter().map(|one| (one.id, one.lease_id.clone())).collect();
    match bridge.queue.take_in(leased).await {
        Err(error) if error.is_retryable() => {
            warn!(%error, messages = leases.len(), "messages are given back");
            for (message, lease_id) in leases {
                give_back(bridge, message, lease_id).await;
            }
            bridge.queue.writable().await?;
            Ok(bridge.queue.count_leased().await?)
        }
        taken_in => {
            let taken_in = taken_in?;
            fault::point("poller: journaled, agent not asked");
            taken_in.new.into_iter().for_each(|job| bridge.signals.leased(job));
            // An answer whose lease was lost may have waited for this one.
            if taken_in.known {
                bridge.signals.left.notify_one();
            }
            Ok(taken_in.busy)
        }
    }
}

async fn give_back(bridge: &Bridge, message: MessageId, lease_id: LeaseId) {
    let body = NackRequest {
        lease_id,
        error: "the poller could not write the message down".to_owned(),
        retry_after_seconds: None,
        dead_letter: None,
    };
    if let Err(error) = bridge.relay.nack(message, &body).await {
        debug!(message.id = %message, %error, "not given back; its lease will run out");
    }
}

/// How many agents are free when so many were `busy`; waits for the first.
async fn free_agents(bridge: &Bridge, mut busy: usize) -> Result<u32, PollerError> {
    loop {
        let free = bridge.pace.concurrency.saturating_sub(busy);
        if free > 0 {
            return Ok(u32::try_from(free).unwrap_or(u32::MAX).min(100));
        }
        bridge.signals.freed.notified().await;
        busy = bridge.queue.count_leased().await?;
    }
}
