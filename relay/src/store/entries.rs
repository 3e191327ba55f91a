//! Which entries a conversation has, in order, and which idempotency keys came with them.
//!
//! An index of messages by their session, or by their key, would have each message change a page of its
//! own, since those that come together are of as many conversations. So a session's row, which every
//! message changes anyway, holds the ids of its latest entries and the beginnings of their keys; when it is
//! full, they are put into a row of `earlier_entries`.

use std::sync::LazyLock;

use postern_shared::{Cursor, FileId, MessageId, SessionId};
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OptionalExtension, Row};

use super::statements::Statements;
use super::{IdempotencyKey, SessionKey, SiteKey, StoreError, uploads};

/// How many entries a row holds.
const ENTRIES: usize = 32;

/// What is kept of a key's hash, in bytes: two keys of one session that begin alike are told apart by
/// their messages.
const BEGINNING: usize = 8;

/// What a session's row knows of its conversation.
pub(super) struct Latest {
    session: SessionKey,
    /// Ids, oldest first, with commas between them.
    entries: String,
    /// Beginnings of the keys that came with them, one behind the other.
    keys: Vec<u8>,
    /// How many rows of earlier ones there are.
    chapters: u32,
}

/// The columns of `session` for [`Latest::read`].
pub(super) const LATEST: &str = "session.entries, session.keys, session.chapters";

impl Latest {
    /// Of the session of this name, if it is one of the site.
    pub(super) fn of_named(
        statements: &mut Statements<'_>,
        site: SiteKey,
        id: &SessionId,
    ) -> Result<Self, StoreError> {
        static SQL: LazyLock<String> = LazyLock::new(|| {
            format!("SELECT id, {LATEST} FROM session WHERE public_id = ?1 AND site = ?2")
        });
        let read = |row: &Row<'_>| Self::read(row.get(0)?, row, 1);
        let latest = statements.get(&SQL)?.query_row((id.as_str(), site), read);
        latest.optional()?.ok_or(StoreError::UnknownSession)
    }

    /// Of a session.
    pub(super) fn of(conn: &Connection, session: SessionKey) -> Result<Self, StoreError> {
        static SQL: LazyLock<String> =
            LazyLock::new(|| format!("SELECT {LATEST} FROM session WHERE id = ?1"));
        let mut latest = conn.prepare_cached(&SQL)?;
        Ok(latest.query_row([session], |row| Self::read(session, row, 0))?)
    }

    /// Of the columns of [`LATEST`], from one on.
    pub(super) fn read(
        session: SessionKey,
        row: &Row<'_>,
        column: usize,
    ) -> rusqlite::Result<Self> {
        let (entries, keys) = (row.get(column)?, row.get(column + 1)?);
        Ok(Self { session, entries, keys, chapters: row.get(column + 2)? })
    }

    pub(super) fn session(&self) -> SessionKey {
        self.session
    }

    /// The entry that came with this key before; an error unless it has these files, and `is_same` says
    /// that it is the same otherwise.
    pub(super) fn find_same(
        &self,
        conn: &Connection,
        key: Option<IdempotencyKey>,
        files: &[FileId],
        is_same: impl FnOnce(MessageId) -> rusqlite::Result<bool>,
    ) -> Result<Option<MessageId>, StoreError> {
        let Some(key) = key else { return Ok(None) };
        let Some(earlier) = self.find(conn, key)? else { return Ok(None) };
        if is_same(earlier)? && uploads::attached(conn, earlier)? == files {
            Ok(Some(earlier))
        } else {
            Err(StoreError::IdempotencyMismatch)
        }
    }

    fn find(
        &self,
        conn: &Connection,
        key: IdempotencyKey,
    ) -> Result<Option<MessageId>, StoreError> {
        if self.chapters > 0 {
            let sql =
                "SELECT entries, keys FROM earlier_entries WHERE session = ?1 ORDER BY before";
            let mut earlier = conn.prepare_cached(sql)?;
            let mut rows = earlier.query([self.session])?;
            while let Some(row) = rows.next()? {
                if holds(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?, key)
                    && let Some(found) = find_among(conn, text(row, 0)?, key)?
                {
                    return Ok(Some(found));
                }
            }
        }
        if holds(&self.keys, key) { find_among(conn, &self.entries, key) } else { Ok(None) }
    }

