//! Broca's database: a file of another program, used as that program uses it and never altered in
//! its form.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use postern_shared::Uid;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::Mutex;
use tokio::{task, time};
use tracing::{info, warn};

use super::entry::{self, Entry, State};
use super::letta::LettaIds;
use super::visitor;
use crate::agent::{AgentError, Question};
use crate::one_line::one_line;
use crate::sqlite;

/// How long a lock is waited for at once; whoever waits is not heard until then.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// How long to wait before what another program was in the way of is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// What is read and written, by table.
const TABLES: [(&str, &[&str]); 4] = [
    (
        "letta_users",
        &["id", "created_at", "last_active", "letta_identity_id", "letta_block_id", "is_active"],
    ),
    (
        "platform_profiles",
        &[
            "id",
            "letta_user_id",
            "platform",
            "platform_user_id",
            "username",
            "display_name",
            "metadata",
            "created_at",
            "last_active",
        ],
    ),
    (
        "messages",
        &[
            "id",
            "letta_user_id",
            "platform_profile_id",
            "role",
            "message",
            "timestamp",
            "processed",
            "agent_response",
        ],
    ),
    ("queue", &["id", "letta_user_id", "message_id", "status", "attempts", "timestamp"]),
];

/// One connection, for one question: a file that takes the place of another is found by the next.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    /// What was begun ends before what comes later, also when nobody waits for it any more.
    connection: Arc<Mutex<Connection>>,
}

impl Database {
    /// Opens a file that must be there.
    pub(super) async fn open(path: &Path) -> Result<Self, AgentError> {
        let unusable = |failure| unusable(path, failure);
        let opened = {
            let path = path.to_owned();
            task::spawn_blocking(move || open(&path)).await
        };
        let connection = opened.map_err(Failure::Task).flatten().map_err(unusable)?;
        Ok(Self { path: path.to_owned(), connection: Arc::new(Mutex::new(connection)) })
    }

    /// Puts a message into the queue, or finds it there.
    pub(super) async fn enqueue(
        &self,
        question: &Question,
        letta_ids: LettaIds,
    ) -> Result<Entry, AgentError> {
        let question = question.clone();
        self.write(move |tx| entry::enqueue(tx, &question, &letta_ids)).await
    }

    /// How far Broca is with a message.
    pub(super) async fn state(&self, entry: Entry) -> Result<State, AgentError> {
        self.run(TransactionBehavior::Deferred, move |tx| entry::state(tx, entry)).await
    }

    /// Takes a message back unless Broca has begun with it.
    pub(super) async fn withdraw(&self, question: &Question) -> Result<(), AgentError> {
        let question = question.clone();
        self.write(move |tx| entry::withdraw(tx, &question)).await
    }

    /// Whether a visitor's identity and block are known.
    pub(super) async fn has_letta_ids(&self, uid: &Uid) -> Result<bool, AgentError> {
        let uid = uid.clone();
        self.run(TransactionBehavior::Deferred, move |tx| visitor::has_letta_ids(tx, &uid)).await
    }

    /// Whether every table and column is there, and writing works.
    pub(super) async fn check(&self) -> Result<(), AgentError> {
        let checked = self.try_run(TransactionBehavior::Immediate, |tx| {
            sqlite::write_a_page(tx)?;
            missing(tx)
        });
        match checked.await {
            Ok(None) => Ok(()),
            Ok(Some(missing)) => Err(unusable(&self.path, missing)),
            Err(failure) => Err(unusable(&self.path, failure)),
        }
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Transaction<'_>) -> rusqlite::Result<T> + Send + Sync + 'static,
    ) -> Result<T, AgentError> {
        self.run(TransactionBehavior::Immediate, work).await
    }

    /// Runs one transaction, again and again while another program is in the way.
    async fn run<T: Send + 'static>(
        &self,
        behavior: TransactionBehavior,
        work: impl Fn(&Transaction<'_>) -> rusqlite::Result<T> + Send + Sync + 'static,
    ) -> Result<T, AgentError> {
        let work = Arc::new(work);
        let mut waited = false;
        loop {
            let work = Arc::clone(&work);
            match self.try_run(behavior, move |tx| work(tx)).await {
                Err(Failure::Sqlite(cause)) if sqlite::may_pass(&cause) => {
                    if !waited {
                        warn!(error = %unusable(&self.path, cause), "trying until it works");
                    }
                    waited = true;
                    time::sleep(RETRY).await;
                }
                done => {
                    if waited {
                        info!("the agent's database can be used again");
                    }
                    return done.map_err(|failure| unusable(&self.path, failure));
                }
            }
        }
    }

    /// Runs one transaction off the async threads.
    async fn try_run<T: Send + 'static>(
        &self,
        behavior: TransactionBehavior,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let mut connection = Arc::clone(&self.connection).lock_owned().await;
        let ran = task::spawn_blocking(move || -> Result<T, Failure> {
            let tx = connection.transaction_with_behavior(behavior)?;
            let result = work(&tx)?;
            tx.commit()?;
            Ok(result)
        });
        ran.await?
    }
}

/// Why a transaction did not come about.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Task(#[from] task::JoinError),
}

fn unusable(path: &Path, problem: impl ToString) -> AgentError {
    AgentError::Database { path: path.to_owned(), problem: one_line(&problem.to_string()) }
}

fn open(path: &Path) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(LOCK_TIMEOUT)?;
    Ok(connection)
}

/// The first table or column that should be there and is not.
fn missing(tx: &Transaction<'_>) -> rusqlite::Result<Option<String>> {
    for (table, columns) in TABLES {
        let mut found = tx.prepare("SELECT name FROM pragma_table_info(?1)")?;
        let found: Vec<String> =
            found.query_map([table], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        if found.is_empty() {
            return Ok(Some(format!("there is no table {table}")));
        }
        if let Some(column) =
            columns.iter().find(|column| !found.iter().any(|name| name == *column))
        {
            return Ok(Some(format!("the table {table} has no column {column}")));
        }
    }
    Ok(None)
}
