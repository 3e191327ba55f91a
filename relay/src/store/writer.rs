//! The writer thread: the only connection that writes, and the group commit.
//!
//! Jobs that queue up while a commit syncs share the next one, so a lone request waits for nobody and a
//! crowd shares one sync. A job that fails takes no other with it: it runs in a savepoint of its own, or
//! has checked all there is to check before it writes. Callers are answered, and waiters woken, after
//! the commit, by a task: to wake another from out here costs a system call each.

use std::iter;
use std::ops::RangeInclusive;
use std::thread;

use postern_host::fault;
use postern_host::file::FileLock;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task;
use tracing::{debug, error};

use super::file::OpenError;
use super::quota::{self, SiteUse, SitesUse};
use super::signals::Changes;
use super::statements::Statements;
use super::{Announcer, SiteKey, StoreError};

/// How many writes may wait; one more is refused. At 15,000 a second, a quarter of a second's worth.
const QUEUE: usize = 4_096;

/// The part of it that visitors leave to those who fetch and answer their messages.
const LEFT_BY_VISITORS: usize = 512;

/// How many writes share a commit: half of those that wait, within these bounds. If all of a crowd waited for
/// one commit, nobody would come meanwhile to make up the next.
const BATCH: RangeInclusive<usize> = 32..=256;

/// How few writes are so few that those which come while they run still join them, such as the lease
/// right behind a message.
const ALONE: usize = 16;

/// After so many commits the log is folded into the file, however short it is: one after another they write
/// the same few pages, and a page is looked for among all its former versions in the log.
const COMMITS_PER_CHECKPOINT: u32 = 128;

/// Statements kept prepared; more than the store has.
const STATEMENTS: usize = 64;

/// What a job works with: the connection inside its transaction, and a note of what it changed.
pub(super) struct Txn<'c> {
    /// For what readers ask, too.
    pub(super) conn: &'c Connection,
    /// For what only the writer does.
    pub(super) statements: Statements<'c>,
    /// What the jobs before it, of the same commit, made of their sites' limits.
    pub(super) sites_use: SitesUse,
    pub(super) site_use: Option<(SiteKey, SiteUse)>,
    /// How many messages it put into sites' inboxes, or, below zero, took out.
    pub(super) opened: Vec<(SiteKey, i64)>,
    pub(super) changes: Changes,
    /// How many rows it wrote and took back.
    undone: u64,
}

impl<'c> Txn<'c> {
    fn new(conn: &'c Connection) -> Self {
        let (statements, sites_use) = (Statements::of(conn), SitesUse::default());
        let (site_use, opened, changes) = (None, Vec::new(), Changes::default());
        Self { conn, statements, sites_use, site_use, opened, changes, undone: 0 }
    }

    /// Forgets what the last job changed.
    fn forget(&mut self) {
        self.site_use = None;
        self.opened.clear();
        self.changes = Changes::default();
        self.undone = 0;
    }

    /// Adds what the last job changed to what those before it did.
    fn keep(&mut self, changes: &mut Changes) {
        changes.append(&mut self.changes);
        self.sites_use.keep(self.site_use.take(), self.opened.drain(..));
        self.undone = 0;
    }

    /// Runs the part of a job that may fail after it has written; its failure is the job's.
    pub(super) fn undoing<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.statements.get("SAVEPOINT job")?.execute([])?;
        let before = self.conn.total_changes();
        let result = work(self);
        if result.is_err() {
            self.statements.get("ROLLBACK TO job")?.execute([])?;
            self.undone += self.conn.total_changes() - before;
        }
        self.statements.get("RELEASE job")?.execute([])?;
        result
    }
}

