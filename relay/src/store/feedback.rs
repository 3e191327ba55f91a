//! Feedback: what a visitor thinks of a reply.

use postern_shared::MessageId;
use postern_shared::visitor::Rating;
use rusqlite::{Connection, OptionalExtension};

use super::writer::Txn;
use super::{Now, SessionKey, Store, StoreError, rows};
use crate::secret::SecretHash;

/// A rating, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feedback {
    /// The rating.
    pub rating: Rating,
    /// In the visitor's words, as they were sent.
    pub comment: Option<String>,
}

impl Store {
    /// Keeps what the token's visitor thinks of a reply in place of what was thought before; `None`
    /// takes it back.
    ///
    /// # Errors
    /// [`StoreError::UnknownToken`], or [`StoreError::UnknownReply`] when the session has no such
    /// reply.
    pub async fn rate(
        &self,
        reply: MessageId,
        token: SecretHash,
        feedback: Option<Feedback>,
        now: Now,
    ) -> Result<(), StoreError> {
        self.writer.run(move |txn| rate(txn, reply, &token, feedback.as_ref(), now)).await
    }
}

fn rate(
    txn: &mut Txn<'_>,
    reply: MessageId,
    token: &SecretHash,
    feedback: Option<&Feedback>,
    now: Now,
) -> Result<(), StoreError> {
    let session = rows::token_holder(txn.conn, token)?.key;
    if !is_reply(txn.conn, session, reply)? {
        return Err(StoreError::UnknownReply);
    }
    let before = take_back(txn.conn, reply)?;
    if let Some(Feedback { rating, comment }) = feedback {
        let sql = "INSERT INTO feedback (message, session, rating, comment, at)
                   VALUES (?1, ?2, ?3, ?4, ?5)";
        let row = (reply.0, session, rows::rating_number(*rating), comment, now.wall_ms);
        txn.statements.get(sql)?.execute(row)?;
    }
    count(txn.conn, session, before, feedback.map(|feedback| feedback.rating))
}

fn is_reply(conn: &Connection, session: SessionKey, id: MessageId) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (
                   SELECT 1 FROM message WHERE id = ?1 AND session = ?2 AND role IN (1, 2))";
    Ok(conn.prepare_cached(sql)?.query_row((id.0, session), |row| row.get(0))?)
}

/// Forgets what was thought of a reply, and tells it.
fn take_back(conn: &Connection, reply: MessageId) -> Result<Option<Rating>, StoreError> {
    let sql = "DELETE FROM feedback WHERE message = ?1 RETURNING rating";
    let before = conn.prepare_cached(sql)?.query_row([reply.0], rows::rating).optional()?;
    Ok(before.flatten())
}

fn count(
    conn: &Connection,
    session: SessionKey,
    before: Option<Rating>,
    after: Option<Rating>,
) -> Result<(), StoreError> {
    let more = |rating| i64::from(after == Some(rating)) - i64::from(before == Some(rating));
    let sql = "UPDATE session SET up_count = up_count + ?2, down_count = down_count + ?3
               WHERE id = ?1";
    conn.prepare_cached(sql)?.execute((session, more(Rating::Up), more(Rating::Down)))?;
    Ok(())
}
