//! The queue's rows, read and written within a transaction.

use postern_shared::poller::LeasedMessage;
use postern_shared::{LeaseId, MessageId, SessionId, Timestamp, Uid};
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, Row, Transaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::job::{Answer, Job, JobId, Outcome, Outgoing, TakenIn};
use crate::agent::{Speaker, Turn};

/// How long an answer whose lease was lost is kept, should the relay hand the message out again.
const KEEP_PARKED_MS: i64 = 7 * 24 * 3_600 * 1_000;

/// How many answers whose leases were lost are kept: a relay that takes none must not fill the disk.
pub(super) const MAX_PARKED: u32 = 1_000;

pub(super) fn take_in_all(
    tx: &Transaction<'_>,
    leased: Vec<LeasedMessage>,
    history: u32,
) -> rusqlite::Result<TakenIn> {
    let (mut new, mut known) = (Vec::with_capacity(leased.len()), false);
    for message in leased {
        if take_in(tx, &message)? {
            let history = turns(tx, &message.session_id, &message.uid, history)?;
            new.push(Job::new(message, history));
        } else {
            known = true;
        }
    }
    Ok(TakenIn { new, known, busy: count_leased(tx)? })
}

/// Takes in one message; true when it was not here.
fn take_in(tx: &Transaction<'_>, leased: &LeasedMessage) -> rusqlite::Result<bool> {
    if insert(tx, leased)? {
        return Ok(true);
    }
    // Message ids count from 1 on every relay: a row of another session or moment is another
    // relay's, or one's from before it lost its data, and no answer to this message.
    let sql = "DELETE FROM job WHERE message_id = ?1 AND (session_id <> ?2 OR timestamp <> ?3)";
    let other = (leased.id.0, leased.session_id.as_str(), leased.timestamp.to_string());
    if tx.prepare_cached(sql)?.execute(other)? > 0 {
        return insert(tx, leased);
    }
    let sql = "UPDATE job SET lease_id = ?2, attempts = ?3 WHERE message_id = ?1";
    let renewed = (leased.id.0, leased.lease_id.as_str(), leased.attempts);
    tx.prepare_cached(sql)?.execute(renewed)?;
    Ok(false)
}

/// Adds one message, unless one of its number is here.
fn insert(tx: &Transaction<'_>, leased: &LeasedMessage) -> rusqlite::Result<bool> {
    let sql = "INSERT INTO job (message_id, session_id, uid, visitor, message, timestamp, metadata,
                                files, lease_id, attempts, state)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'leased') ON CONFLICT DO NOTHING";
    let added = tx.prepare_cached(sql)?.execute((
        leased.id.0,
        leased.session_id.as_str(),
        leased.uid.as_str(),
        json(&leased.visitor)?,
        &leased.message,
        leased.timestamp.to_string(),
        json(&leased.metadata)?,
        json(&leased.files)?,
        leased.lease_id.as_str(),
        leased.attempts,
    ))?;
    Ok(added > 0)
}

pub(super) fn count_leased(tx: &Transaction<'_>) -> rusqlite::Result<usize> {
    let sql = "SELECT count(*) FROM job WHERE state = 'leased'";
    tx.prepare_cached(sql)?.query_row([], |row| row.get(0))
}

/// Removes the answers whose leases were lost too long ago.
pub(super) fn forget_long_parked(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "DELETE FROM job WHERE lease_id IS NULL AND settled_at < ?1";
    let kept_since = Timestamp::now().as_millisecond() - KEEP_PARKED_MS;
    connection.execute(sql, [kept_since]).map(drop)
}

pub(super) fn forget_oldest_parked(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    let sql = "DELETE FROM job WHERE message_id IN
                   (SELECT message_id FROM job WHERE state = 'answered' AND lease_id IS NULL
                    ORDER BY settled_at DESC LIMIT -1 OFFSET ?1)";
    tx.prepare_cached(sql)?.execute([MAX_PARKED]).map(drop)
}

/// Removes messages that are done with.
pub(super) fn remove(tx: &Transaction<'_>, jobs: &[JobId]) -> rusqlite::Result<()> {
    let sql = "DELETE FROM job WHERE message_id = ?1 AND session_id = ?2";
    for job in jobs {
        tx.prepare_cached(sql)?.execute((job.message.0, job.session.as_str()))?;
    }
    Ok(())
}

