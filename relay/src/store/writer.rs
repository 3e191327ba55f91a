//! The writer thread: the only connection that writes, and the group commit.
//!
//! Jobs that queue up while a commit syncs share the next one, so a lone request waits for nobody
//! and a crowd shares one sync. Each job runs in its own savepoint: one that fails takes no other
//! with it. Callers are answered, and waiters woken, after the commit.

use std::thread;

use postern_host::fault;
use postern_host::file::FileLock;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, error};

use super::file::OpenError;
use super::quota::{self, SiteUse, SitesUse};
use super::signals::Changes;
use super::{Announcer, SiteKey, StoreError};

/// How many writes may wait; one more is refused. At 15,000 a second, a quarter of a second's worth.
const QUEUE: usize = 4_096;

/// The part of it that visitors leave to those who fetch and answer their messages.
const LEFT_BY_VISITORS: usize = 512;

/// The most writes that share a commit.
const BATCH: usize = 256;

/// Statements kept prepared; more than the store has.
const STATEMENTS: usize = 64;

/// What a job works with: the connection inside its transaction, and a note of what it changed.
pub(super) struct Txn<'a> {
    pub(super) conn: &'a Connection,
    /// What the jobs before it, of the same commit, made of their sites' limits.
    pub(super) sites_use: &'a SitesUse,
    pub(super) site_use: Option<(SiteKey, SiteUse)>,
    pub(super) changes: Changes,
}

impl<'a> Txn<'a> {
    fn new(conn: &'a Connection, sites_use: &'a SitesUse) -> Self {
        Self { conn, sites_use, site_use: None, changes: Changes::default() }
    }
}

/// One caller's write, from the queue to its answer.
trait Job: Send {
    fn run(&mut self, txn: &mut Txn<'_>);
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Write<T, F> {
    work: Option<F>,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Write<T, F>
where
    T: Send,
    F: FnOnce(&mut Txn<'_>) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, txn: &mut Txn<'_>) {
        self.result = self.work.take().map(|work| in_savepoint(txn, work));
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let result = match committed {
            Ok(()) => self.result.unwrap_or(Err(StoreError::Closed)),
            Err(error) => Err(error),
        };
        // A caller that went away is normal.
        let _ = self.reply.send(result);
    }
}

enum Command {
    Run(Box<dyn Job>),
    Close,
}

/// Hands jobs to the writer thread.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    commands: mpsc::Sender<Command>,
    alive: watch::Receiver<()>,
}

impl Writer {
    pub(super) fn spawn(
        connection: Connection,
        lock: FileLock,
        announcer: Announcer,
    ) -> Result<Self, OpenError> {
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        let (commands, queue) = mpsc::channel(QUEUE);
        let (thread_alive, alive) = watch::channel(());
        let runtime = Handle::current();
        thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || {
                // Dropped last, even by a panic: it tells that the thread has ended.
                let _alive = thread_alive;
                let _lock = lock;
                write_until_closed(connection, queue, &announcer, &runtime);
            })
            .map_err(OpenError::Thread)?;
        Ok(Self { commands, alive })
    }

    /// Whether there is no room for one more write of a visitor.
    pub(super) fn is_crowded(&self) -> bool {
        self.commands.capacity() <= LEFT_BY_VISITORS
    }

    /// Runs one transaction and returns after its commit. A caller that goes away stops nothing.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Txn<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Write { work: Some(work), result: None, reply });
        self.commands.try_send(Command::Run(job)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    pub(super) async fn closed(&self) {
        let mut alive = self.alive.clone();
        while alive.changed().await.is_ok() {}
    }

    pub(super) async fn close(&self) {
        let _ = self.commands.send(Command::Close).await;
        self.closed().await;
    }
}

fn write_until_closed(
    mut connection: Connection,
    mut queue: mpsc::Receiver<Command>,
    announcer: &Announcer,
    runtime: &Handle,
) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut open = true;
    while open && queue.blocking_recv_many(&mut batch, BATCH) > 0 {
        let mut jobs = take_jobs(&mut batch, &mut open);
        let committed = run_jobs(&mut connection, &mut jobs);
        if committed.as_ref().is_err_and(is_locked) {
            // Whoever has queued up meanwhile waited for the lock as well: nobody waits for it twice.
            while let Ok(command) = queue.try_recv() {
                batch.push(command);
            }
            jobs.append(&mut take_jobs(&mut batch, &mut open));
        }
        match committed {
            Ok(changes) => {
                answer(jobs, runtime);
                announcer.announce(changes);
            }
            Err(cause) => refuse(jobs, &cause),
        }
    }
    // Not needed for safety: it only spares the next start the reading of the log.
    let folded = connection.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE);");
    if let Err(cause) = folded {
        debug!(error = %cause, "the log was left for the next start to fold in");
    }
}

fn take_jobs(commands: &mut Vec<Command>, open: &mut bool) -> Vec<Box<dyn Job>> {
    let mut jobs = Vec::with_capacity(commands.len());
    for command in commands.drain(..) {
        match command {
            Command::Run(job) => jobs.push(job),
            Command::Close => *open = false,
        }
    }
    jobs
}

/// Tells everyone that their write is on disk. To wake a task from out here costs a system call; so the
/// many are woken by one task, from within.
fn answer(jobs: Vec<Box<dyn Job>>, runtime: &Handle) {
    let answer = move || jobs.into_iter().for_each(|job| job.answer(Ok(())));
    runtime.spawn(async move { answer() });
}

/// Tells everyone that nothing was written.
fn refuse(jobs: Vec<Box<dyn Job>>, cause: &rusqlite::Error) {
    error!(error = %cause, writes = jobs.len(), "a commit failed; its callers are told");
    for job in jobs {
        job.answer(Err(StoreError::Unavailable(cause.to_string())));
    }
}

/// Whether another process held the file's lock for longer than is waited for it.
fn is_locked(cause: &rusqlite::Error) -> bool {
    cause.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

/// Runs the jobs in one transaction and commits it.
fn run_jobs(connection: &mut Connection, jobs: &mut [Box<dyn Job>]) -> rusqlite::Result<Changes> {
    let (mut changes, mut sites_use) = (Changes::default(), SitesUse::default());
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for job in jobs {
        let mut txn = Txn::new(&transaction, &sites_use);
        job.run(&mut txn);
        let (of_job, site_use) = (txn.changes, txn.site_use);
        changes.merge(of_job);
        sites_use.keep(site_use);
        // A full disk rolls everything back by itself; what follows must not run outside.
        if transaction.is_autocommit() {
            return Err(rolled_back());
        }
    }
    quota::note(&transaction, &sites_use)?;
    fault::point("relay: written, not committed");
    transaction.commit()?;
    fault::point("relay: committed, nobody told");
    Ok(changes)
}

fn rolled_back() -> rusqlite::Error {
    let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
    rusqlite::Error::SqliteFailure(full, Some("the database rolled the transaction back".into()))
}

/// Runs one job so that its failure undoes its own writes, and wakes nobody.
fn in_savepoint<T>(
    txn: &mut Txn<'_>,
    work: impl FnOnce(&mut Txn<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    txn.conn.prepare_cached("SAVEPOINT job")?.execute([])?;
    let result = work(txn);
    if result.is_err() {
        *txn = Txn::new(txn.conn, txn.sites_use);
        txn.conn.prepare_cached("ROLLBACK TO job")?.execute([])?;
    }
    txn.conn.prepare_cached("RELEASE job")?.execute([])?;
    result
}