    /// With one more entry; what is to be stored in the session's row then.
    pub(super) fn with(
        mut self,
        conn: &Connection,
        key: Option<IdempotencyKey>,
        entry: MessageId,
    ) -> Result<Self, StoreError> {
        if self.entries.split(',').count() >= ENTRIES {
            let sql = "INSERT INTO earlier_entries (session, before, entries, keys)
                       VALUES (?1, ?2, ?3, ?4)";
            let row = (self.session, entry.0, &self.entries, &self.keys);
            conn.prepare_cached(sql)?.execute(row)?;
            self.entries.clear();
            self.keys.clear();
            self.chapters += 1;
        }
        if !self.entries.is_empty() {
            self.entries.push(',');
        }
        self.entries.push_str(&entry.0.to_string());
        self.keys.extend(key.iter().flat_map(beginning));
        Ok(self)
    }

    /// Values for the columns of [`LATEST`].
    pub(super) fn columns(&self) -> (&str, &[u8], u32) {
        (&self.entries, &self.keys, self.chapters)
    }
}

/// Notes an entry that counts neither as a message nor as a reply.
pub(super) fn note(
    conn: &Connection,
    session: SessionKey,
    entry: MessageId,
) -> Result<(), StoreError> {
    let latest = Latest::of(conn, session)?.with(conn, None, entry)?;
    let (entries, keys, chapters) = latest.columns();
    let sql = "UPDATE session SET entries = ?2, keys = ?3, chapters = ?4 WHERE id = ?1";
    conn.prepare_cached(sql)?.execute((session, entries, keys, chapters))?;
    Ok(())
}

/// The newest entry of a conversation; the beginning when there is none.
pub(super) fn end(conn: &Connection, session: SessionKey) -> Result<Cursor, StoreError> {
    let sql = "SELECT entries FROM session WHERE id = ?1";
    let newest = conn.prepare_cached(sql)?.query_row([session], |row| {
        text(row, 0)?.rsplit_terminator(',').next().map_or(Ok(0), number)
    })?;
    Ok(Cursor::after(MessageId(newest)))
}

/// Shows the entries after a place, oldest first, for as long as `show` says to go on.
pub(super) fn each_after(
    conn: &Connection,
    session: SessionKey,
    cursor: Cursor,
    mut show: impl FnMut(i64) -> rusqlite::Result<bool>,
) -> Result<(), StoreError> {
    let sql = "SELECT before, entries FROM earlier_entries WHERE session = ?1 AND before > ?2
               UNION ALL SELECT 9223372036854775807, entries FROM session WHERE id = ?1
               ORDER BY before";
    let mut chapters = conn.prepare_cached(sql)?;
    let mut rows = chapters.query((session, cursor.position()))?;
    while let Some(row) = rows.next()? {
        for id in text(row, 1)?.split_terminator(',') {
            let id = number(id)?;
            if id > cursor.position() && !show(id)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Shows the entries before a place, or all, newest first, for as long as `show` says to go on.
pub(super) fn each_before(
    conn: &Connection,
    session: SessionKey,
    cursor: Option<Cursor>,
    mut show: impl FnMut(i64) -> rusqlite::Result<bool>,
) -> Result<(), StoreError> {
    let before = cursor.map_or(i64::MAX, Cursor::position);
    let sql = "SELECT before, entries FROM earlier_entries
               WHERE session = ?1 AND before <= coalesce((
                   SELECT min(before) FROM earlier_entries WHERE session = ?1 AND before >= ?2), ?2)
               UNION ALL SELECT 9223372036854775807, entries FROM session WHERE id = ?1
               ORDER BY before DESC";
    let mut chapters = conn.prepare_cached(sql)?;
    let mut rows = chapters.query((session, before))?;
    while let Some(row) = rows.next()? {
        for id in text(row, 1)?.rsplit_terminator(',') {
            let id = number(id)?;
            if id < before && !show(id)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The one of these entries that came with a key.
fn find_among(
    conn: &Connection,
    entries: &str,
    key: IdempotencyKey,
) -> Result<Option<MessageId>, StoreError> {
    let sql = "SELECT id FROM message WHERE id = ?1 AND idempotency = ?2";
    let mut with_key = conn.prepare_cached(sql)?;
    for id in entries.split_terminator(',') {
        let found = with_key.query_row((number(id)?, key), |row| row.get(0)).optional()?;
        if let Some(found) = found {
            return Ok(Some(MessageId(found)));
        }
    }
    Ok(None)
}

fn text<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<&'a str> {
    Ok(row.get_ref(column)?.as_str()?)
}

fn number(id: &str) -> rusqlite::Result<i64> {
    id.parse().map_err(|cause| FromSqlError::other(cause).into())
}

fn holds(keys: &[u8], key: IdempotencyKey) -> bool {
    keys.chunks_exact(BEGINNING).any(|known| known == beginning(&key))
}

fn beginning(key: &IdempotencyKey) -> &[u8] {
    &key.hash()[..BEGINNING]
}
