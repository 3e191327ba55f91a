//! The keeper of files: removes those that went with nothing.

use std::io;
use std::time::Duration;

use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::files::Files;
use crate::store::{Store, StoreError};

/// Why files were not removed; the next start does what is left.
#[derive(Debug, thiserror::Error)]
enum KeeperError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the folder of files: {0}")]
    Folder(#[from] io::Error),
}

/// Looks as often as files may wait, so that one that goes with nothing is gone after twice that time
/// at most. Ends when cancelled.
pub(crate) async fn run(
    store: Store,
    files: Files,
    clock: Clock,
    wait: Duration,
    cancelled: CancellationToken,
) {
    loop {
        if let Err(cause) = sweep(&store, &files, clock, wait).await {
            warn!(error = %cause, "files that nobody wants could not be removed");
        }
        tokio::select! {
            () = cancelled.cancelled() => return,
            () = time::sleep(wait) => {}
        }
    }
}

async fn sweep(
    store: &Store,
    files: &Files,
    clock: Clock,
    wait: Duration,
) -> Result<(), KeeperError> {
    let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
    let swept = store.sweep_files(clock.now().steady_ms.saturating_sub(wait_ms)).await?;
    if !swept.is_empty() {
        info!(files = swept.len(), "files that went with no message were removed");
    }
    Ok(files.remove(&swept).await?)
}
