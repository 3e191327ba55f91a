//! Repeats: whether an idempotency key was used in a session before.
//!
//! An index of all keys would have each message change a page of its own: keys are as random as hashes,
//! and no two messages lie side by side. So a session's row, which every message changes anyway, holds
//! the beginnings of its latest keys; when it is full, they are put into a row of `earlier_keys`.

use postern_shared::{FileId, MessageId};
use rusqlite::{Connection, OptionalExtension};

use super::{IdempotencyKey, SessionKey, StoreError, uploads};

/// What is kept of a key's hash, in bytes: two keys of one session that begin alike are told apart by
/// their messages.
const BEGINNING: usize = 8;

/// How many keys a row holds.
const KEYS: usize = 32;

/// The keys that were used in a session.
pub(super) struct UsedKeys {
    session: SessionKey,
    /// Those of its latest messages, one behind the other.
    latest: Vec<u8>,
    /// Whether there may be others.
    has_earlier: bool,
}

/// The columns of `session` for [`UsedKeys::new`].
pub(super) const USED_KEYS: &str = "session.keys, session.message_count + session.response_count";

impl UsedKeys {
    /// Those of a session.
    pub(super) fn of(conn: &Connection, session: SessionKey) -> Result<Self, StoreError> {
        let sql = format!("SELECT {USED_KEYS} FROM session WHERE id = ?1");
        let (latest, entries) = conn
            .prepare_cached(&sql)?
            .query_row([session], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Self::new(session, latest, entries))
    }

    /// Of what is in the columns of [`USED_KEYS`].
    pub(super) fn new(session: SessionKey, latest: Vec<u8>, entries: usize) -> Self {
        Self { session, latest, has_earlier: entries > KEYS }
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
        // Ids of the entries whose keys a row holds: from the number of the one before to its own.
        let mut from = 0;
        if self.has_earlier {
            let sql = "SELECT number, keys FROM earlier_keys WHERE session = ?1 ORDER BY number";
            let mut earlier = conn.prepare_cached(sql)?;
            let mut rows = earlier.query([self.session])?;
            while let Some(row) = rows.next()? {
                let number = row.get("number")?;
                if holds(row.get_ref("keys")?.as_blob().map_err(rusqlite::Error::from)?, key)
                    && let Some(found) = self.find_between(conn, key, from, number)?
                {
                    return Ok(Some(found));
                }
                from = number;
            }
        }
        if holds(&self.latest, key) {
            return self.find_between(conn, key, from, i64::MAX);
        }
        Ok(None)
    }

    fn find_between(
        &self,
        conn: &Connection,
        key: IdempotencyKey,
        from: i64,
        to: i64,
    ) -> Result<Option<MessageId>, StoreError> {
        let sql = "SELECT id FROM message
                   WHERE session = ?1 AND id >= ?2 AND id < ?3 AND idempotency = ?4";
        let mut entry = conn.prepare_cached(sql)?;
        let found = entry.query_row((self.session, from, to, key), |row| row.get(0));
        Ok(found.optional()?.map(MessageId))
    }

    /// The latest keys once this one's entry is stored, for the session's row.
    pub(super) fn with(
        mut self,
        conn: &Connection,
        key: Option<IdempotencyKey>,
        entry: MessageId,
    ) -> Result<Vec<u8>, StoreError> {
        let Some(key) = key else { return Ok(self.latest) };
        if self.latest.len() >= KEYS * BEGINNING {
            let sql = "INSERT INTO earlier_keys (session, number, keys) VALUES (?1, ?2, ?3)";
            conn.prepare_cached(sql)?.execute((self.session, entry.0, &self.latest))?;
            self.latest.clear();
        }
        self.latest.extend_from_slice(beginning(&key));
        Ok(self.latest)
    }
}

fn holds(keys: &[u8], key: IdempotencyKey) -> bool {
    keys.chunks_exact(BEGINNING).any(|known| known == beginning(&key))
}

fn beginning(key: &IdempotencyKey) -> &[u8] {
    &key.hash()[..BEGINNING]
}
