//! The queue's write-ahead log on its way to the disk.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

/// After so many commits the log is folded into the file.
const COMMITS_PER_CHECKPOINT: u32 = 256;

/// SQLite's log (`-wal`) by a handle of its own: nobody who reads or writes the queue waits for the disk.
/// What the log holds when it is synced is on the disk, whoever wrote it, and SQLite has the disk take it
/// before it uses the log anew.
#[derive(Debug)]
pub(super) struct Log {
    file: Mutex<File>,
    sync_is_due: AtomicBool,
    /// Commits since the log was folded.
    unfolded: AtomicU32,
}

impl Log {
    /// The log of a database that a connection has written to; it stays the same for as long as one is open.
    pub(super) fn of(database: &Path) -> io::Result<Self> {
        // As SQLite does: a link is followed, and the log lies beside what it leads to.
        let mut path = database.canonicalize()?.into_os_string();
        path.push("-wal");
        let file = Mutex::new(File::open(path)?);
        Ok(Self { file, sync_is_due: AtomicBool::new(false), unfolded: AtomicU32::new(0) })
    }

    pub(super) fn note_commit(&self) {
        self.unfolded.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether to call [`Log::sync`]; not when it is about to run.
    pub(super) fn asks_for_sync(&self) -> bool {
        !self.sync_is_due.swap(true, Ordering::AcqRel)
    }

    /// Has the disk take what was committed before.
    pub(super) fn sync(&self) -> io::Result<()> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        self.sync_is_due.store(false, Ordering::Release);
        file.sync_data()
    }

    /// Folds the log into the file once it is long.
    pub(super) fn fold(&self, connection: &Mutex<Connection>) -> rusqlite::Result<()> {
        if self.unfolded.load(Ordering::Relaxed) < COMMITS_PER_CHECKPOINT {
            return Ok(());
        }
        self.unfolded.store(0, Ordering::Relaxed);
        let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
    }
}
