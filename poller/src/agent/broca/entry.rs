//! A message in Broca's tables: its row, and its place in the queue.

use postern_host::fault;
use rusqlite::{OptionalExtension, Row, Transaction};
use serde::{Deserialize, Serialize};

use super::letta::LettaIds;
use super::mark;
use super::visitor::{self, Profile, moment, now};
use crate::agent::Question;

/// Where a message lies.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Entry {
    message_row: i64,
    queue_row: i64,
}

/// How far Broca is with a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It waits, or Broca is at it.
    Open,
    /// What Broca answered, never blank; UTF-8 unless another program wrote something else.
    Answered(Vec<u8>),
    /// Broca will not answer it; why not.
    GivenUp(&'static str),
}

/// Puts a message into the queue with all that belongs to it. One that is there already stays where
/// it is; one that was taken back or given up is asked again.
pub(super) fn enqueue(
    tx: &Transaction<'_>,
    question: &Question,
    letta_ids: &LettaIds,
) -> rusqlite::Result<Entry> {
    let mut profile = visitor::find_or_make(tx, question, letta_ids)?;
    let entry = match mark::find(&profile.metadata, question) {
        Some(entry) if holds(tx, entry, &profile, question)? => put_back(tx, entry)?,
        _ => {
            let message_row = insert_message(tx, &profile, question)?;
            Entry { message_row, queue_row: insert_place(tx, message_row)? }
        }
    };
    mark::set(&mut profile.metadata, question, entry)
        .map_err(|cause| rusqlite::Error::ToSqlConversionFailure(cause.into()))?;
    visitor::update(tx, &profile, question)?;
    fault::point("poller: Broca's rows written, not committed");
    Ok(entry)
}

/// How far Broca is with a message. What it answered counts also when its place in the queue is gone.
pub(super) fn state(tx: &Transaction<'_>, entry: Entry) -> rusqlite::Result<State> {
    let sql = "SELECT queue.status, CAST(message.agent_response AS TEXT) AS answer
               FROM messages AS message
               LEFT JOIN queue ON queue.id = ?1 AND queue.message_id = message.id
               WHERE message.id = ?2";
    let mut find = tx.prepare_cached(sql)?;
    let found = find.query_row((entry.queue_row, entry.message_row), read_state).optional()?;
    Ok(found.unwrap_or(State::GivenUp("its row is gone")))
}

/// Takes a message back unless Broca has begun with it.
pub(super) fn withdraw(tx: &Transaction<'_>, question: &Question) -> rusqlite::Result<()> {
    let Some(profile) = visitor::find(tx, &question.uid)? else { return Ok(()) };
    let Some(entry) = mark::find(&profile.metadata, question) else { return Ok(()) };
    let sql = "UPDATE queue SET status = 'flushed'
               WHERE id = ?1 AND message_id = ?2 AND status = 'pending'";
    tx.execute(sql, (entry.queue_row, entry.message_row)).map(drop)
}

/// Whether a message lies there: where rows were deleted, their numbers may be another message's.
fn holds(
    tx: &Transaction<'_>,
    entry: Entry,
    profile: &Profile,
    question: &Question,
) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) FROM messages
               WHERE id = ?1 AND platform_profile_id = ?2 AND timestamp = ?3 AND message = ?4";
    let row = (entry.message_row, profile.id, moment(question.timestamp), &question.message);
    let found: i64 = tx.query_row(sql, row, |row| row.get(0))?;
    Ok(found > 0)
}

/// Has Broca asked again for what ended without an answer, at the place in the queue that it had.
fn put_back(tx: &Transaction<'_>, entry: Entry) -> rusqlite::Result<Entry> {
    if !matches!(state(tx, entry)?, State::GivenUp(_)) {
        return Ok(entry);
    }
    let sql = "UPDATE queue SET status = 'pending' WHERE id = ?1 AND message_id = ?2";
    if tx.execute(sql, (entry.queue_row, entry.message_row))? > 0 {
        return Ok(entry);
    }
    Ok(Entry { queue_row: insert_place(tx, entry.message_row)?, ..entry })
}

fn insert_message(
    tx: &Transaction<'_>,
    profile: &Profile,
    question: &Question,
) -> rusqlite::Result<i64> {
    let sql = "INSERT INTO messages
                   (letta_user_id, platform_profile_id, role, message, timestamp, processed)
               VALUES (?1, ?2, 'user', ?3, ?4, 0)";
    let timestamp = moment(question.timestamp);
    tx.execute(sql, (profile.user_id, profile.id, &question.message, timestamp))?;
    Ok(tx.last_insert_rowid())
}

fn insert_place(tx: &Transaction<'_>, message_row: i64) -> rusqlite::Result<i64> {
    let sql = "INSERT INTO queue (letta_user_id, message_id, status, attempts, timestamp)
               SELECT letta_user_id, id, 'pending', 0, ?2 FROM messages WHERE id = ?1";
    tx.execute(sql, (message_row, now()))?;
    Ok(tx.last_insert_rowid())
}

fn read_state(row: &Row<'_>) -> rusqlite::Result<State> {
    let status: Option<String> = row.get("status")?;
    let answer = row.get_ref("answer")?.as_bytes_or_null()?;
    let answer = answer.filter(|answer| !answer.trim_ascii().is_empty());
    Ok(match (status.as_deref(), answer) {
        (Some("pending" | "processing"), _) => State::Open,
        (Some("failed"), _) => State::GivenUp("failed"),
        (Some("flushed"), _) => State::GivenUp("flushed"),
        (_, Some(answer)) => State::Answered(answer.to_vec()),
        (Some("completed"), None) => State::GivenUp("completed without an answer"),
        // Some state of a newer Broca on the way to one of these.
        (Some(_), None) => State::Open,
        (None, None) => State::GivenUp("its place in the queue is gone"),
    })
}
