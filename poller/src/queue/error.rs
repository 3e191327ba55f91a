//! Why the queue cannot be used.

use std::io;
use std::path::PathBuf;

use tokio::task;

use crate::sqlite;

/// Why the queue cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The file or its folder.
    #[error("the queue {} cannot be opened: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Another poller has it.
    #[error("the queue {} is in use by another poller; each poller needs its own", .0.display())]
    InUse(PathBuf),
    /// Written by a newer version, or some other program's database.
    #[error("the queue {} does not fit this version of the poller: {cause}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        cause: rusqlite_migration::Error,
    },
    /// The database.
    #[error("the queue {} cannot be used: {cause}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        cause: rusqlite::Error,
    },
    /// A query did not end.
    #[error("the queue's task failed: {0}")]
    Task(#[from] task::JoinError),
}

impl QueueError {
    /// Whether the same call may succeed later: the disk is full, or another program has the lock.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Sqlite { cause, .. } if sqlite::may_pass(cause))
    }
}
