//! Conversations: what was said in a session, as the visitor and the operator read it.

use std::sync::LazyLock;

use postern_shared::visitor::{MessageState, Role};
use postern_shared::{Cursor, MessageId, SessionId, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use super::rows::ENTRY;
use super::sessions::{SESSION, session_row};
use super::{Entry, Now, Page, Paged, SessionKey, SessionRow, Store, StoreError, entries, rows};
use crate::secret::SecretHash;

/// One page of a conversation, read backwards from its end or from a place in it.
#[derive(Debug, Clone, PartialEq)]
pub struct TranscriptPage {
    /// Oldest first.
    pub entries: Vec<Entry>,
    /// Where the conversation ended when the page was read.
    pub end: Cursor,
    /// Whether there are older entries.
    pub has_more: bool,
}

/// What a stream is to tell next.
#[derive(Debug, Clone, PartialEq)]
pub struct News {
    /// Entries after the cursor, oldest first.
    pub entries: Vec<Entry>,
    /// The message whose turn it is; `None` when all are answered.
    pub waiting: Option<Waiting>,
}

/// A message without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The message.
    pub message: MessageId,
    /// How far it has come.
    pub state: MessageState,
}

/// How a conversation came further: all of it, for whoever knows the conversation up to there.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The message whose turn it was.
    pub from: Option<MessageId>,
    /// What was said.
    pub said: Option<Entry>,
    /// The message whose turn it is.
    pub waiting: Option<Waiting>,
}

impl Step {
    /// Whether it leads on from here. If not, it is known already, as when someone read what was stored
    /// before hearing of it, or something before it is not.
    pub fn leads_on_from(&self, end: Cursor, waiting: Option<Waiting>) -> bool {
        use MessageState::{Cancelled, Failed};
        let is_new = self.said.as_ref().is_none_or(|entry| entry.id.0 > end.position());
        let turn = waiting.filter(|waiting| waiting.state != Failed);
        let is_asked_for = turn.is_none_or(|waiting| waiting.state != Cancelled);
        is_new && is_asked_for && turn.map(|waiting| waiting.message) == self.from
    }

    pub(super) fn text_bytes(&self) -> usize {
        self.said.as_ref().map_or(0, |entry| entry.text.len())
    }
}

impl Store {
    /// The session that a visitor may read: the one named, when the token is its own.
    ///
    /// # Errors
    /// [`StoreError::UnknownToken`] or [`StoreError::ForeignToken`].
    pub async fn authorise(
        &self,
        session: SessionId,
        token: SecretHash,
    ) -> Result<SessionKey, StoreError> {
        self.readers.run(move |conn| authorise(conn, &session, &token)).await
    }

    /// Up to `limit` entries after a cursor, oldest first; only what was said to the visitor when
    /// `replies_only`.
    ///
    /// # Errors
    /// [`StoreError::UnknownCursor`] when the cursor lies beyond the session's end.
    pub async fn entries_after(
        &self,
        session: SessionKey,
        cursor: Cursor,
        replies_only: bool,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        self.readers
            .run(move |conn| entries_after(conn, session, cursor, replies_only, limit))
            .await
    }

    /// Up to `limit` entries after a cursor, and how far the oldest open message has come.
    ///
    /// # Errors
    /// As [`Store::entries_after`]; [`StoreError::UnknownToken`] when the session's tokens were
    /// revoked.
    pub async fn news(
        &self,
        session: SessionKey,
        cursor: Cursor,
        limit: u32,
        now: Now,
    ) -> Result<News, StoreError> {
        self.readers.run(move |conn| news(conn, session, cursor, limit, now)).await
    }

    /// The same right after something was stored in the session.
    ///
    /// # Errors
    /// As [`Store::news`].
    pub async fn latest_news(
        &self,
        session: SessionKey,
        cursor: Cursor,
        limit: u32,
        now: Now,
    ) -> Result<News, StoreError> {
        self.readers.run_here(move |conn| news(conn, session, cursor, limit, now)).await
    }

    /// Where to begin so as to see everything stored at or after a moment.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn cursor_at(
        &self,
        session: SessionKey,
        since: Timestamp,
    ) -> Result<Cursor, StoreError> {
        self.readers.run(move |conn| cursor_at(conn, session, since)).await
    }

    /// The conversation's last `limit` entries, or the last before one of them.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn transcript(
        &self,
        session: SessionKey,
        before: Option<Cursor>,
        limit: u32,
    ) -> Result<TranscriptPage, StoreError> {
        self.readers.run(move |conn| transcript(conn, session, before, limit)).await
    }

    /// One session with a page of its conversation, oldest first.
    ///
    /// # Errors
    /// [`StoreError::UnknownSession`].
    pub async fn session_detail(
        &self,
        session: SessionId,
        page: Page,
    ) -> Result<(SessionRow, Paged<Entry>), StoreError> {
        self.readers.run(move |conn| session_detail(conn, &session, page)).await
    }
}

fn authorise(
    conn: &Connection,
    session: &SessionId,
    token: &SecretHash,
) -> Result<SessionKey, StoreError> {
    let holder = rows::token_holder(conn, token)?;
    if holder.id == *session { Ok(holder.key) } else { Err(StoreError::ForeignToken) }
}

