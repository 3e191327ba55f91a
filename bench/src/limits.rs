//! What the machine can do at most: commits of the same rows, and HTTP that does nothing.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use hdrhistogram::Histogram;
use rusqlite::{Connection, TransactionBehavior, params};
use tokio::net::TcpListener;

use crate::outcome::{histogram, record};
use crate::stored::{MESSAGE, SESSIONS, session_id};

/// The most rows in one commit that comes at a rate; as many as the relay's.
const MOST_ROWS: u64 = 256;

/// As many bytes as a session's latest entries and their keys have on average.
const KEYS: &[u8] = &[7; 16 * 8];
const ENTRIES: &str = "10000001,10000002,10000003,10000004,10000005,10000006,10000007,10000008,\
                       10000009,10000010,10000011,10000012,10000013,10000014,10000015,10000016";

/// What raw commits come to.
pub(crate) struct Commits {
    pub(crate) rows_per_second: f64,
    /// How long one commit takes, in microseconds.
    pub(crate) latencies: Histogram<u64>,
}

/// Answers with what it was sent; what an HTTP server costs that does nothing else.
pub(crate) async fn serve_echo() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    let router = Router::new().route("/", post(async |body: Bytes| body));
    Ok(axum::serve(listener, router).await?)
}

/// Commits the rows of accepted messages, so many at a time, and nothing else.
pub(crate) fn commit(db: &Path, rows: u64, length: Duration) -> Result<Commits> {
    let (mut connection, first) = open(db)?;
    let newest = newest_sessions(&connection)?;
    let mut latencies = histogram()?;
    let from = Instant::now();
    let mut next = first;
    while from.elapsed() < length {
        let began = Instant::now();
        insert(&mut connection, newest, next, rows)?;
        record(&mut latencies, began.elapsed());
        next += rows;
    }
    let rows_per_second = (next - first) as f64 / from.elapsed().as_secs_f64();
    Ok(Commits { rows_per_second, latencies })
}

/// Commits rows that come at even distances, as many together as have come; returns how long after
/// its coming each was on disk.
pub(crate) fn commit_at(db: &Path, rate: f64, length: Duration) -> Result<Histogram<u64>> {
    let (mut connection, first) = open(db)?;
    let newest = newest_sessions(&connection)?;
    let mut latencies = histogram()?;
    let from = Instant::now();
    let comes = |row: u64| from + Duration::from_secs_f64(row as f64 / rate);
    let mut done = 0;
    while from.elapsed() < length {
        thread::sleep(comes(done).saturating_duration_since(Instant::now()));
        let come = (from.elapsed().as_secs_f64() * rate) as u64 + 1;
        let rows = come.saturating_sub(done).min(MOST_ROWS);
        insert(&mut connection, newest, first + done, rows)?;
        (done..done + rows).for_each(|row| record(&mut latencies, comes(row).elapsed()));
        done += rows;
    }
    Ok(latencies)
}

/// The database, and a number that no row of it has as its id.
pub(crate) fn open(db: &Path) -> Result<(Connection, u64)> {
    let connection = Connection::open(db)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // As the relay has them.
    connection.pragma_update(None, "cache_size", -16_384)?;
    connection.pragma_update(None, "wal_autocheckpoint", 4_000)?;
    let last = "SELECT coalesce(max(id), 0) FROM message";
    let last: u64 = connection.query_row(last, [], |row| row.get(0))?;
    Ok((connection, last + 1))
}

/// The first of the conversations under way.
fn newest_sessions(connection: &Connection) -> Result<u64> {
    let first = "SELECT id FROM session WHERE public_id = ?1";
    Ok(connection.query_row(first, [session_id(0)], |row| row.get(0))?)
}

/// The rows of so many messages: their own, those that wait, and their sessions'.
fn insert(connection: &mut Connection, newest: u64, first: u64, rows: u64) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for row in first..first + rows {
        let session = newest + row % u64::from(SESSIONS);
        insert_message(&transaction, session, MESSAGE, row)?;
    }
    Ok(transaction.commit()?)
}

/// Inserts the rows of a message that is told from others by this number; returns its id.
pub(crate) fn insert_message(
    connection: &Connection,
    session: u64,
    text: &str,
    number: u64,
) -> Result<u64> {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&number.to_be_bytes());
    let id = connection
        .prepare_cached(
            "INSERT INTO message (session, role, text, at, idempotency)
             VALUES (?1, 0, ?2, ?3, ?4)",
        )?
        .insert(params![session, text, number, key])?;
    connection
        .prepare_cached(
            "INSERT INTO inbox (session, message, site, visible_at) VALUES (?1, ?2, 1, NULL)",
        )?
        .execute(params![session, id])?;
    connection
        .prepare_cached(
            "UPDATE session SET message_count = message_count + 1, last_active = ?2,
                 entries = ?3, keys = ?4
             WHERE id = ?1",
        )?
        .execute(params![session, number, ENTRIES, KEYS])?;
    Ok(u64::try_from(id)?)
}
