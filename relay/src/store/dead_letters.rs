//! Dead letters: messages that were given up, for the operator to look at, requeue or drop.
//!
//! The functions over a connection serve the running relay and the command line alike.

use postern_shared::MessageId;
use postern_shared::operator::{DeadLetter, DeadLetterDetail};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{Page, Paged, SessionKey, SiteKey, Store, StoreError, quota, rows};

/// When a requeued message is visible from: always, on whichever clock the relay runs. The command
/// line does not know that clock.
const VISIBLE_ALWAYS: i64 = 0;

impl Store {
    /// Dead letters, the oldest message first.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn dead_letters(&self, page: Page) -> Result<Paged<DeadLetter>, StoreError> {
        self.readers.run(move |conn| list(conn, page)).await
    }

    /// One dead letter with its text.
    ///
    /// # Errors
    /// [`StoreError::UnknownDeadLetter`].
    pub async fn dead_letter(&self, message: MessageId) -> Result<DeadLetterDetail, StoreError> {
        self.readers.run(move |conn| find(conn, message)).await
    }

    /// Puts a dead letter back into the inbox and wakes whoever waits for a message.
    ///
    /// # Errors
    /// [`StoreError::UnknownDeadLetter`].
    pub async fn requeue(&self, message: MessageId) -> Result<(), StoreError> {
        self.writer
            .run(move |txn| {
                let requeued = requeue(txn.conn, message)?;
                if let Some(site) = requeued.leasable_in {
                    txn.changes.inboxes.insert(site);
                    txn.changes.stored(requeued.session);
                }
                Ok(())
            })
            .await
    }

    /// Forgets that a message was given up; what was said stays.
    ///
    /// # Errors
    /// [`StoreError::UnknownDeadLetter`].
    pub async fn drop_dead_letter(&self, message: MessageId) -> Result<(), StoreError> {
        self.writer.run(move |txn| remove(txn.conn, message).map(drop)).await
    }
}

/// Dead letters, the oldest message first.
pub(crate) fn list(conn: &Connection, page: Page) -> Result<Paged<DeadLetter>, StoreError> {
    let snapshot = conn.unchecked_transaction()?;
    let sql = "SELECT count(*) FROM dead_letter";
    let total = snapshot.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    let sql = "SELECT dead_letter.message, public_id, uid, attempts, error, dead_letter.at,
                      message.at AS stored_at
               FROM dead_letter
               JOIN message ON message.id = dead_letter.message
               JOIN session ON session.id = dead_letter.session
               ORDER BY dead_letter.message LIMIT ?1 OFFSET ?2";
    let rows = snapshot
        .prepare_cached(sql)?
        .query_map((page.limit, page.offset), dead_letter)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Paged { rows, total })
}

/// One dead letter with its text; [`StoreError::UnknownDeadLetter`] when there is none.
pub(crate) fn find(conn: &Connection, message: MessageId) -> Result<DeadLetterDetail, StoreError> {
    let sql = "SELECT dead_letter.message, public_id, uid, attempts, error, dead_letter.at,
                      message.at AS stored_at, text, message.metadata
               FROM dead_letter
               JOIN message ON message.id = dead_letter.message
               JOIN session ON session.id = dead_letter.session
               WHERE dead_letter.message = ?1";
    let found = conn.prepare_cached(sql)?.query_row([message.0], |row| {
        Ok(DeadLetterDetail {
            dead_letter: dead_letter(row)?,
            message: row.get("text")?,
            metadata: rows::from_json(row, "metadata")?,
        })
    });
    found.optional()?.ok_or(StoreError::UnknownDeadLetter)
}

/// The dead letters after a message, oldest first.
pub(crate) fn after(
    conn: &Connection,
    message: MessageId,
    limit: u32,
) -> Result<Vec<MessageId>, StoreError> {
    let sql = "SELECT message FROM dead_letter WHERE message > ?1 ORDER BY message LIMIT ?2";
    let found = conn
        .prepare_cached(sql)?
        .query_map((message.0, limit), |row| row.get(0).map(MessageId))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(found)
}

/// Where a requeued message went.
pub(crate) struct Requeued {
    session: SessionKey,
    /// Its site, when its session has a message that can be leased now and could not be before.
    leasable_in: Option<SiteKey>,
}

/// Puts a dead letter back into the inbox with no attempts counted.
///
/// It takes its place before the later messages of its session, but for one that is leased: that
/// one is with an agent, and a session never has two.
pub(crate) fn requeue(conn: &Connection, message: MessageId) -> Result<Requeued, StoreError> {
    let session = remove(conn, message)?;
    let sql = "SELECT site FROM session WHERE id = ?1";
    let site = conn.prepare_cached(sql)?.query_row([session], |row| row.get(0))?;
    let sql = "INSERT INTO inbox (session, message, site) VALUES (?1, ?2, ?3)";
    conn.prepare_cached(sql)?.execute((session, message.0, site))?;
    quota::count_open(conn, site, 1)?;
    let sql = "UPDATE inbox SET visible_at = NULL
               WHERE session = ?1 AND message > ?2 AND visible_at IS NOT NULL AND lease_id IS NULL";
    conn.prepare_cached(sql)?.execute((session, message.0))?;
    let sql = "UPDATE inbox SET visible_at = ?2
               WHERE session = ?1 AND message = (SELECT min(message) FROM inbox WHERE session = ?1)
               AND NOT EXISTS (
                   SELECT 1 FROM inbox WHERE session = ?1 AND visible_at IS NOT NULL)";
    let promoted = conn.prepare_cached(sql)?.execute((session, VISIBLE_ALWAYS))?;
    Ok(Requeued { session, leasable_in: (promoted > 0).then_some(site) })
}

/// Takes a message off the dead letters; what was said stays. Returns its session.
pub(crate) fn remove(conn: &Connection, message: MessageId) -> Result<SessionKey, StoreError> {
    let sql = "DELETE FROM dead_letter WHERE message = ?1 RETURNING session";
    let removed = conn.prepare_cached(sql)?.query_row([message.0], |row| row.get(0));
    removed.optional()?.ok_or(StoreError::UnknownDeadLetter)
}

fn dead_letter(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    Ok(DeadLetter {
        message_id: MessageId(row.get("message")?),
        session_id: rows::id(row, "public_id")?,
        uid: rows::id(row, "uid")?,
        timestamp: rows::moment(row, "stored_at")?,
        given_up_at: rows::moment(row, "at")?,
        attempts: row.get("attempts")?,
        error: row.get("error")?,
    })
}
