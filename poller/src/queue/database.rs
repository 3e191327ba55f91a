//! The queue's file: its one connection, and how transactions run.

use std::mem;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postern_host::file::{self, FileLock};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use rusqlite_migration::{M, Migrations};
use tokio::{task, time};
use tracing::{debug, info, warn};

use super::job::JobId;
use super::log::Log;
use super::{QueueError, rows};

/// How long a start waits for what a former poller leaves behind: programs of its agent, which are killed
/// with it as soon as the system gets to it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long another program's lock is waited for at once; whoever waits stops every other call.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// How long to wait before a disk that took nothing is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How long an outcome waits for others to go to the disk with, and the row of a message that is done with
/// for others to go with: to have the disk take one takes the system as long as all the rest of a message.
const GATHER: Duration = Duration::from_millis(5);

/// A handle on the file; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Database {
    path: Arc<Path>,
    connection: Arc<Mutex<Connection>>,
    /// Messages that are done with, whose rows go with the next write and cost no commit of their own.
    finished: Arc<Mutex<Vec<JobId>>>,
    log: Arc<Log>,
    lock: Arc<FileLock>,
}

impl Database {
    pub(super) fn open(path: &Path) -> Result<Self, QueueError> {
        let lock = file::claim(path, PATIENCE)
            .map_err(|cause| QueueError::File { path: path.to_owned(), cause })?
            .ok_or_else(|| QueueError::InUse(path.to_owned()))?;
        let sqlite = |cause| QueueError::Sqlite { path: path.to_owned(), cause };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
        configure(&connection).map_err(sqlite)?;
        Migrations::new(vec![M::up(include_str!("../queue.sql"))])
            .to_latest(&mut connection)
            .map_err(|cause| QueueError::Schema { path: path.to_owned(), cause })?;
        rows::forget_long_parked(&connection).map_err(sqlite)?;
        let log =
            Log::of(path).map_err(|cause| QueueError::File { path: path.to_owned(), cause })?;
        Ok(Self {
            path: path.into(),
            connection: Arc::new(Mutex::new(connection)),
            finished: Arc::default(),
            log: Arc::new(log),
            lock: Arc::new(lock),
        })
    }

    /// What keeps other pollers from it.
    pub(super) fn lock(&self) -> Arc<FileLock> {
        Arc::clone(&self.lock)
    }

    /// Runs one transaction, again and again while the disk does not take it: an answer that is to
    /// be written down is nowhere else, and to start anew would be to ask the agent for it again.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Transaction<'_>) -> rusqlite::Result<T> + Send + Sync + 'static,
    ) -> Result<T, QueueError> {
        let work = Arc::new(work);
        let mut waited = false;
        loop {
            let work = Arc::clone(&work);
            match self.try_write(move |tx| work(tx)).await {
                Err(error) if error.is_retryable() => {
                    if !waited {
                        warn!(%error, "trying until it works");
                    }
                    waited = true;
                    time::sleep(RETRY).await;
                }
                done => {
                    if waited {
                        info!("the queue can be used again");
                    }
                    return done;
                }
            }
        }
    }

    /// Runs one transaction, here, since that takes less than to wake another thread; off the async thread
    /// when it has to wait for another.
    pub(super) async fn try_write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, QueueError> {
        let (log, finished) = (Arc::clone(&self.log), Arc::clone(&self.finished));
        let run = move |tx: Transaction<'_>| {
            let gone = mem::take(&mut *lock(&finished));
            let done = rows::remove(&tx, &gone).and_then(|()| work(&tx));
            let done = done.and_then(|result| tx.commit().map(|()| result));
            match done {
                Ok(_) => log.note_commit(),
                Err(_) => lock(&finished).extend(gone),
            }
            done
        };
        let failed = |cause| QueueError::Sqlite { path: self.path.to_path_buf(), cause };
        if let Ok(mut connection) = self.connection.try_lock()
            && let Ok(tx) = begin(&mut connection, Duration::ZERO)
        {
            return run(tx).map_err(failed);
        }
        let connection = Arc::clone(&self.connection);
        let ran = task::spawn_blocking(move || {
            let mut connection = lock(&connection);
            run(begin(&mut connection, LOCK_TIMEOUT)?)
        });
        ran.await?.map_err(failed)
    }

    /// The message's row goes with the next write, or by itself within milliseconds.
    pub(super) fn finish(&self, job: JobId) {
        let mut finished = lock(&self.finished);
        finished.push(job);
        if finished.len() == 1 {
            let database = self.clone();
            task::spawn(async move {
                time::sleep(GATHER).await;
                if let Err(error) = database.remove_finished().await {
                    warn!(%error, "messages that are done with stay in the queue");
                }
            });
        }
    }

    /// Removes the rows of the messages that are done with.
    pub(super) async fn remove_finished(&self) -> Result<(), QueueError> {
        self.write(|_| Ok(())).await
    }

    /// Has the disk take what was written, soon; whatever comes before it does goes with it.
    pub(super) fn sync_soon(&self) {
        if !self.log.asks_for_sync() {
            return;
        }
        let (connection, log) = (Arc::clone(&self.connection), Arc::clone(&self.log));
        task::spawn(async move {
            time::sleep(GATHER).await;
            let sync = move || {
                if let Err(error) = log.sync() {
                    warn!(%error, "the disk did not take an outcome; a loss of power may undo it");
                }
                if let Err(error) = log.fold(&connection) {
                    debug!(%error, "the queue's log was left for another time to fold in");
                }
            };
            task::spawn_blocking(sync).await
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins a transaction that waits so long for another program's lock.
fn begin(connection: &mut Connection, patience: Duration) -> rusqlite::Result<Transaction<'_>> {
    connection.busy_timeout(patience)?;
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(LOCK_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // The log is synced and folded apart from what is written to it.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // A statement is planned once, whatever values it is given; otherwise it may be planned anew for each.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}
