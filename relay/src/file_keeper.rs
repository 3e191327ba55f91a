//! The keeper of files: removes those that went with nothing, and those that a crash left behind.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use postern_shared::FileId;
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

/// Removes what a crash left among the files that were `found` at the start; then looks as often as
/// files may wait, so that one that goes with nothing is gone after twice that time at most. Ends
/// when cancelled.
pub(crate) async fn run(
    store: Store,
    files: Files,
    found: Vec<FileId>,
    clock: Clock,
    wait: Duration,
    cancelled: CancellationToken,
) {
    warn_of(remove_unknown(&store, &files, found).await);
    loop {
        warn_of(sweep(&store, &files, clock, wait).await);
        tokio::select! {
            () = cancelled.cancelled() => return,
            () = time::sleep(wait) => {}
        }
    }
}

fn warn_of(outcome: Result<(), KeeperError>) {
    if let Err(cause) = outcome {
        warn!(error = %cause, "files that nobody wants could not be removed");
    }
}

async fn remove_unknown(
    store: &Store,
    files: &Files,
    found: Vec<FileId>,
) -> Result<(), KeeperError> {
    let known: HashSet<FileId> = store.known_files().await?.into_iter().collect();
    let unknown: Vec<_> = found.into_iter().filter(|id| !known.contains(id)).collect();
    Ok(files.remove(&unknown).await?)
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