/// Notes what became of a message and, if it is to be remembered, what was said in it; tells its lease, when
/// the message is with the agent.
pub(super) fn settle(
    tx: &Transaction<'_>,
    job: &JobId,
    outcome: &Outcome,
    remembers: bool,
) -> rusqlite::Result<Option<LeaseId>> {
    let sql = "SELECT lease_id, uid, message,
                      (SELECT coalesce(max(number), 0) FROM turn
                       WHERE turn.session_id = job.session_id AND turn.uid = job.uid)
               FROM job WHERE message_id = ?1 AND session_id = ?2 AND state = 'leased'";
    let mut leased = tx.prepare_cached(sql)?;
    let mut rows = leased.query((job.message.0, job.session.as_str()))?;
    let Some(row) = rows.next()? else { return Ok(None) };
    match outcome {
        Outcome::Answered(answer) => {
            note_answer(tx, job, answer)?;
            // Models expect turns to alternate: one without a word is no turn.
            if remembers && !answer.reply.trim().is_empty() {
                let (uid, said) = (row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?);
                let turns = [("user", said), ("assistant", &answer.reply)];
                remember(tx, job, uid, row.get(3)?, turns)?;
            }
        }
        Outcome::Failed { error, retry_after_seconds } => {
            let sql = "UPDATE job SET state = 'failed', error = ?2, retry_after_seconds = ?3,
                           settled_at = ?4
                       WHERE message_id = ?1";
            let now = Timestamp::now().as_millisecond();
            let row = (job.message.0, error, retry_after_seconds, now);
            tx.prepare_cached(sql)?.execute(row)?;
        }
    }
    lease_id(row).map(Some)
}

fn note_answer(tx: &Transaction<'_>, job: &JobId, answer: &Answer) -> rusqlite::Result<()> {
    let sql = "UPDATE job SET state = 'answered', reply = ?2, quick_replies = ?3, reply_files = ?4,
                   settled_at = ?5, stopped = ?6
               WHERE message_id = ?1";
    let row = (
        job.message.0,
        &answer.reply,
        json(&answer.quick_replies)?,
        json(&answer.files)?,
        answer.at.as_millisecond(),
        answer.stopped,
    );
    tx.prepare_cached(sql)?.execute(row).map(drop)
}

/// Adds turns to a conversation behind its `last`: row by row, since for rows of a query SQLite opens a
/// journal of its own, for which it allocates 64 KiB each time.
fn remember(
    tx: &Transaction<'_>,
    job: &JobId,
    uid: &str,
    last: i64,
    turns: [(&str, &str); 2],
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO turn (session_id, uid, number, message_id, role, content)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut insert = tx.prepare_cached(sql)?;
    for (number, (role, content)) in (last + 1..).zip(turns) {
        insert.execute((job.session.as_str(), uid, number, job.message.0, role, content))?;
    }
    Ok(())
}

/// The last `limit` turns of a conversation, oldest first.
pub(super) fn turns(
    tx: &Transaction<'_>,
    session: &SessionId,
    uid: &Uid,
    limit: u32,
) -> rusqlite::Result<Vec<Turn>> {
    let sql = "SELECT role, content FROM turn WHERE session_id = ?1 AND uid = ?2
               ORDER BY number DESC LIMIT ?3";
    let mut turns = tx
        .prepare_cached(sql)?
        .query_map((session.as_str(), uid.as_str(), limit), turn)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    turns.reverse();
    Ok(turns)
}

/// By the columns' places: each message reads many.
fn turn(row: &Row<'_>) -> rusqlite::Result<Turn> {
    let role = match row.get_ref(0)?.as_str()? {
        "user" => Speaker::User,
        _ => Speaker::Assistant,
    };
    Ok(Turn { role, content: row.get(1)? })
}

pub(super) fn job(row: &Row<'_>) -> rusqlite::Result<Job> {
    Ok(Job {
        message_id: MessageId(row.get("message_id")?),
        session_id: text(row, "session_id")?,
        uid: text(row, "uid")?,
        visitor: from_json(row, "visitor")?,
        message: row.get("message")?,
        timestamp: text(row, "timestamp")?,
        metadata: from_json(row, "metadata")?,
        files: from_json(row, "files")?,
        lease_id: lease_id(row)?,
        attempts: row.get("attempts")?,
        history: Vec::new(),
    })
}

pub(super) fn outgoing(row: &Row<'_>) -> rusqlite::Result<Outgoing> {
    let outcome = match row.get_ref("state")?.as_str()? {
        "answered" => {
            let at = Timestamp::from_millisecond(row.get("settled_at")?);
            Outcome::Answered(Answer {
                reply: row.get("reply")?,
                quick_replies: from_json(row, "quick_replies")?,
                files: from_json(row, "reply_files")?,
                at: at.unwrap_or_default(),
                stopped: row.get("stopped")?,
            })
        }
        _ => Outcome::Failed {
            error: row.get("error")?,
            retry_after_seconds: row.get("retry_after_seconds")?,
        },
    };
    Ok(Outgoing {
        message_id: MessageId(row.get("message_id")?),
        session_id: text(row, "session_id")?,
        lease_id: lease_id(row)?,
        outcome,
    })
}

pub(super) fn lease_id(row: &Row<'_>) -> rusqlite::Result<LeaseId> {
    text(row, "lease_id")
}

/// A text column that was an id or a moment when it was stored.
fn text<T: std::str::FromStr>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    row.get_ref(column)?.as_str()?.parse().map_err(|_| FromSqlError::InvalidType.into())
}

fn json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|cause| rusqlite::Error::ToSqlConversionFailure(cause.into()))
}

/// A column that holds JSON.
fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(column)?.as_str()?)
        .map_err(|cause| FromSqlError::Other(cause.into()).into())
}
