//! The pull loop: leases as many messages as there are free agents, and commits them to the queue.

use std::sync::Arc;

use postern_host::fault;
use tokio::time;
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
    loop {
        let free = free_agents(bridge).await?;
        let leased = bridge.relay.lease(free, bridge.pace.wait, bridge.pace.lease).await;
        match leased {
            Ok(leased) => {
                if away {
                    info!("the relay answers again");
                }
                away = false;
                backoff.reset();
                if !leased.is_empty() {
                    debug!(messages = leased.len(), "leased");
                    fault::point("poller: leased, not journaled");
                    bridge.queue.take_in(leased).await?;
                    fault::point("poller: journaled, agent not asked");
                    bridge.signals.leased.notify_one();
                }
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

/// How many agents are free; waits for the first.
async fn free_agents(bridge: &Bridge) -> Result<u32, PollerError> {
    loop {
        let freed = bridge.signals.freed.notified();
        let busy = bridge.queue.count_leased().await?;
        let free = bridge.pace.concurrency.saturating_sub(busy);
        if free > 0 {
            return Ok(u32::try_from(free).unwrap_or(u32::MAX).min(100));
        }
        freed.await;
    }
}
