//! The sweeper: what the passing of time alone does to the inbox.

use std::time::Duration;

use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::store::{Now, Store, StoreError};

/// How long it waits when the store could not be written.
const RETRY: Duration = Duration::from_secs(1);

/// Sleeps until the next deadline, or until told of an earlier one; ends when cancelled.
pub(crate) async fn run(
    store: Store,
    clock: Clock,
    max_attempts: u32,
    metrics: Metrics,
    cancelled: CancellationToken,
) {
    let mut deadlines = store.next_deadline();
    let mut wait = Duration::ZERO;
    let mut swept_ms = i64::MIN;
    loop {
        tokio::select! {
            () = cancelled.cancelled() => return,
            changed = deadlines.changed() => if changed.is_err() { return },
            () = time::sleep(wait) => {
                let now = clock.now();
                if let Err(cause) = sweep(&store, max_attempts, swept_ms, now, &metrics).await {
                    warn!(error = %cause, "expired leases could not be swept");
                    wait = RETRY;
                    continue;
                }
                swept_ms = now.steady_ms;
            }
        }
        let left_ms = deadlines.borrow_and_update().saturating_sub(clock.now().steady_ms);
        wait = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0));
    }
}

async fn sweep(
    store: &Store,
    max_attempts: u32,
    since_ms: i64,
    now: Now,
    metrics: &Metrics,
) -> Result<(), StoreError> {
    let dead_letters = store.expire_leases(max_attempts, since_ms, now).await?;
    if dead_letters > 0 {
        info!(dead_letters, "messages were given up after their last lease");
        metrics.dead_letters.inc_by(dead_letters as u64);
    }
    Ok(())
}