/// One caller's write, from the queue to its answer.
trait Job: Send {
    /// Whether an agent can go to work once it is answered.
    fn is_for_agent(&self) -> bool;
    /// Runs it; tells whether it could be.
    fn run(&mut self, txn: &mut Txn<'_>) -> bool;
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Write<T, F> {
    is_for_agent: bool,
    work: Option<F>,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Write<T, F>
where
    T: Send,
    F: FnOnce(&mut Txn<'_>) -> Result<T, StoreError> + Send,
{
    fn is_for_agent(&self) -> bool {
        self.is_for_agent
    }

    fn run(&mut self, txn: &mut Txn<'_>) -> bool {
        self.result = self.work.take().map(|work| work(txn));
        matches!(self.result, Some(Ok(_)))
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
        let (committed, commits) = mpsc::unbounded_channel();
        task::spawn(tell(commits, announcer));
        thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || {
                // Dropped last, even by a panic: it tells that the thread has ended.
                let _alive = thread_alive;
                let _lock = lock;
                write_until_closed(connection, queue, &committed);
            })
            .map_err(OpenError::Thread)?;
        Ok(Self { commands, alive })
    }

    /// Whether there is no room for one more write of a visitor.
    pub(super) fn is_crowded(&self) -> bool {
        self.commands.capacity() <= LEFT_BY_VISITORS
    }

    /// Runs one transaction; the answer comes after its commit. It is queued at once, and a caller that goes
    /// away stops nothing.
    pub(super) fn run<T, W>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<T, StoreError>> + Send + use<T, W>
    where
        T: Send + 'static,
        W: FnOnce(&mut Txn<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.run_checked(move |txn: &mut Txn<'_>| txn.undoing(work))
    }

    /// The same for work that fails before its first write, if at all: a savepoint takes a copy of each
    /// page that is written to. If it fails later, nothing of its whole commit is kept.
    pub(super) fn run_checked<T, W>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<T, StoreError>> + Send + use<T, W>
    where
        T: Send + 'static,
        W: FnOnce(&mut Txn<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.queue(work, false)
    }

    /// The same for what an agent waits for: of all that its commit brings, it is told first.
    pub(super) fn run_for_agent<T, W>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<T, StoreError>> + Send + use<T, W>
    where
        T: Send + 'static,
        W: FnOnce(&mut Txn<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.queue(work, true)
    }

    fn queue<T, W>(
        &self,
        work: W,
        is_for_agent: bool,
    ) -> impl Future<Output = Result<T, StoreError>> + Send + use<T, W>
    where
        T: Send + 'static,
        W: FnOnce(&mut Txn<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Write { is_for_agent, work: Some(work), result: None, reply });
        let queued = self.commands.try_send(Command::Run(job)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        });
        // Not a future that queues: it would carry all that is to be written through every await.
        async move {
            queued?;
            answer.await.map_err(|_| StoreError::Closed)?
        }
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
    connection: Connection,
    mut queue: mpsc::Receiver<Command>,
    committed: &mpsc::UnboundedSender<Commit>,
) {
    let (mut is_open, mut unfolded) = (true, 0);
    let mut txn = Txn::new(&connection);
    while is_open {
        let Some(Command::Run(first)) = queue.blocking_recv() else { break };
        let others = (queue.len() / 2).clamp(*BATCH.start(), *BATCH.end());
        let mut come = || match queue.try_recv().ok()? {
            Command::Run(job) => Some(job),
            Command::Close => {
                is_open = false;
                None
            }
        };
        let mut jobs = vec![first];
        jobs.extend(iter::from_fn(&mut come).take(others));
        let done = run_jobs(&mut txn, &mut jobs, &mut come);
        if done.as_ref().is_err_and(is_locked) {
            // Whoever has queued up meanwhile waited for the lock as well: nobody waits for it twice.
            jobs.extend(iter::from_fn(come));
        }
        match done {
            Ok(changes) => {
                // Nobody is left to tell once the runtime has ended.
                let _ = committed.send(Commit { jobs, changes });
                unfolded += 1;
                if unfolded == COMMITS_PER_CHECKPOINT {
                    fold(&connection, "PRAGMA wal_checkpoint(PASSIVE)");
                    unfolded = 0;
                }
            }
            Err(cause) => refuse(jobs, &cause),
        }
    }
    // It spares the next start the reading of the log.
    fold(&connection, "PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE)");
}

/// Folds the log into the file, which is not needed for safety.
fn fold(connection: &Connection, sql: &str) {
    if let Err(cause) = connection.execute_batch(sql) {
        debug!(error = %cause, "the log was left for another time to fold in");
    }
}

/// What is on disk, and who is to hear of it.
struct Commit {
    jobs: Vec<Box<dyn Job>>,
    changes: Changes,
}

/// Tells of each commit in turn, first those of whom others wait for more: an agent for its message, then a
/// page for what is new, then whoever wrote.
async fn tell(mut commits: mpsc::UnboundedReceiver<Commit>, announcer: Announcer) {
    while let Some(Commit { mut jobs, changes }) = commits.recv().await {
        jobs.extract_if(.., |job| job.is_for_agent()).for_each(|job| job.answer(Ok(())));
        announcer.announce(changes);
        jobs.into_iter().for_each(|job| job.answer(Ok(())));
    }
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

/// Runs the jobs, and those that come meanwhile, in one transaction and commits it.
fn run_jobs(
    txn: &mut Txn<'_>,
    jobs: &mut Vec<Box<dyn Job>>,
    come: &mut impl FnMut() -> Option<Box<dyn Job>>,
) -> rusqlite::Result<Changes> {
    txn.statements.get("BEGIN IMMEDIATE")?.execute([])?;
    let committed = run_begun(txn, jobs, come);
    if committed.is_err() && !txn.conn.is_autocommit() {
        // If it stays open, the next cannot begin, and says so.
        let _ = txn.statements.get("ROLLBACK").and_then(|rollback| rollback.execute([]));
    }
    committed
}

fn run_begun(
    txn: &mut Txn<'_>,
    jobs: &mut Vec<Box<dyn Job>>,
    come: &mut impl FnMut() -> Option<Box<dyn Job>>,
) -> rusqlite::Result<Changes> {
    let mut changes = Changes::default();
    txn.forget();
    txn.sites_use.clear();
    let mut next = 0;
    loop {
        if next == jobs.len() && next < ALONE {
            jobs.extend(come());
        }
        let Some(job) = jobs.get_mut(next) else { break };
        next += 1;
        let before = txn.conn.total_changes();
        let done = job.run(txn);
        // A full disk rolls everything back by itself; what follows must not run outside.
        if txn.conn.is_autocommit() {
            return Err(aborted("the database rolled the transaction back"));
        }
        if done {
            txn.keep(&mut changes);
        } else if txn.conn.total_changes() - before != txn.undone {
            return Err(aborted("a write failed halfway"));
        } else {
            txn.forget();
        }
    }
    quota::note(&mut txn.statements, &txn.sites_use)?;
    fault::point("relay: written, not committed");
    txn.statements.get("COMMIT")?.execute([])?;
    fault::point("relay: committed, nobody told");
    Ok(changes)
}

fn aborted(why: &str) -> rusqlite::Error {
    let abort = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT);
    rusqlite::Error::SqliteFailure(abort, Some(why.into()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;

    use super::super::{LeaseTerms, Now, SessionKey, Store};
    use super::*;
    use crate::sites::Site;

    fn store(folder: &tempfile::TempDir) -> Store {
        let now = Now { wall_ms: 1_000, steady_ms: 1_000 };
        let sites = [Site::only(None).stored()];
        Store::open(&folder.path().join("relay.db"), &sites, now).unwrap().0
    }

    fn write_and_fail(txn: &mut Txn<'_>) -> Result<(), StoreError> {
        txn.conn.execute("UPDATE site SET day = 7", [])?;
        Err(StoreError::UnknownMessage)
    }

    async fn day(store: &Store) -> i64 {
        let look = |txn: &mut Txn<'_>| {
            Ok(txn.conn.query_row("SELECT day FROM site", [], |row| row.get(0))?)
        };
        store.writer.run(look).await.unwrap()
    }

    #[tokio::test]
    async fn what_a_job_wrote_before_it_failed_is_undone() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let failed = store.writer.run(write_and_fail).await;
        assert!(matches!(failed, Err(StoreError::UnknownMessage)), "{failed:?}");
        assert_eq!(day(&store).await, 0);
    }

    #[tokio::test]
    async fn a_job_that_was_to_fail_before_it_writes_and_did_not_takes_its_commit_along() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let failed = store.writer.run_checked(write_and_fail).await;
        assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
        assert_eq!(day(&store).await, 0);
    }

    #[tokio::test]
    async fn an_agent_is_told_before_the_page_and_the_page_before_whoever_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let session = SessionKey(1);
        let site = *store.sites.values().next().unwrap();
        let (begin, begun) = std::sync::mpsc::channel();
        let (told, mut heard) = mpsc::unbounded_channel();
        let tell = |what: &'static str, when: BoxFuture<'static, ()>| {
            let told = told.clone();
            task::spawn(when.map(move |()| told.send(what)));
        };
        let mut page = store.subscribe(session);
        let written = store.writer.run(move |txn| {
            txn.changes.stored(session);
            begun.recv().map_err(|_| StoreError::Closed)
        });
        tell("whoever wrote", written.map(Result::unwrap).boxed());
        tell("the page", async move { page.stored().await }.boxed());
        let terms = LeaseTerms { limit: 1, lasts: Duration::from_secs(9), max_attempts: 1 };
        let leased = store.lease_in_turn(site, terms, Now { wall_ms: 1_000, steady_ms: 1_000 });
        tell("the agent", leased.map(|leased| drop(leased.unwrap())).boxed());
        begin.send(()).unwrap();
        for expected in ["the agent", "the page", "whoever wrote"] {
            assert_eq!(heard.recv().await, Some(expected));
        }
    }
}