fn entries_after(
    conn: &Connection,
    session: SessionKey,
    cursor: Cursor,
    replies_only: bool,
    limit: u32,
) -> Result<Vec<Entry>, StoreError> {
    static SQL: LazyLock<String> =
        LazyLock::new(|| format!("SELECT {} FROM message WHERE id = ?1", *ENTRY));
    let mut message = conn.prepare_cached(&SQL)?;
    let mut found = Vec::new();
    entries::each_after(conn, session, cursor, |id| {
        let entry = message.query_row([id], rows::entry)?;
        if !replies_only || entry.role != Role::Visitor {
            found.push(entry);
        }
        Ok(found.len() < limit as usize)
    })?;
    if found.is_empty() && cursor > entries::end(conn, session)? {
        return Err(StoreError::UnknownCursor);
    }
    Ok(found)
}

fn news(
    conn: &Connection,
    session: SessionKey,
    cursor: Cursor,
    limit: u32,
    now: Now,
) -> Result<News, StoreError> {
    // One snapshot for both: a message that is not open any more has its reply among the entries.
    let snapshot = conn.unchecked_transaction()?;
    require_token(&snapshot, session)?;
    let entries = entries_after(&snapshot, session, cursor, false, limit)?;
    let waiting = waiting(&snapshot, session, now)?;
    Ok(News { entries, waiting })
}

/// A stream outlives the call that showed its token, and is to end when that is revoked.
fn require_token(conn: &Connection, session: SessionKey) -> Result<(), StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM session_token WHERE session = ?1)";
    let has_token = conn.prepare_cached(sql)?.query_row([session], |row| row.get(0))?;
    if has_token { Ok(()) } else { Err(StoreError::UnknownToken) }
}

/// The message whose turn it is. Its state follows from its lease and the time, so it cannot stick.
fn waiting(
    conn: &Connection,
    session: SessionKey,
    now: Now,
) -> Result<Option<Waiting>, StoreError> {
    let sql = "SELECT message, attempts, cancelled,
                      lease_id IS NOT NULL AND visible_at > ?2 AS leased
               FROM inbox WHERE session = ?1 AND visible_at IS NOT NULL ORDER BY message LIMIT 1";
    let found = conn.prepare_cached(sql)?.query_row((session, now.steady_ms), |row| {
        let state = match (row.get("cancelled")?, row.get("leased")?, row.get("attempts")?) {
            (true, _, _) => MessageState::Cancelled,
            (false, true, _) => MessageState::Working,
            (false, false, 0) => MessageState::Waiting,
            (false, false, _) => MessageState::Retrying,
        };
        Ok(Waiting { message: MessageId(row.get("message")?), state })
    });
    Ok(found.optional()?)
}

pub(super) fn cursor_at(
    conn: &Connection,
    session: SessionKey,
    since: Timestamp,
) -> Result<Cursor, StoreError> {
    // By the first entry that is not older, not by the last that is: a clock that went back must
    // show an entry again rather than hide one.
    let sql = "SELECT min(id) FROM conversation CROSS JOIN message ON message.id = entry
               WHERE conversation.session = ?1 AND at >= ?2";
    let first: Option<i64> =
        conn.prepare_cached(sql)?.query_row((session, since.as_millisecond()), |row| row.get(0))?;
    match first {
        Some(first) => Ok(Cursor::after(MessageId(first - 1))),
        None => entries::end(conn, session),
    }
}

fn transcript(
    conn: &Connection,
    session: SessionKey,
    before: Option<Cursor>,
    limit: u32,
) -> Result<TranscriptPage, StoreError> {
    // One snapshot for both queries: the end must be the end of what the page shows.
    let snapshot = conn.unchecked_transaction()?;
    let end = entries::end(&snapshot, session)?;
    let sql = format!("{} WHERE message.id = ?1", *RATED_ENTRY);
    let mut message = snapshot.prepare_cached(&sql)?;
    let mut found = Vec::new();
    entries::each_before(&snapshot, session, before, |id| {
        found.push(message.query_row([id], rows::rated_entry)?);
        Ok(found.len() <= limit as usize)
    })?;
    let has_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    found.reverse();
    Ok(TranscriptPage { entries: found, end, has_more })
}

/// Whole entries for [`rows::rated_entry`].
static RATED_ENTRY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {}, rating, comment
         FROM message LEFT JOIN feedback ON feedback.message = message.id",
        *ENTRY
    )
});

fn session_detail(
    conn: &Connection,
    session: &SessionId,
    page: Page,
) -> Result<(SessionRow, Paged<Entry>), StoreError> {
    let snapshot = conn.unchecked_transaction()?;
    let session = snapshot
        .prepare_cached(&format!("{} WHERE session.public_id = ?1", *SESSION))?
        .query_row([session.as_str()], session_row)
        .optional()?
        .ok_or(StoreError::UnknownSession)?;
    let sql = "SELECT count(*) FROM conversation WHERE session = ?1";
    let total = snapshot.prepare_cached(sql)?.query_row([session.key], |row| row.get(0))?;
    let sql = format!(
        "{} WHERE message.id IN (SELECT entry FROM conversation WHERE session = ?1
                                 ORDER BY entry LIMIT ?2 OFFSET ?3)
         ORDER BY message.id",
        *RATED_ENTRY
    );
    let rows = snapshot
        .prepare_cached(&sql)?
        .query_map((session.key, page.limit, page.offset), rows::rated_entry)?
        .collect::<rusqlite::Result<_>>()?;
    Ok((session, Paged { rows, total }))
}
