//! Broca's database, and what Broca's queue processor does with it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use postern_tests::eventually;
use rusqlite::{Connection, OptionalExtension, Params, Row, TransactionBehavior};
use tempfile::TempDir;

/// How often a processor that has nothing to do looks again; Broca's own does each second.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A `sanctum.db`.
pub(crate) struct Sanctum {
    folder: TempDir,
}

/// A message that the processor has begun with.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) queue_row: i64,
    pub(crate) message_row: i64,
    pub(crate) text: String,
}

impl Sanctum {
    pub(crate) fn filled() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sanctum = Self { folder };
        let created = Connection::open(sanctum.path()).unwrap();
        created.execute_batch(include_str!("sanctum.sql")).unwrap();
        sanctum
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("sanctum.db")
    }

    /// The flags of the agent that uses it.
    pub(crate) fn flags(&self, more: &[&str]) -> Vec<String> {
        let path = self.path();
        let flags = ["--agent", "broca", "--broca-db", path.to_str().unwrap()];
        flags.iter().chain(more).map(ToString::to_string).collect()
    }

    /// A connection as Broca makes one.
    pub(crate) fn connect(&self) -> Connection {
        let connection = Connection::open(self.path()).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        connection
    }

    pub(crate) fn execute(&self, sql: &str, params: impl Params) {
        self.connect().execute(sql, params).unwrap();
    }

    /// The one value of the one row that a query gives.
    pub(crate) fn value<T: rusqlite::types::FromSql>(&self, sql: &str) -> T {
        self.connect().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// All that a query gives, as text.
    pub(crate) fn rows(&self, sql: &str) -> Vec<String> {
        let connection = self.connect();
        let mut query = connection.prepare(sql).unwrap();
        query.query_map([], |row| Ok(as_text(row))).unwrap().map(Result::unwrap).collect()
    }

    /// The texts that visitors have in the messages table, in order.
    pub(crate) fn messages(&self) -> Vec<String> {
        self.rows("SELECT message FROM messages WHERE id > 1 ORDER BY id")
    }

    /// The states of the visitors' places in the queue, in order.
    pub(crate) fn queue(&self) -> Vec<String> {
        self.rows("SELECT status FROM queue WHERE id > 1 ORDER BY id")
    }

    /// Begins with the oldest message that waits.
    pub(crate) fn begin(&self) -> Option<Work> {
        begin(&mut self.connect())
    }

    /// Begins with a message once one waits.
    pub(crate) async fn begins(&self) -> Work {
        let mut begun = None;
        eventually("a message in the queue", || {
            begun = self.begin();
            let is_there = begun.is_some();
            async move { is_there }
        })
        .await;
        begun.unwrap()
    }

    /// Waits until the states of the visitors' places in the queue are these.
    pub(crate) async fn has_queue(&self, states: &[&str]) {
        eventually("the queue's states", async || self.queue() == states).await;
    }

    pub(crate) fn complete(&self, work: &Work, answer: &str) {
        complete(&self.connect(), work, answer);
    }

    pub(crate) fn set_status(&self, work: &Work, status: &str) {
        set_status(&self.connect(), work, status);
    }

    /// What `qtool flush --all` does.
    pub(crate) fn flush(&self) {
        self.execute("UPDATE queue SET status = 'flushed' WHERE status = 'pending'", []);
    }
}

/// A program that works on the queue until it is dropped.
pub(crate) struct Processor {
    ending: Arc<AtomicBool>,
    running: Option<JoinHandle<()>>,
}

impl Processor {
    /// Answers each message as the function says; `None` fails it.
    pub(crate) fn start(
        sanctum: &Sanctum,
        answer: impl Fn(&str) -> Option<String> + Send + 'static,
    ) -> Self {
        let ending = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&ending);
        let mut connection = sanctum.connect();
        let running = thread::spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                let Some(work) = begin(&mut connection) else {
                    thread::sleep(LOOK_EVERY);
                    continue;
                };
                match answer(&work.text) {
                    Some(answer) => complete(&connection, &work, &answer),
                    None => set_status(&connection, &work, "failed"),
                }
            }
        });
        Self { ending, running: Some(running) }
    }

    /// Repeats each message after a word.
    pub(crate) fn echo(sanctum: &Sanctum) -> Self {
        Self::start(sanctum, |text| Some(format!("re {text}")))
    }
}

impl Drop for Processor {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        self.running.take().unwrap().join().unwrap();
    }
}

fn begin(connection: &mut Connection) -> Option<Work> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    let sql = "SELECT queue.id, message.id, message.message FROM queue
               JOIN messages AS message ON message.id = queue.message_id
               WHERE queue.status = 'pending' ORDER BY queue.timestamp LIMIT 1";
    let work = |row: &Row<'_>| {
        Ok(Work { queue_row: row.get(0)?, message_row: row.get(1)?, text: row.get(2)? })
    };
    let work = tx.query_row(sql, [], work).optional().unwrap()?;
    set_status(&tx, &work, "processing");
    tx.commit().unwrap();
    Some(work)
}

/// The answer first, then the state, each in a transaction of its own.
fn complete(connection: &Connection, work: &Work, answer: &str) {
    let sql = "UPDATE messages SET agent_response = ?2, processed = 1 WHERE id = ?1";
    connection.execute(sql, (work.message_row, answer)).unwrap();
    set_status(connection, work, "completed");
}

fn set_status(connection: &Connection, work: &Work, status: &str) {
    let sql = "UPDATE queue SET status = ?2 WHERE id = ?1";
    connection.execute(sql, (work.queue_row, status)).unwrap();
}

fn as_text(row: &Row<'_>) -> String {
    let values = (0..row.as_ref().column_count()).map(|column| {
        let value: rusqlite::types::Value = row.get(column).unwrap();
        match value {
            rusqlite::types::Value::Null => "NULL".to_owned(),
            rusqlite::types::Value::Integer(number) => number.to_string(),
            rusqlite::types::Value::Text(text) => text,
            other => format!("{other:?}"),
        }
    });
    values.collect::<Vec<_>>().join(" | ")
}
