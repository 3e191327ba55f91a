//! Expiry: what the passing of time alone does to the inbox.

use std::sync::Arc;

use postern_shared::MessageId;
use rusqlite::Connection;

use super::drafts::Drafts;
use super::inbox::{self, Open};
use super::writer::Txn;
use super::{Now, SessionKey, Store, StoreError, cancellation, sites};

/// How many dead letters one transaction makes at most.
const SWEEP_LIMIT: u32 = 256;

impl Store {
    /// Makes dead letters of the messages whose last lease has run out, stopped replies of those
    /// that were cancelled, and wakes those who wait for what has changed by the passing of time
    /// since a moment on the steady clock. Returns how many dead letters it made.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn expire_leases(
        &self,
        max_attempts: u32,
        since_ms: i64,
        now: Now,
    ) -> Result<usize, StoreError> {
        let drafts = Arc::clone(&self.drafts);
        self.writer.run(move |txn| expire(txn, &drafts, max_attempts, since_ms, now)).await
    }
}

fn expire(
    txn: &mut Txn<'_>,
    drafts: &Drafts,
    max_attempts: u32,
    since_ms: i64,
    now: Now,
) -> Result<usize, StoreError> {
    let ended = ended_leases(txn.conn, since_ms, now)?;
    for (session, message) in ended {
        txn.changes.stored(session);
        txn.changes.leases_ended.push(message);
    }
    let over = finished(txn.conn, max_attempts, now)?;
    let mut dead_letters = 0;
    for (message, open, error) in &over {
        if open.cancelled {
            let stopped = (open.site, open.session, *message);
            cancellation::stop(txn, stopped, &drafts.text(*message), now)?;
            continue;
        }
        let error =
            error.clone().unwrap_or_else(|| "no answer before the last lease ran out".into());
        inbox::dead_letter(txn, *message, open, Some(error), now)?;
        dead_letters += 1;
    }
    // Whatever has become visible by the passing of time alone.
    txn.changes.inboxes.extend(sites::all(txn.conn)?);
    txn.changes.deadlines_swept = true;
    txn.changes.deadline_ms = next_deadline(txn.conn, now, over.len())?;
    Ok(dead_letters)
}

/// Messages whose lease has run out after a moment and that will be leased again or given up. What
/// was written to a cancelled one is kept until it is stopped, by the next sweep if not by this.
fn ended_leases(
    conn: &Connection,
    since_ms: i64,
    now: Now,
) -> Result<Vec<(SessionKey, MessageId)>, StoreError> {
    let sql = "SELECT session, message FROM site CROSS JOIN inbox ON inbox.site = site.id
               WHERE visible_at > ?1 AND visible_at <= ?2 AND lease_id IS NOT NULL
               AND NOT cancelled";
    let ended = conn
        .prepare_cached(sql)?
        .query_map((since_ms, now.steady_ms), |row| {
            Ok((row.get("session")?, MessageId(row.get("message")?)))
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(ended)
}

/// Messages that will not be leased again: out of attempts, or cancelled.
fn finished(
    conn: &Connection,
    max_attempts: u32,
    now: Now,
) -> Result<Vec<(MessageId, Open, Option<String>)>, StoreError> {
    let sql = "SELECT message, session, inbox.site, attempts, lease_id, visible_at, cancelled, last_error
               FROM site CROSS JOIN inbox ON inbox.site = site.id WHERE visible_at <= ?1 AND (attempts >= ?2 OR cancelled)
               ORDER BY visible_at, message LIMIT ?3";
    let finished = conn
        .prepare_cached(sql)?
        .query_map((now.steady_ms, max_attempts, SWEEP_LIMIT), |row| {
            Ok((MessageId(row.get("message")?), inbox::open(row)?, row.get("last_error")?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(finished)
}

/// At once when a sweep found more than it may take.
fn next_deadline(conn: &Connection, now: Now, found: usize) -> Result<Option<i64>, StoreError> {
    if found == SWEEP_LIMIT as usize {
        return Ok(Some(now.steady_ms));
    }
    let sql = "SELECT min(next) FROM (
                   SELECT (SELECT min(visible_at) FROM inbox WHERE inbox.site = site.id
                           AND visible_at > ?1) AS next FROM site)";
    Ok(conn.prepare_cached(sql)?.query_row([now.steady_ms], |row| row.get(0))?)
}
