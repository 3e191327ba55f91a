//! What the machine can do at most: commits of the same rows, and HTTP that does nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use hdrhistogram::Histogram;
use rusqlite::{Connection, TransactionBehavior, params};
use tokio::net::TcpListener;

use crate::stored::{MESSAGE, SESSIONS};

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
pub(crate) fn commit(db: &Path, rows: u32, length: Duration) -> Result<Commits> {
    let mut connection = Connection::open(db)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let mut latencies = Histogram::new_with_bounds(1, 60_000_000, 3)?;
    let first: u64 =
        connection.query_row("SELECT coalesce(max(id), 0) FROM message", [], |row| row.get(0))?;
    let from = Instant::now();
    let mut next = first;
    while from.elapsed() < length {
        let began = Instant::now();
        insert(&mut connection, next, rows)?;
        latencies.saturating_record(u64::try_from(began.elapsed().as_micros())?.max(1));
        next += u64::from(rows);
    }
    let rows_per_second = (next - first) as f64 / from.elapsed().as_secs_f64();
    Ok(Commits { rows_per_second, latencies })
}

fn insert(connection: &mut Connection, first: u64, rows: u32) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for row in first..first + u64::from(rows) {
        let session = row % u64::from(SESSIONS) + 1;
        let mut key = [0; 16];
        key[..8].copy_from_slice(&row.to_be_bytes());
        let id: i64 = transaction
            .prepare_cached(
                "INSERT INTO message (session, role, text, at, idempotency)
                 VALUES (?1, 0, ?2, ?3, ?4) RETURNING id",
            )?
            .query_row(params![session, MESSAGE, row, key], |row| row.get(0))?;
        transaction
            .prepare_cached(
                "INSERT INTO inbox (session, message, site, visible_at) VALUES (?1, ?2, 1, NULL)",
            )?
            .execute(params![session, id])?;
    }
    Ok(transaction.commit()?)
}
